"""Transforms of whole batches against slow ones, image by image."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import affine as torchvision_affine

from prejudge.data.augmentation import Affine, Flip
from prejudge.data.transforms import affine, crop_and_flip, cutout, normalize
from tests.data.test_augmentation import seeded


def pictures(n: int = 40, channels: int = 3, height: int = 12, width: int = 9) -> Tensor:
    return torch.randint(1, 256, (n, channels, height, width), generator=seeded(9), dtype=torch.uint8)


def cutout_box(row: int, column: int, length: int, height: int, width: int) -> tuple[int, int, int, int]:
    """The square that cutout empties in DARTS' code: first row, row after the last, first column, column after it."""
    half = length // 2
    return max(0, row - half), min(height, row + half), max(0, column - half), min(width, column + half)


@pytest.mark.parametrize("border", [0, 1, 2, 4, 20])
def test_crop_and_flip_is_the_slow_one(border: int) -> None:
    images = pictures()
    n, channels, height, width = images.shape
    found = crop_and_flip(images, seeded(3), border)
    generator = seeded(3)
    tops = torch.randint(2 * border + 1, (n, 1), generator=generator)
    lefts = torch.randint(2 * border + 1, (n, 1), generator=generator)
    flips = torch.rand(n, 1, generator=generator) < 0.5
    for k, image in enumerate(images.numpy()):
        padded = np.zeros((channels, height + 2 * border, width + 2 * border), np.uint8)
        padded[:, border : border + height, border : border + width] = image
        crop = padded[:, int(tops[k]) :, int(lefts[k]) :][:, :height, :width]
        assert np.array_equal(found[k].numpy(), crop[:, :, ::-1] if flips[k] else crop)
    assert found.dtype == torch.uint8 and found.is_contiguous()


def test_crops_are_everywhere_and_half_are_flipped() -> None:
    # Every pixel says where it is; the middle of a crop is never outside the image.
    image = torch.arange(1, 82, dtype=torch.uint8).view(1, 1, 9, 9).repeat(4000, 1, 1, 1)
    middle = crop_and_flip(image, seeded(), 2)[:, 0, 4, 4:6].int()
    flipped = middle[:, 1] < middle[:, 0]
    assert abs(float(flipped.float().mean()) - 0.5) < 0.03
    for half in (middle[flipped], middle[~flipped]):
        places, counts = half[:, 0].unique(return_counts=True)
        assert len(places) == 25 and counts.min() > 40


def test_flip_mirrors_half_of_the_images() -> None:
    images = pictures(300)
    for vertical, dim in ((False, 3), (True, 2)):
        found = Flip(vertical)(images, seeded())
        mirrored = (found == images.flip(dim)).flatten(1).all(1)
        kept = (found == images).flatten(1).all(1)
        assert (mirrored ^ kept).all() and 110 < int(mirrored.sum()) < 190


BOXES = [(12, 15, (4, 20, 7, 23)), (5, 11, (0, 13, 3, 19)), (26, 14, (18, 32, 6, 22)), (3, 14, (0, 11, 6, 22))]
"""Centers and boxes of DARTS' code with numpy's seeds 0, 1, 4 and 5, at 32 pixels and length 16."""


@pytest.mark.parametrize(("row", "column", "box"), BOXES)
def test_the_box_of_cutout(row: int, column: int, box: tuple[int, int, int, int]) -> None:
    assert cutout_box(row, column, 16, 32, 32) == box


def test_the_boxes_are_the_published_ones(golden: Path) -> None:
    cases = json.loads((golden / "supernets" / "retrain.json").read_text())["cutout_16_on_32"]
    assert len(cases) == 12
    for case in cases:
        rng = np.random.RandomState(case["np_seed"])  # the original's draws
        row, column = int(rng.randint(32)), int(rng.randint(32))
        assert [row, column] == case["center_yx"]
        top, bottom, left, right = cutout_box(row, column, 16, 32, 32)
        assert [top, bottom - 1] == case["zero_y"] and [left, right - 1] == case["zero_x"]
        assert (bottom - top) * (right - left) == case["zeros"]


