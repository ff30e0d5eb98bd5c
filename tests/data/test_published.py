from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torchvision

from prejudge.data.loading import load
from prejudge.data.normalization import NORMALIZATIONS
from prejudge.errors import FileFormatError, InputError, MissingDataError

RNG = np.random.default_rng(2)


@pytest.mark.parametrize("kind", ["cifar10", "cifar100", "svhn", "mnist", "fashionmnist", "imagenet16-120", "imagenet"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_missing_file_says_where_it_goes_and_nothing_is_fetched(
    kind: str, split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import urllib.request

    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("tried to download")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    with pytest.raises(MissingDataError, match="--data-dir") as caught:
        load(kind, split=split, data_dir=tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value) and kind in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["imagenet16-120", "imagenet"])
def test_what_cannot_be_downloaded_says_so(kind: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be downloaded; get "):
        load(kind, data_dir=tmp_path, download=True)


def cifar10_files(folder: Path) -> np.ndarray:
    """A tiny set in CIFAR-10's own file format; returns its training images (N, 32, 32, 3)."""
    where = folder / "cifar-10-batches-py"
    where.mkdir()
    images = RNG.integers(0, 256, (12, 3072), dtype=np.uint8)
    for k, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        part = {"data": images[2 * k : 2 * k + 2], "labels": [k, k + 1]}
        (where / name).write_bytes(pickle.dumps(part))
    (where / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(i) for i in range(10)]}))
    return images[:10].reshape(10, 3, 32, 32).transpose(0, 2, 3, 1)


def test_cifar10_files_are_read_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = cifar10_files(tmp_path)
    with pytest.raises(FileFormatError, match=r"incomplete or damaged.*npz:FILE, folder:DIR, or --no-verify"):
        load("cifar10", data_dir=tmp_path)  # the checksums are not the real ones
    unverified = load("cifar10", data_dir=tmp_path, verify=False)
    assert np.array_equal(unverified.images, images) and unverified.labels.tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda _: True)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_load_meta", lambda _: None)
    train, test = load("cifar10", data_dir=tmp_path), load("cifar10", split="test", data_dir=tmp_path)
    assert np.array_equal(train.images, images) and train.labels.tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    assert len(test) == 2 and test.num_classes == 10
    assert (train.mean, train.std) == NORMALIZATIONS["cifar10"]


def test_unverified_files_run_nothing_and_say_what_is_wrong(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> object:
            return open, (str(tmp_path / "ran"), "w")

    cifar10_files(tmp_path)
    first = tmp_path / "cifar-10-batches-py" / "data_batch_1"

    def refused(message: str, kind: str = "cifar10") -> None:
        with pytest.raises((FileFormatError, MissingDataError), match=message) as caught:
            load(kind, data_dir=tmp_path, verify=False)
        assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)

    first.write_bytes(pickle.dumps({"data": Evil(), "labels": [0, 1]}))
    refused("nothing in it was run")
    assert not (tmp_path / "ran").exists()
    for content, message in (
        ({"data": np.zeros((2, 3072), np.uint8)}, "no 'data' or no 'labels'"),
        ({"data": np.zeros((2, 768), np.uint8), "labels": [0, 1]}, "32 x 32 x 3 pixels"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 10]}, "labels are 0 to 10, not 0 to 9"),
        ({"data": np.zeros((2, 3072), np.float32), "labels": [0, 1]}, "uint8 images"),
    ):
        first.write_bytes(pickle.dumps(content))
        refused(message)
    refused("no file", "svhn")
    (tmp_path / "train_32x32.mat").write_bytes(b"nothing of the kind" * 30)
    refused("no MATLAB file", "svhn")


