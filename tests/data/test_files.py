from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prejudge.data.dataset import NoSuchSplit
from prejudge.data.loading import load
from prejudge.data.npz import read_npz
from prejudge.errors import FileFormatError, InputError, MissingDataError

RNG = np.random.default_rng(1)
X = RNG.integers(0, 256, (10, 5, 5, 3), dtype=np.uint8)
Y = np.arange(10) % 3


def npz(folder: Path, **arrays: object) -> Path:
    np.savez(folder / "f.npz", **arrays)  # type: ignore[arg-type]
    return folder / "f.npz"


@pytest.mark.parametrize("names", [("x", "y"), ("images", "labels"), ("x_train", "y_train")])
def test_npz_names(tmp_path: Path, names: tuple[str, str]) -> None:
    data = load(f"npz:{npz(tmp_path, **{names[0]: X, names[1]: Y})}")
    assert np.array_equal(data.images, X) and np.array_equal(data.labels, Y)
    assert data.num_classes == 3 and data.name == "f"


def test_npz_splits(tmp_path: Path) -> None:
    path = npz(tmp_path, x_train=X, y_train=Y, x_test=X[:4], y_test=Y[:4], x_val=X[:2], y_val=[[0], [1]])
    test, valid = read_npz(path, "test"), read_npz(path, "valid")
    assert (len(test), test.num_classes, test.mean) == (4, 3, read_npz(path, "train").mean)
    assert valid.labels.tolist() == [0, 1] and valid.num_classes == 3  # (N, 1) as Keras has it; classes of all images


def test_npz_grey_and_number_of_classes(tmp_path: Path) -> None:
    data = read_npz(npz(tmp_path, x=X[..., 0], y=Y.astype(np.uint8), num_classes=7), "train")
    assert data.images.shape == (10, 5, 5, 1) and data.num_classes == 7


def test_npz_without_labels_where_none_are_needed(tmp_path: Path) -> None:
    data = read_npz(npz(tmp_path, x_train=X, x_test=X[:4], y_test=Y[:4]), "train", labels=False)
    assert np.array_equal(data.images, X) and data.labels.tolist() == [0] * 10 and data.num_classes == 10
    assert data.mean == read_npz(npz(tmp_path, x=X, y=Y), "train").mean
    assert read_npz(npz(tmp_path, x=X, num_classes=4), "train", labels=False).num_classes == 4
    labeled = read_npz(npz(tmp_path, x=X, y=Y), "train", labels=False)  # labels that are there are kept
    assert np.array_equal(labeled.labels, Y) and labeled.num_classes == 3
    with pytest.raises(NoSuchSplit, match="no train images: x_train or x or images is needed, it has a"):
        read_npz(npz(tmp_path, a=X), "train", labels=False)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "images x but no labels y"),
        ({"a": X, "b": Y}, "x_train and y_train or x and y or images and labels is needed, it has a, b"),
        ({"x": X, "y": Y[:5]}, "10 images x but 5 labels y"),
        ({"x": np.uint8(1), "y": Y[:2]}, "0 images x but 2 labels y"),
        ({"x": X, "y": Y.astype(float)}, "must be integers, not float64"),
        ({"x": X, "y": np.eye(3)[Y].astype(int)}, "argmax"),
        ({"x": X, "y": Y - 1}, "label -1 of image 0 is outside 0..1"),
        ({"x": X, "y": Y, "num_classes": 2}, "label 2 of image 2 is outside 0..1"),
        ({"x": X, "y": Y + 10**7}, "classes"),
        ({"x": X[:0], "y": Y[:0]}, "empty"),
        ({"x": X / 255, "y": Y}, "uint8 .multiply by 255"),
        ({"x": X.astype(np.int32), "y": Y}, "uint8 .values 0..255"),
        ({"x": X.reshape(10, -1), "y": Y}, "shape .N, H, W, C."),
        ({"x": X.transpose(0, 3, 1, 2), "y": Y}, "transpose"),
        ({"x": np.array([None, 1], dtype=object), "y": Y}, "Python objects"),
    ],
)
def test_npz_with_something_else_in_it(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_npz(npz(tmp_path, **arrays), "train")
    assert "\n" not in str(caught.value) and "f.npz" in str(caught.value)


def test_npz_test_labels_beyond_the_training_labels(tmp_path: Path) -> None:
    path = npz(tmp_path, x_train=X, y_train=Y, x_test=X, y_test=Y + 1)
    with pytest.raises(InputError, match="y_test has label 3, the training labels end at 2"):
        read_npz(path, "test")


def test_npz_without_the_split(tmp_path: Path) -> None:
    with pytest.raises(NoSuchSplit, match="no test images: x_test and y_test is needed, it has x, y"):
        read_npz(npz(tmp_path, x=X, y=Y), "test")


@pytest.mark.parametrize("keep", [0, 10, 300, -40])
def test_truncated_npz(tmp_path: Path, keep: int) -> None:
    path = npz(tmp_path, x=X, y=Y)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FileFormatError, match=r"f\.npz"):
        read_npz(path, "train")


