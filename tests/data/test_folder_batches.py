from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from prejudge.data.augmentation import Augmentation, EachImage
from prejudge.data.files import read_folder
from prejudge.data.folder_batches import FolderBatches, ImageFiles, list_folder, read_image
from prejudge.data.normalization import NORMALIZATIONS
from prejudge.errors import FileFormatError, InputError, MissingDataError
from prejudge.train.recipes.published import published_recipe
from prejudge.train.recipes.recipe import Recipe

SUFFIXES = ("png", "jpg", "bmp", "webp", "gif", "tiff")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 7, 5 and 3 training images, and 2 of each to test, of different sizes and formats."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, counts in (("train", (7, 5, 3)), ("val", (2, 2, 2))):
        for number, count in enumerate(counts):
            where = root / split / f"class{number}"
            where.mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 256, (30 + 5 * k, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(where / f"{k}.{SUFFIXES[k % len(SUFFIXES)]}")
    return root


def all_of(batches: FolderBatches, epoch: int = 0) -> tuple[Tensor, Tensor]:
    inputs, targets = zip(*batches.epoch(epoch), strict=True)
    return torch.cat(inputs), torch.cat(targets)


def test_a_listing_is_that_of_the_reader(folder: Path) -> None:
    found = list_folder(folder, "train")
    expected = read_folder(folder, "train", size=16)
    assert len(found) == len(expected) == 15 and found.num_classes == 3
    assert np.array_equal(found.labels, expected.labels) and found.classes == ("class0", "class1", "class2")
    assert found.path(0) == folder / "train" / "class0" / "0.png" and found.path(0).is_file()
    assert len(list_folder(folder, "test")) == 6 and len(list_folder(folder / "val")) == 6
    assert list_folder(folder, "train", per_class=2).labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert (found.mean, found.std) == NORMALIZATIONS["imagenet"] and found.name == folder.name


def test_images_are_rgb_bytes(folder: Path) -> None:
    files = list_folder(folder, "train")
    for index in range(len(files)):
        with Image.open(files.path(index)) as opened:
            expected = np.array(opened.convert("RGB")).transpose(2, 0, 1)
        found = read_image(files.path(index))
        assert found.dtype == torch.uint8 and np.array_equal(found.numpy(), expected)


def test_grey_images_get_three_channels(tmp_path: Path) -> None:
    Image.fromarray(np.full((9, 7), 77, np.uint8)).save(tmp_path / "grey.png")
    assert torch.equal(read_image(tmp_path / "grey.png"), torch.full((3, 9, 7), 77, dtype=torch.uint8))


def test_tests_see_every_image_in_order(folder: Path) -> None:
    files = list_folder(folder, "test")
    batches = FolderBatches(files, 5, augment=False, shuffle=False, size=14, workers=0)
    inputs, targets = all_of(batches)
    assert len(batches) == 2 and targets.tolist() == [0, 0, 1, 1, 2, 2]
    mean, std = (torch.tensor(n).view(3, 1, 1) for n in (files.mean, files.std))
    for k, found in enumerate(inputs):
        scaled = v2.functional.resize(read_image(files.path(k)), [16], antialias=True)
        expected = (v2.functional.center_crop(scaled, [14]).float() / 255 - mean) / std
        assert torch.allclose(found, expected, atol=1e-5)


def test_training_sees_every_image_once_an_epoch_in_another_order(folder: Path) -> None:
    batches = FolderBatches(list_folder(folder), 4, size=12, workers=0, seed=1)
    assert len(batches) == 4
    first, second = all_of(batches, 0), all_of(batches, 1)
    assert sorted(first[1].tolist()) == sorted(second[1].tolist()) == [0] * 7 + [1] * 5 + [2] * 3
    assert first[1].tolist() != second[1].tolist() and first[0].shape == (15, 3, 12, 12)
    assert torch.equal(all_of(batches, 0)[0], first[0])
    assert len(FolderBatches(list_folder(folder), 7, workers=0)) == 2  # a single image is left over


def test_workers_change_nothing(folder: Path) -> None:
    recipe = Recipe(batch_size=4, augment=True, augmentation="imagenet", image_size=12, cutout=4, noise_std=0.1)
    files = list_folder(folder)
    alone = FolderBatches.from_recipe(files, recipe, seed=3, workers=0)
    before = torch.get_rng_state()
    helped = FolderBatches.from_recipe(files, recipe, seed=3, workers=2)
    for epoch in (2, 0):
        for found, expected in zip(all_of(helped, epoch), all_of(alone, epoch), strict=True):
            assert torch.equal(found, expected)
    assert torch.equal(before, torch.get_rng_state())


def test_processes_share_the_views_of_one(folder: Path) -> None:
    files = list_folder(folder)
    alone, labels = all_of(FolderBatches(files, 6, size=12, workers=0, seed=1), 5)
    ranks = [FolderBatches(files, 6, size=12, workers=0, seed=1, rank=r, world=2) for r in range(2)]
    parts = [list(r.epoch(5)) for r in ranks]
    assert [len(p) for p in parts] == [2, 2]
    together = [x for step in zip(*parts, strict=True) for x, _ in step]
    assert torch.equal(torch.cat(together), alone[:12])
    assert torch.equal(torch.cat([y for step in zip(*parts, strict=True) for _, y in step]), labels[:12])


def test_a_published_recipe_and_one_for_small_images(folder: Path) -> None:
    files = list_folder(folder)
    published = FolderBatches.from_recipe(files, published_recipe("ista", "imagenet").training, workers=0)
    assert next(published.epoch(0))[0].shape == (15, 3, 224, 224)
    small = FolderBatches.from_recipe(files, Recipe(batch_size=5, augment=True, image_size=16), workers=0)
    assert next(small.epoch(0))[0].shape == (5, 3, 16, 16)


def broken(tmp_path: Path, content: bytes) -> ImageFiles:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.png").write_bytes(content)
    return list_folder(tmp_path)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_named_in_one_line(tmp_path: Path, content: bytes, workers: int) -> None:
    batches = FolderBatches(broken(tmp_path, content), 1, workers=workers)
    with pytest.raises(FileFormatError, match=r"0\.png is no image, or it is truncated") as caught:
        list(batches.epoch(0))
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_gone_is_named(folder: Path) -> None:
    files = list_folder(folder)
    with pytest.raises(MissingDataError, match=r"no file .*gone\.png"):
        read_image(files.folder / "gone.png")


def test_views_of_different_sizes_make_no_batch(folder: Path) -> None:
    with pytest.raises(InputError, match="do not make a batch"):
        list(FolderBatches(list_folder(folder), 15, augment=Augmentation(), workers=0).epoch(0))
    unlike = Augmentation((EachImage(v2.Resize(8)), EachImage(v2.CenterCrop(8))))
    assert len(list(FolderBatches(list_folder(folder), 15, augment=unlike, workers=0).epoch(0))) == 1


def test_wrong_arguments(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown split 'training'"):
        list_folder(folder, "training")
    with pytest.raises(InputError, match="unknown normalization"):
        list_folder(folder, normalization="imagnet")
    with pytest.raises(InputError, match="'mnist' is for 1 channel"):
        list_folder(folder, normalization="mnist")
    with pytest.raises(MissingDataError, match="no folder"):
        list_folder(tmp_path / "none")
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match="no images"):
        list_folder(tmp_path)
    with pytest.raises(InputError, match="without shuffling every image is needed"):
        FolderBatches(list_folder(folder), 4, shuffle=False, world=2)