def test_svhn_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat

    images = RNG.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    savemat(tmp_path / "test_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": np.array([[1], [10], [9], [2]])})
    monkeypatch.setattr(torchvision.datasets.SVHN, "_check_integrity", lambda _: True)
    data = load("svhn", split="test", data_dir=tmp_path)
    unverified = load("svhn", split="test", data_dir=tmp_path, verify=False)
    assert np.array_equal(unverified.images, data.images) and np.array_equal(unverified.labels, data.labels)
    assert np.array_equal(data.images, images) and data.labels.tolist() == [1, 0, 9, 2]  # 10 stands for the digit 0


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_mnist_files(name: str, tmp_path: Path) -> None:
    where = tmp_path / name / "raw"
    where.mkdir(parents=True)
    images, labels = RNG.integers(0, 256, (6, 28, 28), dtype=np.uint8), np.array([3, 1, 4, 1, 5, 9], np.uint8)
    for part, chosen in (("train", slice(4)), ("t10k", slice(4, 6))):
        for kind, array in (("images-idx3", images[chosen]), ("labels-idx1", labels[chosen])):
            head = b"\0\0\x08" + bytes([array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
            (where / f"{part}-{kind}-ubyte").write_bytes(head + array.tobytes())
    train = load(name.lower(), data_dir=tmp_path)
    test = load(name.lower(), split="test", data_dir=tmp_path)
    assert np.array_equal(train.images, images[:4, ..., None]) and train.labels.tolist() == [3, 1, 4, 1]
    assert (len(test), test.in_channels, test.image_size, len(test.classes)) == (2, 1, 28, 10)
    assert (test.mean, test.std) == NORMALIZATIONS[name.lower()]


def imagenet16_batch(labels: list[int]) -> dict[str, object]:
    return {"data": RNG.integers(0, 256, (len(labels), 768), dtype=np.uint8), "labels": labels, "mean": np.zeros(768)}


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_imagenet16_takes_the_first_120_classes(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "ImageNet16").mkdir()
    content = imagenet16_batch([1, 120, 121, 1000, 7])
    (tmp_path / "ImageNet16" / "val_data").write_bytes(pickle.dumps(content, protocol))
    data = load("imagenet16-120", split="test", data_dir=tmp_path)
    assert data.labels.tolist() == [0, 119, 6] and data.num_classes == 120 and data.image_size == 16
    first = np.asarray(content["data"])[0]
    assert np.array_equal(data.images[0, :, :, 1].ravel(), first[256:512])  # channel by channel in the file
    assert np.allclose(data.mean, [0.4811, 0.4575, 0.4079], atol=1e-4)


def test_imagenet16_train_needs_all_ten_files(tmp_path: Path) -> None:
    for i in range(1, 11):
        (tmp_path / f"train_data_batch_{i}").write_bytes(pickle.dumps(imagenet16_batch([i, i + 1])))
    assert load("imagenet16-120", data_dir=tmp_path).labels.tolist() == [k for i in range(10) for k in (i, i + 1)]
    (tmp_path / "train_data_batch_7").unlink()
    with pytest.raises(MissingDataError, match="train_data_batch_7"):
        load("imagenet16-120", data_dir=tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        {"images": 1},
        [1, 2],
        {"data": np.zeros((2, 3072), np.uint8), "labels": [1, 2]},
        {"data": np.zeros((2, 768)), "labels": [1, 2]},
        {"data": np.zeros((2, 768), np.uint8), "labels": [1]},
    ],
)
def test_a_foreign_pickle_is_no_imagenet16_batch(tmp_path: Path, content: object) -> None:
    (tmp_path / "val_data").write_bytes(pickle.dumps(content))
    with pytest.raises(FileFormatError, match="not an ImageNet16 batch"):
        load("imagenet16-120", split="test", data_dir=tmp_path)


def test_imagenet_from_folders(tmp_path: Path) -> None:
    from PIL import Image

    for split in ("train", "val"):
        for name in ("n01", "n02"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(12 if split == "train" else 3):
                pixels = RNG.integers(0, 256, (20, 30 + i, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{i:03}.JPEG")
    assert load("imagenet", split="test", data_dir=tmp_path).images.shape == (6, 224, 224, 3)
    train = load("imagenet@16", data_dir=tmp_path)
    assert train.images.shape == (20, 16, 16, 3)  # ten of each class
    assert len(load("imagenet@16", data_dir=tmp_path, per_class=12)) == 24
    assert (train.mean, train.std) == NORMALIZATIONS["imagenet"] and train.name == "imagenet"
