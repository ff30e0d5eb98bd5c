"""The batch that proxies look at: drawn from a dataset once, the same on every machine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prejudge.data.dataset import ImageDataset
from prejudge.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Batch:
    """Images as a network takes them.

    Attributes:
        inputs: float32, ``(N, C, H, W)``, normalized.
        targets: int64, ``(N,)``.
        digest: SHA-256 prefix of both.
        description: The content in words.
    """

    inputs: Tensor
    targets: Tensor
    digest: str
    description: str

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        return f"<batch: {self.description}, {self.digest}>"


def batch(data: ImageDataset, size: int = 64, *, seed: int = 0, augment: bool = False, balanced: bool = False) -> Batch:
    """Draw a batch from a dataset: the same seed draws the same one, on any machine.

    Args:
        data: The images.
        size: Images in the batch, drawn uniformly without replacement.
        seed: Of the draw, and of the augmentation.
        augment: Random crop from a padding of 4 zero pixels and horizontal flip of half of the images, as the training
            loaders of zero-cost-nas, HNAS and TE-NAS do.
        balanced: As many images of each class, which is ``--dataload grasp`` of zero-cost-nas and HNAS; drawn uniformly
            within each class, in the order of the classes.

    Returns:
        The batch, on the CPU.

    Raises:
        InputError: ``size`` or ``seed`` is out of range, or a balanced batch cannot be drawn.
    """
    import torch

    from prejudge.data.transforms import crop_and_flip, normalize

    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise InputError(f"a batch needs at least one image; size is {size!r}")
    if size > len(data):
        raise InputError(f"a batch of {size} images cannot be drawn from the {len(data)} of {data.name}")
    if seed < 0:
        raise InputError(f"the seed of a batch must be at least 0, not {seed}")
    rng = np.random.default_rng(seed)
    chosen = _of_each_class(data, size, rng) if balanced else rng.choice(len(data), size=size, replace=False)
    drawn = data.subset(chosen)
    images = torch.from_numpy(drawn.images).permute(0, 3, 1, 2).contiguous()
    if augment:
        images = crop_and_flip(images, torch.Generator().manual_seed(int(rng.integers(2**63))))
    inputs, targets = normalize(images, data.mean, data.std), torch.from_numpy(drawn.labels)
    digest = hashlib.sha256(inputs.numpy().tobytes() + targets.numpy().tobytes()).hexdigest()[:16]
    how = (", balanced" if balanced else "") + (", cropped and flipped" if augment else "")
    return Batch(inputs, targets, digest, f"{size} images of {data.name}, seed {seed}{how}")


def _of_each_class(data: ImageDataset, size: int, rng: np.random.Generator) -> np.ndarray:
    each, rest = divmod(size, data.num_classes)
    counts = np.bincount(data.labels, minlength=data.num_classes)
    if rest or not each:
        raise InputError(
            f"a balanced batch has as many images of each of {data.num_classes} classes, not {size} in all"
        )
    if counts.min() < each:
        raise InputError(
            f"{data.name} has {counts.min()} images of class {counts.argmin()}; a balanced batch has {each}"
        )
    places = (np.flatnonzero(data.labels == label) for label in range(data.num_classes))
    return np.concatenate([rng.choice(among, size=each, replace=False) for among in places])