def test_npz_with_a_flipped_bit(tmp_path: Path) -> None:
    path = npz(tmp_path, x=X, y=Y)
    content = bytearray(path.read_bytes())
    content[400] ^= 4
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="damaged"):
        read_npz(path, "train")


def test_no_numpy_file(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no file"):
        load(f"npz:{tmp_path}/none.npz")
    np.save(tmp_path / "bare.npy", X)
    with pytest.raises(InputError, match="one bare array"):
        load(f"npz:{tmp_path}/bare.npy")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(FileFormatError, match="not a NumPy file"):
        load(f"npz:{tmp_path}/text.npz")


def write_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_folder_of_classes(tmp_path: Path) -> None:
    for i, name in enumerate(["cat", "dog", "cat", "ant"]):
        write_image(tmp_path / name / f"{i}.png", X[i])
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    data = load(f"folder:{tmp_path}")
    assert np.array_equal(data.images, X[[3, 0, 2, 1]]) and data.labels.tolist() == [0, 1, 1, 2]
    assert data.num_classes == 3 and data.name == tmp_path.name
    assert len(load(f"folder:{tmp_path}", per_class=1)) == 3
    with pytest.raises(NoSuchSplit, match="no test images"):
        load(f"folder:{tmp_path}", split="test")


def test_folder_with_splits(tmp_path: Path) -> None:
    for i in range(4):
        write_image(tmp_path / "train" / str(i % 2) / f"{i}.png", X[i])
    write_image(tmp_path / "val" / "1" / "x.png", X[5])
    train, test = load(f"folder:{tmp_path}"), load(f"folder:{tmp_path}", split="test")
    assert test.labels.tolist() == [1] and test.num_classes == 2 and (test.mean, test.std) == (train.mean, train.std)
    write_image(tmp_path / "val" / "2" / "x.png", X[5])
    with pytest.raises(InputError, match="class 2 is not among the training classes"):
        load(f"folder:{tmp_path}", split="test")


def test_folder_scales_on_request(tmp_path: Path) -> None:
    half = np.zeros((8, 16, 3), np.uint8)
    half[:, 8:] = 200
    write_image(tmp_path / "a@4" / "0" / "wide.png", half)
    write_image(tmp_path / "a@4" / "0" / "small.png", X[0])
    with pytest.raises(InputError, match="folder:DIR@SIZE"):
        load(f"folder:{tmp_path}/a@4")  # the folder's own name, not a size
    data = load(f"folder:{tmp_path}/a@4@4")
    assert data.images.shape == (2, 4, 4, 3)
    wide = data.images[1]
    assert wide[:, 0].max() < 60 and wide[:, 3].min() > 140  # the center of the wide image, both halves of it


def test_folder_mixes_grey_and_color(tmp_path: Path) -> None:
    write_image(tmp_path / "a" / "grey.png", X[0, ..., 0])
    assert load(f"folder:{tmp_path}").in_channels == 1
    write_image(tmp_path / "b" / "color.png", X[1])
    data = load(f"folder:{tmp_path}")
    assert np.array_equal(data.images[0], X[0, ..., :1].repeat(3, axis=2))


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no folder"):
        load(f"folder:{tmp_path}/none")
    with pytest.raises(InputError, match="no class folders"):
        load(f"folder:{tmp_path}")
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match="no images"):
        load(f"folder:{tmp_path}")
    (tmp_path / "a" / "x.png").write_bytes(b"no image at all")
    with pytest.raises(FileFormatError, match=r"x\.png is not an image"):
        load(f"folder:{tmp_path}")
    write_image(tmp_path / "a" / "x.png", RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    (tmp_path / "a" / "x.png").write_bytes((tmp_path / "a" / "x.png").read_bytes()[:2000])
    with pytest.raises(FileFormatError, match="truncated"):
        load(f"folder:{tmp_path}")
    with pytest.raises(InputError, match="per_class must be at least 1"):
        load(f"folder:{tmp_path}", per_class=0)
