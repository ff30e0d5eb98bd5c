"""The images of a training: in memory where they are small, on disk where they are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prejudge.data.splits import Splits
from prejudge.errors import InputError, MissingDataError
from prejudge.train.images import load_test_images, load_training_images, normalized_by


def pictures(folder: Path, side: int) -> Path:
    rng = np.random.default_rng(side)
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (folder / split / name).mkdir(parents=True)
            for k in range(3):
                Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(
                    folder / split / name / f"{k}.png"
                )
    return folder


def images_of(data: Splits) -> tuple[int, int, int]:
    return data.train.num_classes, data.train.in_channels, data.train.image_size


def test_digits_have_all_three(tmp_path: Path) -> None:
    data, notes = load_training_images("digits")
    assert [len(part) for part in (data.train, data.valid, data.test) if part is not None] == [1000, 397, 400]
    assert (notes, images_of(data)) == ([], (10, 1, 8))


def test_a_set_without_test_images_gives_some_away_and_the_same_ones_again(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 6, 6, 3), np.uint8)
    np.savez(tmp_path / "few.npz", x=images, y=np.arange(50) % 5)
    kind = f"npz:{tmp_path / 'few.npz'}"
    data, notes = load_training_images(kind)
    assert data.test is not None
    assert (len(data.train), len(data.test), data.valid) == (40, 10, None)
    assert "10 of its training images, drawn at random, are kept for that" in notes[0]
    shown, _ = load_test_images(kind)
    assert shown.in_memory
    assert shown.digest == data.test.digest
    learned = {image.tobytes() for image in data.train.images}
    assert not learned & {image.tobytes() for image in shown.images}


def test_large_pictures_stay_on_disk_and_small_ones_do_not(tmp_path: Path) -> None:
    large, small = pictures(tmp_path / "large", 100), pictures(tmp_path / "small", 12)
    data, notes = load_training_images(f"folder:{large}")
    assert not data.train.in_memory
    assert data.test is not None and not data.test.in_memory
    assert (data.train.classes, len(data.test), images_of(data), notes) == (("cat", "dog"), 6, (2, 3, 224), [])
    assert not load_test_images(f"folder:{large}")[0].in_memory
    assert load_training_images(f"folder:{small}")[0].train.in_memory
    scaled, _ = load_training_images(f"folder:{large}@16")
    assert images_of(scaled) == (2, 3, 16)


def test_the_normalization_of_the_weights_counts(tmp_path: Path) -> None:
    own, _ = load_test_images("digits", normalization="own")
    found = normalized_by(own, (0.25,), (0.5,))
    assert (found.mean, found.std) == ((0.25,), (0.5,)) and own.mean != (0.25,)
    with pytest.raises(InputError, match="the network sees images of 3 channels, digits has 1"):
        normalized_by(own, (0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    with pytest.raises(MissingDataError, match=r"imagenet: no .*train"):
        load_training_images("imagenet", data_dir=tmp_path)