@pytest.mark.parametrize("length", [1, 2, 5, 16, 64])
def test_cutout_is_the_slow_one(length: int) -> None:
    inputs = torch.randn(50, 3, 14, 11, generator=seeded(1)) + 10
    found = cutout(inputs, length, seeded(4))
    generator = seeded(4)
    rows = torch.randint(14, (50, 1), generator=generator)
    columns = torch.randint(11, (50, 1), generator=generator)
    for k, image in enumerate(inputs.clone()):
        top, bottom, left, right = cutout_box(int(rows[k]), int(columns[k]), length, 14, 11)
        image[:, top:bottom, left:right] = 0
        assert torch.equal(found[k], image)


def test_cutout_leaves_its_input_alone_and_covers_a_quarter_to_all_of_the_square() -> None:
    inputs = torch.ones(2000, 1, 32, 32)
    empty = (cutout(inputs, 16, seeded()) == 0).flatten(1).sum(1)
    assert (inputs == 1).all()
    assert int(empty.min()) == 64 and int(empty.max()) == 256


def test_affine_is_torchvisions(n: int = 30) -> None:
    images = pictures(n, 1, 28, 28)
    g = seeded(5)
    angle = 30 * torch.rand(n, generator=g) - 15
    across, down = (torch.randint(-3, 4, (n,), generator=g).float() for _ in range(2))
    scale, shear = 0.9 + 0.2 * torch.rand(n, generator=g), 20 * torch.rand(n, generator=g) - 10
    found = affine(images, angle, across, down, scale, shear)
    assert found.dtype == torch.uint8
    for k in range(n):
        expected = torchvision_affine(
            images[k],
            angle=float(angle[k]),
            translate=[float(across[k]), float(down[k])],
            scale=float(scale[k]),
            shear=[float(shear[k]), 0.0],
            interpolation=InterpolationMode.NEAREST,
        )
        # A pixel that lies on the line between two may go to either.
        assert float((found[k] != expected).float().mean()) < 0.005


def test_affine_of_wide_images_moves_and_turns_in_pixels() -> None:
    images = pictures(2, 3, 6, 10)
    none, one = torch.zeros(2), torch.ones(2)
    moved = affine(images, none, 3 * one, -2 * one, one, none)
    assert torch.equal(moved[:, :, :4, 3:], images[:, :, 2:, :7]) and not moved[:, :, :, :3].any()
    assert torch.equal(affine(images, 180 * one, none, none, one, none), images.flip(2, 3))
    assert torch.equal(affine(images, none, none, none, one, none), images)


def test_random_affine_stays_in_its_bounds() -> None:
    # A bright pixel in the middle moves by at most a tenth of the side, and rounding.
    images = torch.zeros(500, 1, 41, 41, dtype=torch.uint8)
    images[:, :, 20, 20] = 255
    found = Affine()(images, seeded())
    where = torch.nonzero(found[:, 0])
    assert len(where) > 350 and int((where[:, 1:] - 20).abs().max()) == 4
    assert torch.equal(found, Affine()(images, seeded())) and not torch.equal(found, Affine()(images, seeded(1)))


def test_normalize_is_the_formula() -> None:
    images = pictures()
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.1, 0.3)
    found = normalize(images, mean, std)
    expected = (images.double() / 255 - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    assert torch.allclose(found.double(), expected, atol=1e-5)
    assert torch.equal(found, normalize(images, torch.tensor(mean), torch.tensor(std)))


TRANSFORMS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "crop and flip": lambda x, g: crop_and_flip(x, g, 4),
    "flip": Flip(),
    "affine": Affine(),
    "cutout": lambda x, g: cutout(x.float(), 4, g),
    "noise": lambda x, g: normalize(x, (0.5,) * 3, (0.2,) * 3, noise=0.1, generator=g),
}


@pytest.mark.gpu
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_device_makes_the_same_images_without_waiting(name: str) -> None:
    images = pictures()
    expected = TRANSFORMS[name](images, seeded(2))
    there = images.cuda()
    TRANSFORMS[name](there, seeded(2))
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = TRANSFORMS[name](there, seeded(2))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    if name == "noise":
        assert torch.allclose(found.cpu(), expected, atol=1e-5)
    else:
        assert float((found.cpu() != expected).float().mean()) < 1e-3  # affine: pixels between two
