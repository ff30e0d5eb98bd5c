"""The augmentation of training images as one object: views of the bytes, then cutout of the normalized images.

A view is any function from uint8 images ``(N, C, H, W)`` and a generator to uint8 images; those of small images work on
the whole batch at once, those of torchvision image by image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from prejudge.data.transforms import affine, crop_and_flip, cutout, moved
from prejudge.errors import unknown

View = Callable[[Tensor, torch.Generator], Tensor]
"""From uint8 images ``(N, C, H, W)`` to uint8 images, at random."""


@dataclass(frozen=True)
class CropAndFlip:
    """A random crop from a padding of zeros, and a horizontal flip of half of the images.

    Attributes:
        padding: Pixels on each side.
    """

    padding: int = 4

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return crop_and_flip(images, generator, self.padding)


@dataclass(frozen=True)
class Flip:
    """A flip of half of the images.

    Attributes:
        vertical: Top to bottom instead of left to right.
    """

    vertical: bool = False

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        chosen = torch.rand(len(images), generator=generator, device=generator.device) < 0.5
        mirrored = images.flip(2 if self.vertical else 3)
        return torch.where(moved(chosen, images).view(-1, 1, 1, 1), mirrored, images)


@dataclass(frozen=True)
class Affine:
    """Each image turned, moved, scaled and sheared at random, by default as StacNAS does with MNIST.

    Attributes:
        degrees: Largest angle.
        translate: Largest move, as a share of the side; moves are whole pixels.
        scale: Smallest and largest factor.
        shear: Largest angle of the shear along the rows, in degrees.
    """

    degrees: float = 15.0
    translate: float = 0.1
    scale: tuple[float, float] = (0.9, 1.1)
    shear: float = 0.1

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        n, _, height, width = images.shape
        u = torch.rand(5, n, generator=generator, device=generator.device, dtype=torch.float64)
        both, (smallest, largest) = 2 * u - 1, self.scale
        return affine(
            images,
            angle=self.degrees * both[0],
            across=(self.translate * width * both[1]).round(),
            down=(self.translate * height * both[2]).round(),
            scale=smallest + (largest - smallest) * u[3],
            shear=self.shear * both[4],
        )


@dataclass(frozen=True)
class EachImage:
    """A transform of torchvision, applied to one image after the other with numbers of its own for each.

    Attributes:
        transform: From uint8 ``(C, H, W)`` to uint8; draws from torch's global generator, as torchvision's do. That is
            seeded for the call and put back after it.
    """

    transform: Callable[[Tensor], Tensor]

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every device
            return torch.stack([self.transform(image) for image in images])


def auto_augment(policy: str) -> EachImage:
    """AutoAugment (Cubuk et al., 2019) with a learned policy; pixels from outside the image are grey.

    Args:
        policy: ``"cifar10"``, ``"svhn"`` or ``"imagenet"``: the images that it was learned on.

    Raises:
        InputError: The policy is unknown.
    """
    from torchvision.transforms import v2

    known = [p.value for p in v2.AutoAugmentPolicy]
    if policy not in known:
        raise unknown("policy of AutoAugment", policy, known)
    return EachImage(v2.AutoAugment(v2.AutoAugmentPolicy(policy), fill=128))


def imagenet_view(size: int = 224) -> EachImage:
    """A random part scaled to ``size``, flipped, its colors changed: DARTS and its followers on ImageNet."""
    from torchvision.transforms import v2

    return EachImage(
        v2.Compose(
            [
                v2.RandomResizedCrop(size),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2),
            ]
        )
    )


def center_view(size: int = 224) -> EachImage:
    """The center as ImageNet is tested: the shorter side scaled to 8/7 of ``size`` (256 for 224), then cut."""
    from torchvision.transforms import v2

    return EachImage(v2.Compose([v2.Resize(round(size * 8 / 7)), v2.CenterCrop(size)]))


@dataclass(frozen=True)
class Augmentation:
    """All random changes of training images but noise.

    Attributes:
        views: Applied to the bytes, one after the other.
        cutout: Side of the square of zeros in each normalized image; 0: none.
        cutout_probability: Share of the images that have one.
    """

    views: tuple[View, ...] = ()
    cutout: int = 0
    cutout_probability: float = 1.0

    def on_bytes(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Before normalization: uint8 ``(N, C, H, W)`` to uint8."""
        for view in self.views:
            images = view(images, generator)
        return images

    def on_inputs(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """After normalization: float ``(N, C, H, W)`` to float."""
        if not self.cutout:
            return inputs
        cut = cutout(inputs, self.cutout, generator)
        if self.cutout_probability == 1:
            return cut
        chosen = torch.rand(len(inputs), generator=generator, device=generator.device) < self.cutout_probability
        return torch.where(moved(chosen, inputs).view(-1, 1, 1, 1), cut, inputs)
