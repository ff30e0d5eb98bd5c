"""Where a tensor holds the images of the batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Placement:
    """The place of the images in a tensor.

    Attributes:
        dim: The dimension that holds them.
        before: Factor of its size that runs slower than the images, as of ``(heads * images, …)``.
        after: Factor that runs faster, as of ``(images * windows, …)``.
    """

    dim: int = 0
    before: int = 1
    after: int = 1

    def images_of(self, x: Tensor) -> int:
        """N of a tensor that holds its images here."""
        return x.shape[self.dim] // (self.before * self.after)

    def one(self, x: Tensor, image: int) -> Tensor:
        """The part of ``x`` that one image has, of as many dimensions as ``x``."""
        apart = x.unflatten(self.dim, (self.before, -1, self.after)).select(self.dim + 1, image)
        result: Tensor = apart.flatten(self.dim, self.dim + 1)
        return result

    def first(self, x: Tensor) -> Tensor:
        """``x`` as ``(N, before, after, …)``, the other dimensions in their order."""
        apart = x.unflatten(self.dim, (self.before, -1, self.after))
        result: Tensor = apart.movedim((self.dim + 1, self.dim, self.dim + 2), (0, 1, 2))
        return result

    def turned(self, x: Tensor) -> Tensor:
        """``x`` with every image in the place of the next one."""
        apart = x.unflatten(self.dim, (self.before, -1, self.after))
        result: Tensor = apart.roll(1, self.dim + 1).flatten(self.dim, self.dim + 2)
        return result


IMAGES_FIRST = Placement()
NOWHERE = Placement(dim=-1, before=0, after=0)
"""Of a tensor that holds no image."""


def find_placement(given: Tensor, turned: Tensor, images: int) -> Placement | None:
    """The place of the images in a tensor of a forward pass.

    Args:
        given: The tensor.
        turned: The same one when every image has taken the place of the next one.
        images: N, at least 2.

    Returns:
        :data:`NOWHERE` where both are equal; None where no place explains the difference.
    """
    if given.shape != turned.shape:
        return None
    given, turned = given.detach(), turned.detach()
    tolerance = 1e-3 * float(given.double().abs().max()) if given.numel() else 0.0

    def equal(a: Tensor, b: Tensor) -> bool:
        return bool(((a - b).abs() <= tolerance).all())

    if torch.equal(given, turned) or equal(given, turned):
        return NOWHERE
    for dim, size in enumerate(given.shape):
        rows = size // images
        for before in (b for b in range(1, rows + 1) if size % images == 0 and rows % b == 0):
            place = Placement(dim, before, rows // before)
            if equal(place.turned(given), turned):
                return place
    return None
