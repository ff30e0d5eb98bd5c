from __future__ import annotations

import numpy as np
import pytest
import torch

from prejudge.data.augmentation import Augmentation, CropAndFlip, Flip
from prejudge.data.batches import ImageBatches
from prejudge.data.dataset import ImageDataset
from prejudge.errors import InputError
from prejudge.train.recipes.batches import recipe_batches
from prejudge.train.recipes.recipe import Recipe


def numbered(n: int = 10) -> ImageDataset:
    """Images whose pixels all say their number."""
    images = np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1).repeat(8, 1).repeat(8, 2)
    return ImageDataset("numbered", images, np.arange(n, dtype=np.int64), n, (0.0,), (1 / 255,))


def test_every_image_comes_once_an_epoch_with_its_label() -> None:
    batches = ImageBatches(numbered(), 4, seed=1)
    assert len(batches) == 3
    seen = []
    for inputs, targets in batches.epoch(0):
        assert inputs.shape[1:] == (1, 8, 8) and inputs.dtype == torch.float32
        assert torch.allclose(inputs[:, 0, 0, 0], targets.float(), atol=1e-4)
        seen += targets.tolist()
    assert sorted(seen) == list(range(10)) and seen != list(range(10))


def test_an_epoch_can_be_repeated_without_those_before() -> None:
    batches = ImageBatches(numbered(), 4, seed=1, noise=0.5, augment=True)
    fourth = list(batches.epoch(3))
    for _ in batches.epoch(0):
        pass
    torch.rand(5)  # the global random state has no part in it
    for (x, y), (x2, y2) in zip(fourth, batches.epoch(3), strict=True):
        assert torch.equal(x, x2) and torch.equal(y, y2)
    order = [y.tolist() for _, y in batches.epoch(4)]
    assert order != [y.tolist() for _, y in fourth]
    assert order != [y.tolist() for _, y in ImageBatches(numbered(), 4, seed=2).epoch(4)]


def test_noise_has_the_stated_deviation() -> None:
    images = np.full((200, 16, 16, 1), 128, np.uint8)
    data = ImageDataset("grey", images, np.zeros(200, np.int64), 1, (128 / 255,), (0.5,))
    ((inputs, _),) = ImageBatches(data, 200, noise=0.25).epoch(0)
    assert abs(float(inputs.std()) - 0.25 / 0.5) < 0.005 and abs(float(inputs.mean())) < 0.01


@pytest.mark.parametrize(("size", "sizes"), [(4, [4, 4, 2]), (10, [10]), (100, [10])])
def test_the_last_batch_may_be_smaller(size: int, sizes: list[int]) -> None:
    assert [len(y) for _, y in ImageBatches(numbered(), size).epoch(0)] == sizes
    assert len(ImageBatches(numbered(), size)) == len(sizes)


def test_a_last_batch_of_one_image_is_left_out() -> None:
    batches = ImageBatches(numbered(9), 4)
    assert [len(y) for _, y in batches.epoch(0)] == [4, 4] and len(batches) == 2
    assert [len(y) for _, y in ImageBatches(numbered(9), 1).epoch(0)] == [1] * 9


def test_the_first_batches_are_what_they_always_were() -> None:
    """Results that are on file must come again: the draws of an epoch, and their order, stay."""
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    data = ImageDataset("any", images, np.arange(20, dtype=np.int64), 20, (0.5,) * 3, (0.25,) * 3)
    x, y = next(ImageBatches(data, 6, seed=3, augment=True, noise=0.1).epoch(2))
    generator = torch.Generator().manual_seed(3 * 1_000_003 + 2)
    chosen = torch.randperm(20, generator=generator)[:6]
    rows, columns = (torch.randint(9, (6, 1), generator=generator) + torch.arange(8) for _ in range(2))
    flipped = torch.rand(6, 1, generator=generator) < 0.5
    columns = torch.where(flipped, columns.flip(1), columns)
    padded = torch.nn.functional.pad(torch.from_numpy(images).permute(0, 3, 1, 2)[chosen], (4,) * 4)
    views = torch.stack([p[:, r][:, :, c] for p, r, c in zip(padded, rows, columns, strict=True)]).float() / 255
    expected = (views + 0.1 * torch.randn(views.shape, generator=generator) - 0.5) / 0.25
    assert torch.equal(y, chosen) and torch.equal(x, expected)


