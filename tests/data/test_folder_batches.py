from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from prejudge.data.augmentation import Augmentation, EachImage
from prejudge.data.batches import ImageBatches
from prejudge.data.dataset import ImageDataset
from prejudge.data.folder import read_folder
from prejudge.data.image_files import ImageFiles
from prejudge.data.loading import load
from prejudge.data.normalization import NORMALIZATIONS
from prejudge.errors import FileFormatError, InputError, MissingDataError
from prejudge.train.recipes.batches import recipe_batches
from prejudge.train.recipes.published import published_recipe
from prejudge.train.recipes.recipe import Recipe
from tests.engine.test_local import is_running

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


def listed(folder: Path, split: str = "train", size: int = 224, **options: Any) -> ImageDataset:
    return read_folder(folder, split, size=size, in_memory=False, **options)


def files_of(data: ImageDataset) -> ImageFiles:
    assert isinstance(data.source, ImageFiles)
    return data.source


def all_of(batches: ImageBatches, epoch: int = 0) -> tuple[Tensor, Tensor]:
    inputs, targets = zip(*batches.epoch(epoch), strict=True)
    return torch.cat(inputs), torch.cat(targets)


def test_a_listing_is_that_of_the_reader(folder: Path) -> None:
    found = listed(folder, "train")
    expected = read_folder(folder, "train", size=16)
    assert len(found) == len(expected) == 15 and found.num_classes == 3
    assert np.array_equal(found.labels, expected.labels) and found.classes == ("class0", "class1", "class2")
    assert files_of(found).path(0) == folder / "train" / "class0" / "0.png" and files_of(found).path(0).is_file()
    assert len(listed(folder, "test")) == 6 and len(listed(folder / "val")) == 6
    assert listed(folder, "train", per_class=2).labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert (found.mean, found.std) == NORMALIZATIONS["imagenet"] and found.name == folder.name


def test_images_are_rgb_bytes(folder: Path) -> None:
    files = listed(folder, "train")
    for index in range(len(files)):
        with Image.open(files_of(files).path(index)) as opened:
            expected = np.array(opened.convert("RGB"))
        found = files_of(files).read(index)
        assert found.dtype == np.uint8 and np.array_equal(found, expected)


def test_grey_images_get_three_channels(tmp_path: Path) -> None:
    Image.fromarray(np.full((9, 7), 77, np.uint8)).save(tmp_path / "grey.png")
    found = ImageFiles.of(tmp_path, [tmp_path / "grey.png"]).read(0)
    assert found.dtype == np.uint8 and np.array_equal(found, np.full((9, 7, 3), 77))


def test_tests_see_every_image_in_order(folder: Path) -> None:
    files = listed(folder, "test", 14)
    batches = ImageBatches(files, 5, shuffle=False, workers=0)
    inputs, targets = all_of(batches)
    assert len(batches) == 2 and targets.tolist() == [0, 0, 1, 1, 2, 2]
    mean, std = (torch.tensor(n).view(3, 1, 1) for n in (files.mean, files.std))
    for k, found in enumerate(inputs):
        scaled = v2.functional.resize(torch.from_numpy(files_of(files).read(k)).permute(2, 0, 1), [16], antialias=True)
        expected = (v2.functional.center_crop(scaled, [14]).float() / 255 - mean) / std
        assert torch.allclose(found, expected, atol=1e-5)


def test_training_sees_every_image_once_an_epoch_in_another_order(folder: Path) -> None:
    batches = ImageBatches(listed(folder, size=12), 4, augment=True, workers=0, seed=1)
    assert len(batches) == 4
    first, second = all_of(batches, 0), all_of(batches, 1)
    assert sorted(first[1].tolist()) == sorted(second[1].tolist()) == [0] * 7 + [1] * 5 + [2] * 3
    assert first[1].tolist() != second[1].tolist() and first[0].shape == (15, 3, 12, 12)
    assert torch.equal(all_of(batches, 0)[0], first[0])
    assert len(ImageBatches(listed(folder), 7, workers=0)) == 2  # a single image is left over


