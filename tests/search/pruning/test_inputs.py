"""Images, crops and weights: where they come from, and that they depend on nothing but their seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from prejudge.data.loading import digits
from prejudge.errors import InputError
from prejudge.search.pruning import convention_protocol
from prejudge.search.pruning.inputs import draw_inputs, image_set, initialize, random_crops


def images(n: int = 20, side: int = 9, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, channels), dtype=np.uint8)


def test_images_without_labels_are_normalized_by_their_own_statistics() -> None:
    data = image_set(images(), 7)
    assert data.num_classes == 7
    values = (data.images / 255 - np.array(data.mean)) / np.array(data.std)
    np.testing.assert_allclose(values.mean((0, 1, 2)), 0, atol=1e-9)
    np.testing.assert_allclose(values.std((0, 1, 2)), 1, atol=1e-9)
    assert image_set(images()[..., 0]).in_channels == 1


def test_a_set_stays_as_it_is() -> None:
    data = digits("valid")
    assert image_set(data) is data


def test_crops_lie_in_their_images() -> None:
    """Every pixel tells its image, channel and place, so that each crop can be checked."""
    n, side, channels = 3, 5, 2
    values = np.random.default_rng(0).permutation(n * side * side * channels).astype(np.uint8)
    values = values.reshape(n, side, side, channels)
    data = image_set(values)
    crops = random_crops(data, 60, np.random.default_rng(0), 32)
    assert crops.shape == (60, 1, 3, 3)
    seen = set()
    for crop in crops[:, 0].double().numpy():
        matches = [
            (i, channel, row, column)
            for i in range(n)
            for channel in range(channels)
            for row in range(side - 2)
            for column in range(side - 2)
            if np.allclose(
                crop,
                (values[i, row : row + 3, column : column + 3, channel] / 255 - data.mean[channel]) / data.std[channel],
                atol=1e-4,
            )
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert {s[0] for s in seen} == set(range(n))
    assert {s[1] for s in seen} == set(range(channels))
    assert {s[2] for s in seen} == {s[3] for s in seen} == {0, 1, 2}


def test_every_image_is_used_before_any_is_used_again() -> None:
    values = np.repeat(np.arange(10, dtype=np.uint8), 27).reshape(10, 3, 3, 3) * 20
    crops = random_crops(image_set(values), 25, np.random.default_rng(0), 32)[:, 0, 0, 0]
    for part in (crops[:10], crops[10:20]):
        assert len(part.unique()) == 10


def test_crops_of_large_images_take_every_second_pixel() -> None:
    values = (np.arange(8)[:, None] * 8 + np.arange(8)).astype(np.uint8)[None, ..., None]
    data = image_set(np.repeat(values, 2, axis=0))
    crop = random_crops(data, 1, np.random.default_rng(0), 4)[0, 0] * data.std[0] + data.mean[0]
    steps = (crop * 255).round().diff()
    assert steps.unique().tolist() == [2.0]
    assert (crop * 255).round().diff(dim=0).unique().tolist() == [16.0]


def test_draws_depend_on_their_numbers_alone() -> None:
    data, protocol = image_set(images()), convention_protocol("default", crops=10, crop_batches=3)
    first = draw_inputs(data, protocol, 8, 0, 1, 2)
    torch.manual_seed(99)
    again = draw_inputs(data, protocol, 8, 0, 1, 2)
    assert torch.equal(first.images, again.images)
    assert all(torch.equal(a, b) for a, b in zip(first.crops, again.crops, strict=True))
    assert first.weights == again.weights
    assert first.images.shape == (8, 3, 9, 9)
    assert [len(c) for c in first.crops] == [10, 10, 10]
    for other in (draw_inputs(data, protocol, 8, *numbers) for numbers in ((1, 1, 2), (0, 2, 2), (0, 1, 1))):
        assert not torch.equal(other.images, first.images)
        assert not torch.equal(other.crops[0], first.crops[0])
        assert other.weights != first.weights


def test_the_released_code_draws_weights_once_a_round() -> None:
    data, protocol = image_set(images()), convention_protocol("te-nas", crops=10)
    draws = [draw_inputs(data, protocol, 8, 0, stage, repeat) for stage in (0, 1) for repeat in (0, 1)]
    assert draws[0].weights == draws[1].weights != draws[2].weights == draws[3].weights
    assert not torch.equal(draws[0].images, draws[1].images)


def test_small_sets_and_large_images() -> None:
    protocol = convention_protocol("default", crops=10)
    assert len(draw_inputs(image_set(images(5)), protocol, 72, 0, 0, 0).images) == 5
    assert draw_inputs(image_set(images(5, 50)), protocol, 4, 0, 0, 0).images.shape == (4, 3, 32, 32)
    wide = np.random.default_rng(0).integers(0, 256, (4, 20, 80, 1), dtype=np.uint8)
    assert draw_inputs(image_set(wide), protocol, 4, 0, 0, 0).images.shape == (4, 1, 8, 32)


def test_initializations() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(16, 64, 3), nn.BatchNorm2d(64), nn.Linear(5, 3))
    before = [p.detach().clone() for p in network.parameters()]
    initialize(network, "torch", "fan_in")
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    for mode, fan in (("fan_in", 16 * 9), ("fan_out", 64 * 9)):
        initialize(network, "kaiming", mode)
        assert network[0].weight.std().item() == pytest.approx((2 / fan) ** 0.5, rel=0.05)
    assert torch.equal(network[2].weight, before[4])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (images(1), "images has one image; the kernel of a pruning search needs at least two"),
        (images(4, 2), "images of 2x2 are too small; regions need 3x3 pixels"),
        (images() / 255, "images must be uint8"),
        (images().reshape(-1), "images must have shape"),
    ],
)
def test_bad_images_are_refused(data: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        image_set(data)