def test_an_augmentation_is_applied_to_bytes_and_to_inputs() -> None:
    data = numbered(40)
    ((inputs, targets),) = ImageBatches(data, 40, augment=Augmentation(cutout=4)).epoch(0)
    empty = (inputs == 0).flatten(1).sum(1)
    assert (empty[targets > 0] >= 4).all() and (empty[targets > 0] <= 16).all()
    flips = Augmentation((Flip(),))
    ((x, _),) = ImageBatches(data, 40, augment=flips).epoch(0)
    assert torch.equal(x[:, 0, 0, 0].round(), torch.round(x[:, 0, 7, 7]))


def test_true_is_crop_and_flip() -> None:
    data = numbered(40)
    for one, other in zip(
        ImageBatches(data, 9, seed=1, augment=True).epoch(1),
        ImageBatches(data, 9, seed=1, augment=Augmentation((CropAndFlip(4),))).epoch(1),
        strict=True,
    ):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_a_recipe_makes_its_batches() -> None:
    recipe = Recipe(batch_size=8, augment=True, padding=2, cutout=4, noise_std=0.1)
    found = list(recipe_batches(numbered(20), recipe, seed=5).epoch(3))
    expected = ImageBatches(numbered(20), 8, seed=5, augment=Augmentation((CropAndFlip(2),), 4), noise=0.1).epoch(3)
    for (x, y), (x2, y2) in zip(found, expected, strict=True):
        assert torch.equal(x, x2) and torch.equal(y, y2)


@pytest.mark.parametrize("world", [2, 4])
def test_processes_share_each_batch_of_one_permutation(world: int) -> None:
    alone = [y.tolist() for _, y in ImageBatches(numbered(30), 8, seed=2).epoch(4)]
    ranks = [ImageBatches(numbered(30), 8, seed=2, augment=True, rank=r, world=world) for r in range(world)]
    assert {len(r) for r in ranks} == {3}  # the last 6 images are left out
    for step, parts in enumerate(zip(*(r.epoch(4) for r in ranks), strict=True)):
        assert {len(y) for _, y in parts} == {8 // world}
        assert [k for _, y in parts for k in y.tolist()] == alone[step]


def test_processes_do_not_crop_alike_and_repeat_themselves() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 1), dtype=np.uint8).repeat(64, 0)
    data = ImageDataset("same", images, np.zeros(64, np.int64), 1, (0.5,), (0.5,))
    ranks = [ImageBatches(data, 64, augment=True, rank=r, world=2) for r in range(2)]
    (one, _), (other, _) = (next(r.epoch(1)) for r in ranks)
    assert not torch.equal(one, other)
    assert torch.equal(one, next(ranks[0].epoch(1))[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 2, "world": 2}, "process 2 of 2"),
        ({"rank": -1}, "process -1 of 1"),
        ({"batch_size": 5, "world": 2}, "batch_size 5 cannot be divided equally between 2 processes"),
        ({"batch_size": 12, "world": 2}, "numbered: 10 images do not fill one batch of 12"),
        ({"batch_size": 0}, "batch_size 0"),
    ],
)
def test_impossible_shares(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ImageBatches(numbered(), **({"batch_size": 4} | options))


@pytest.mark.gpu
def test_images_can_lie_on_a_device() -> None:
    recipe = Recipe(batch_size=64, augment=True, cutout=4)
    data = numbered(200)
    here = list(recipe_batches(data, recipe, seed=1).epoch(0))
    there = list(recipe_batches(data, recipe, seed=1, device="cuda").epoch(0))
    for (x, y), (x2, y2) in zip(here, there, strict=True):
        assert x2.is_cuda and torch.allclose(x, x2.cpu(), atol=1e-5) and torch.equal(y, y2.cpu())
