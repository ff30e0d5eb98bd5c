from __future__ import annotations

import numpy as np
import pytest
import torch

from prejudge.train.batches import MemoryBatches
from prejudge.train.image_set import ImageSet


def numbered(n: int = 10) -> ImageSet:
    """Images whose pixels all say their number."""
    images = np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1).repeat(8, 1).repeat(8, 2)
    return ImageSet("numbered", images, np.arange(n, dtype=np.int64), n, (0.0,), (1 / 255,))


def test_every_image_comes_once_an_epoch_with_its_label() -> None:
    batches = MemoryBatches(numbered(), 4, seed=1)
    assert len(batches) == 3
    seen = []
    for inputs, targets in batches.epoch(0):
        assert inputs.shape[1:] == (1, 8, 8) and inputs.dtype == torch.float32
        assert torch.allclose(inputs[:, 0, 0, 0], targets.float(), atol=1e-4)
        seen += targets.tolist()
    assert sorted(seen) == list(range(10)) and seen != list(range(10))


def test_an_epoch_can_be_repeated_without_those_before() -> None:
    batches = MemoryBatches(numbered(), 4, seed=1, noise=0.5, augment=True)
    fourth = list(batches.epoch(3))
    for _ in batches.epoch(0):
        pass
    torch.rand(5)  # the global random state has no part in it
    for (x, y), (x2, y2) in zip(fourth, batches.epoch(3), strict=True):
        assert torch.equal(x, x2) and torch.equal(y, y2)
    order = [y.tolist() for _, y in batches.epoch(4)]
    assert order != [y.tolist() for _, y in fourth]
    assert order != [y.tolist() for _, y in MemoryBatches(numbered(), 4, seed=2).epoch(4)]


def test_noise_has_the_stated_deviation() -> None:
    images = np.full((200, 16, 16, 1), 128, np.uint8)
    data = ImageSet("grey", images, np.zeros(200, np.int64), 1, (128 / 255,), (0.5,))
    ((inputs, _),) = MemoryBatches(data, 200, noise=0.25).epoch(0)
    assert abs(float(inputs.std()) - 0.25 / 0.5) < 0.005 and abs(float(inputs.mean())) < 0.01


@pytest.mark.parametrize(("size", "sizes"), [(4, [4, 4, 2]), (10, [10]), (100, [10])])
def test_the_last_batch_may_be_smaller(size: int, sizes: list[int]) -> None:
    assert [len(y) for _, y in MemoryBatches(numbered(), size).epoch(0)] == sizes
    assert len(MemoryBatches(numbered(), size)) == len(sizes)


def test_a_last_batch_of_one_image_is_left_out() -> None:
    batches = MemoryBatches(numbered(9), 4)
    assert [len(y) for _, y in batches.epoch(0)] == [4, 4] and len(batches) == 2
    assert [len(y) for _, y in MemoryBatches(numbered(9), 1).epoch(0)] == [1] * 9
