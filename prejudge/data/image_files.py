"""Images that stay in their files until they are looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from prejudge.data.decoding import decode_image, decode_images

IMAGE_SIZE = 224
"""Side of the images that networks take, where images are read from files and nothing else is said."""


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Image files, none of which has been read yet.

    Attributes:
        folder: Where they are.
        names: Paths below ``folder`` as bytes, ``(N,)``. An array, since a list of a million texts would be copied by
            every worker.
        size: Side of the images in pixels once they are scaled for a network.
    """

    folder: Path
    names: np.ndarray
    size: int = IMAGE_SIZE

    @classmethod
    def of(cls, folder: Path, files: list[Path], size: int = IMAGE_SIZE) -> ImageFiles:
        """The given files, all of them somewhere below ``folder``."""
        return cls(folder, np.array([os.fsencode(file.relative_to(folder)) for file in files]), size)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, chosen: np.ndarray | slice) -> ImageFiles:
        return replace(self, names=self.names[chosen])

    def path(self, index: int) -> Path:
        """The path of one image."""
        return self.folder / os.fsdecode(self.names[index])

    def read(self, index: int) -> np.ndarray:
        """Decode one image, unscaled: uint8 RGB, ``(H, W, 3)``.

        Raises:
            MissingDataError: The file is gone.
            FileFormatError: It is not an image, is truncated, or has too many pixels.
        """
        return np.array(decode_image(self.path(index), color=True))

    def read_all(self) -> np.ndarray:
        """Decode and scale all images: uint8 RGB, ``(N, size, size, 3)``.

        Raises:
            InputError: They do not fit into memory.
            MissingDataError: A file is gone.
            FileFormatError: A file is not an image.
        """
        images = decode_images([self.path(index) for index in range(len(self))], self.size)
        return images if images.shape[3] == 3 else images.repeat(3, axis=3)
