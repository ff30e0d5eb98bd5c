"""Image files: which formats are read, and how one becomes pixels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from prejudge.errors import FileFormatError, InputError, MissingDataError, PrejudgeError

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""Formats of :data:`IMAGE_SUFFIXES`. Whatever a file is called, no other is decoded: Pillow runs programs for some."""

MOST_BYTES = 8 * 2**30
"""Of all images that are held in memory together."""

MOST_PIXELS = 2**26
"""Of an image; the largest of ImageNet has 61 million."""

NARROWEST = 100
"""The longer side of an image may be so many times the shorter one: scaling makes the shorter one of a given size."""


def decode_image(path: Path, *, color: bool = False) -> Image.Image:
    """Decode an image file.

    Args:
        path: The file, in one of the formats of :data:`IMAGE_SUFFIXES`.
        color: Make a grey image one of three channels too.

    Returns:
        The image in mode ``"RGB"`` or ``"L"``.

    Raises:
        MissingDataError: The file does not exist.
        FileFormatError: It is not an image, is truncated, or has too many pixels.
    """
    from PIL import Image

    if not path.is_file():
        raise MissingDataError(f"no file {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's about large images and odd metadata
            opened = Image.open(path, formats=_FORMATS)
        with opened:
            width, height = opened.size
            if width * height > MOST_PIXELS or max(width, height) > NARROWEST * min(width, height):
                odd = "many" if width * height > MOST_PIXELS else "narrow an image"
                raise FileFormatError(f"{path} has {width}x{height} pixels, too {odd}; leave it out")
            mode = "L" if opened.mode in ("1", "L") and not color else "RGB"
            opened.load()
            return opened if opened.mode == mode else opened.convert(mode)
    except PrejudgeError:
        raise
    except Image.DecompressionBombError as error:
        raise FileFormatError(f"{path} has more pixels than the {MOST_PIXELS:,} that are read; leave it out") from error
    except Exception as error:  # a decoder of many formats can fail in any way
        said = " ".join(str(error).split())[:100] or type(error).__name__
        raise FileFormatError(f"{path} is not an image, or it is truncated ({said})") from error


def decode_images(paths: Sequence[Path], size: int | None = None) -> np.ndarray:
    """Decode image files into one array.

    Args:
        paths: The files.
        size: Scale the shorter side to this and cut out the center; without it all images must be of one size.

    Returns:
        uint8, ``(N, H, W, C)``: RGB, or one channel where all images are grey.

    Raises:
        FileFormatError: A file is not an image, or truncated.
        InputError: Sizes differ, or the images do not fit into memory.
    """
    if size is not None and len(paths) * size * size * 3 > MOST_BYTES:
        where = paths[0].parent
        raise InputError(f"{where}: {len(paths)} images of {size}x{size} do not fit into memory; say per_class=N")
    arrays: list[np.ndarray] = []
    for path in paths:
        image = decode_image(path)
        arrays.append(np.asarray(image if size is None else _scaled(image, size)))
        height, width = arrays[0].shape[:2]
        if arrays[-1].shape[:2] != (height, width):
            raise InputError(
                f"{path} is {arrays[-1].shape[0]}x{arrays[-1].shape[1]}, {paths[0].name} {height}x{width}: "
                f"scale them all with folder:DIR@SIZE"
            )
        if len(paths) * 3 * height * width > MOST_BYTES:
            raise InputError(
                f"{path.parent}: {len(paths)} images of {height}x{width} do not fit into memory; "
                "say per_class=N, or scale them with folder:DIR@SIZE"
            )
    color = any(array.ndim == 3 for array in arrays)
    return np.stack([a if a.ndim == 3 else a[..., None].repeat(3 if color else 1, axis=2) for a in arrays])


def _scaled(image: Image.Image, size: int) -> Image.Image:
    """Shorter side to ``size``, then the center, as everybody tests on ImageNet but without the border of 256/224."""
    from PIL.Image import Resampling

    width, height = image.size
    factor = size / min(width, height)
    image = image.resize((max(size, round(width * factor)), max(size, round(height * factor))), Resampling.BILINEAR)
    left, top = (image.size[0] - size) // 2, (image.size[1] - size) // 2
    return image.crop((left, top, left + size, top + size))
