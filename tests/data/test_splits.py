from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prejudge.data.loading import load
from prejudge.data.splits import Splits, load_splits, random_split
from prejudge.errors import InputError

X = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1), dtype=np.uint8)
Y = np.arange(40) % 4


def images_of(*sets: object) -> list[bytes]:
    return sorted(bytes(image) for s in sets for image in s.images)  # type: ignore[attr-defined]


def test_a_set_with_all_splits_is_taken_as_it_is() -> None:
    data = load_splits("digits")
    assert (len(data.train), len(data.valid), len(data.test)) == (1000, 397, 400)
    assert data.train.digest == load("digits").digest and data.name == "digits"


def test_what_is_missing_is_split_off_without_overlap(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", x=X, y=Y)
    data = load_splits(f"npz:{tmp_path}/f.npz", held_out=0.25)
    assert (len(data.train), len(data.valid), len(data.test)) == (20, 10, 10)
    assert images_of(data.train, data.valid, data.test) == sorted(map(bytes, X))
    assert load_splits(f"npz:{tmp_path}/f.npz", held_out=0.25).valid.digest == data.valid.digest
    assert load_splits(f"npz:{tmp_path}/f.npz", held_out=0.25, seed=1).valid.digest != data.valid.digest


def test_only_the_missing_split_is_split_off(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", x_train=X[:30], y_train=Y[:30], x_test=X[30:], y_test=Y[30:])
    data = load_splits(f"npz:{tmp_path}/f.npz")
    assert (len(data.train), len(data.valid), len(data.test)) == (24, 6, 10)
    assert images_of(data.test) == sorted(map(bytes, X[30:]))


def test_a_damaged_split_is_not_taken_for_a_missing_one(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", x_train=X[:30], y_train=Y[:30], x_test=X[30:], y_test=Y[29:])
    with pytest.raises(InputError, match="10 images x_test but 11 labels y_test"):
        load_splits(f"npz:{tmp_path}/f.npz")


def test_fewer_training_images() -> None:
    data = load_splits("digits")
    fewer = data.with_train_images(400)
    assert np.array_equal(fewer.train.images, data.train.images[:400]) and fewer.train.mean == data.train.mean
    assert fewer.valid is data.valid
    for count in (0, 1001):
        with pytest.raises(InputError, match="1000 training images"):
            data.with_train_images(count)


def test_fewer_training_images_must_keep_all_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", x_train=X, y_train=np.sort(Y), x_val=X, y_val=Y, x_test=X, y_test=Y)
    with pytest.raises(InputError, match="first 20 training images of f have 2 of 4 classes; shuffle"):
        load_splits(f"npz:{tmp_path}/f.npz").with_train_images(20)


def test_bad_shares_and_tiny_sets(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="held_out"):
        load_splits("digits", held_out=0.5)
    np.savez(tmp_path / "f.npz", x=X[:3], y=Y[:3])
    with pytest.raises(InputError, match="too few"):
        load_splits(f"npz:{tmp_path}/f.npz")


def test_splits_must_fit_together() -> None:
    digits = load_splits("digits")
    other = digits.test.subset(slice(5))
    object.__setattr__(other, "num_classes", 11)
    with pytest.raises(InputError, match="test images"):
        Splits(digits.train, digits.valid, other)
    with pytest.raises(InputError, match="digits has no test images"):
        Splits(digits.train).required("test")


def test_a_missing_split_stays_missing_on_request(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", x=X, y=Y)
    data = load_splits(f"npz:{tmp_path}/f.npz", held_out=0)
    assert (len(data.train), data.valid, data.test, list(data.named())) == (40, None, None, ["train"])
    assert repr(data) == "<f: images 4x4x1, 4 classes: 40 train>"


def test_in_two_without_overlap() -> None:
    data = load("digits")
    first, second = random_split(data, 0.25, seed=1)
    assert (len(first), len(second)) == (250, 750)
    assert images_of(first, second) == images_of(data)
    assert first.digest == random_split(data, 0.25, seed=1)[0].digest != random_split(data, 0.25, seed=2)[0].digest
    assert (first.mean, first.num_classes) == (data.mean, data.num_classes)


@pytest.mark.parametrize("share", [0, 1, -0.5, 1e-4, float("nan")])
def test_a_part_cannot_be_empty(share: float) -> None:
    with pytest.raises(InputError, match="1000 images cannot be split with a share of"):
        random_split(load("digits"), share)