def test_workers_change_nothing(folder: Path) -> None:
    recipe = Recipe(batch_size=4, augment=True, augmentation="imagenet", image_size=12, cutout=4, noise_std=0.1)
    files = listed(folder)
    alone = recipe_batches(files, recipe, seed=3, workers=0)
    before = torch.get_rng_state()
    helped = recipe_batches(files, recipe, seed=3, workers=2)
    for epoch in (2, 0):
        for found, expected in zip(all_of(helped, epoch), all_of(alone, epoch), strict=True):
            assert torch.equal(found, expected)
    assert torch.equal(before, torch.get_rng_state())


def test_processes_share_the_views_of_one(folder: Path) -> None:
    files = listed(folder, size=12)
    alone, labels = all_of(ImageBatches(files, 6, augment=True, workers=0, seed=1), 5)
    ranks = [ImageBatches(files, 6, augment=True, workers=0, seed=1, rank=r, world=2) for r in range(2)]
    parts = [list(r.epoch(5)) for r in ranks]
    assert [len(p) for p in parts] == [2, 2]
    together = [x for step in zip(*parts, strict=True) for x, _ in step]
    assert torch.equal(torch.cat(together), alone[:12])
    assert torch.equal(torch.cat([y for step in zip(*parts, strict=True) for _, y in step]), labels[:12])


def test_a_published_recipe_and_one_for_small_images(folder: Path) -> None:
    files = listed(folder)
    published = recipe_batches(files, published_recipe("ista", "imagenet").training, workers=0)
    assert next(published.epoch(0))[0].shape == (15, 3, 224, 224)
    small = recipe_batches(files, Recipe(batch_size=5, augment=True, image_size=16), workers=0)
    assert next(small.epoch(0))[0].shape == (5, 3, 16, 16)


def broken(tmp_path: Path, content: bytes) -> ImageDataset:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.png").write_bytes(content)
    return listed(tmp_path)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_named_in_one_line(tmp_path: Path, content: bytes, workers: int) -> None:
    batches = ImageBatches(broken(tmp_path, content), 1, workers=workers)
    with pytest.raises(FileFormatError, match=r"0\.png is not an image, or it is truncated") as caught:
        list(batches.epoch(0))
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_gone_is_named(folder: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no file .*gone\.png"):
        ImageFiles.of(folder, [folder / "gone.png"]).read(0)


def test_views_of_different_sizes_make_no_batch(folder: Path) -> None:
    with pytest.raises(InputError, match="do not make a batch"):
        list(ImageBatches(listed(folder), 15, augment=Augmentation(), workers=0).epoch(0))
    unlike = Augmentation((EachImage(v2.Resize(8)), EachImage(v2.CenterCrop(8))))
    assert len(list(ImageBatches(listed(folder), 15, augment=unlike, workers=0).epoch(0))) == 1


def test_wrong_arguments(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown split 'training'"):
        listed(folder, "training")
    with pytest.raises(InputError, match="unknown normalization"):
        load(f"folder:{folder}", normalization="imagnet", in_memory=False)
    with pytest.raises(InputError, match="'mnist' is for 1 channels"):
        load(f"folder:{folder}", normalization="mnist", in_memory=False)
    with pytest.raises(MissingDataError, match="no folder"):
        listed(tmp_path / "none")
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match="no images"):
        listed(tmp_path)
    with pytest.raises(InputError, match="without shuffling every image is needed"):
        ImageBatches(listed(folder), 4, shuffle=False, world=2)


READING = """
import os, sys
import subprocess
import sys
import time
from pathlib import Path
from prejudge.data import batches
from prejudge.data.folder import read_folder

def read(views, key):
    print(os.getpid(), flush=True)
    return 7 ** 10**9  # for minutes, and no other thread runs

batches._FileViews.__getitem__ = read
data = read_folder(Path(sys.argv[1]), "train", size=16, in_memory=False)
next(batches.ImageBatches(data, 4, seed=0, workers=2).epoch())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux ends them")
@pytest.mark.slow
def test_reading_processes_end_when_their_parent_is_killed(folder: Path) -> None:
    words = [sys.executable, "-c", READING, str(folder)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pids = {int(process.stdout.readline()) for _ in range(2)}
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 5
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(pids) == 2 and not any(map(is_running, pids))
