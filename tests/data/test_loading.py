from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from prejudge.data.dataset import ImageDataset, NoSuchSplit, channel_statistics
from prejudge.data.loading import DIGITS_SPLITS, KINDS, load
from prejudge.data.normalization import NORMALIZATIONS
from prejudge.data.probe_batch import batch
from prejudge.errors import InputError


def small_set(n: int = 12, channels: int = 3, size: int = 6) -> ImageDataset:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, size, size, channels), dtype=np.uint8)
    mean, std = channel_statistics(images)
    return ImageDataset("small", images, np.arange(n, dtype=np.int64) % 4, 4, mean, std)


def test_digits_are_scikit_learns_in_three_parts_without_overlap() -> None:
    from sklearn.datasets import load_digits

    parts = {split: load("digits", split=split) for split in DIGITS_SPLITS}
    assert {s: len(p) for s, p in parts.items()} == {"train": 1000, "valid": 397, "test": 400}
    together = np.concatenate([p.images for p in parts.values()])
    labels = np.concatenate([p.labels for p in parts.values()])
    bunch = load_digits()
    ours = sorted(zip(map(bytes, np.rint(together[..., 0] / (255 / 16)).astype(np.uint8)), labels, strict=True))
    theirs = sorted(zip(map(bytes, bunch.images.astype(np.uint8)), bunch.target, strict=True))
    assert ours == theirs
    assert parts["train"].images.dtype == np.uint8 and parts["train"].images.max() == 255
    assert parts["train"].image_size == 8 and parts["train"].in_channels == 1
    # Normalized by the training images, in every split.
    assert parts["train"].mean == parts["test"].mean
    assert abs(parts["train"].mean[0] - parts["train"].images.mean() / 255) < 1e-12
    assert abs(parts["train"].std[0] - parts["train"].images.std() / 255) < 1e-12


def test_the_digits_of_the_shipped_table_stay_the_same() -> None:
    assert [load("digits", split=s).digest for s in DIGITS_SPLITS] == [
        "cc11f60a74c2d1a1",
        "0b5279feb620987b",
        "90c419711785409a",
    ]


def test_batch_is_the_same_for_the_same_seed_only() -> None:
    data = load("digits")
    one, again, other = batch(data, 16, seed=3), batch(data, 16, seed=3), batch(data, 16, seed=4)
    assert torch.equal(one.inputs, again.inputs) and torch.equal(one.targets, again.targets)
    assert one.digest == again.digest != other.digest
    assert one.inputs.shape == (16, 1, 8, 8) and one.inputs.dtype == torch.float32
    assert one.targets.shape == (16,) and one.targets.dtype == torch.int64
    assert len(one) == 16 and "16 images of digits" in one.description


def test_batch_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    batch(small_set(), 4, seed=1, augment=True)
    assert torch.equal(torch.rand(3), expected)


def test_batch_normalizes_and_has_no_image_twice() -> None:
    data = small_set()
    found = batch(data, 12, seed=0)
    wanted = (data.images / 255 - data.mean) / data.std
    for image, target in zip(found.inputs.permute(0, 2, 3, 1).numpy(), found.targets, strict=True):
        which = [i for i in range(12) if np.allclose(wanted[i], image, atol=1e-5)]
        assert len(which) == 1 and data.labels[which[0]] == target
        wanted[which[0]] = np.inf


def test_augmented_batch_is_a_shifted_and_flipped_one() -> None:
    data = small_set()
    plain, augmented = batch(data, 8, seed=5), batch(data, 8, seed=5, augment=True)
    assert torch.equal(plain.targets, augmented.targets)
    assert torch.equal(augmented.inputs, batch(data, 8, seed=5, augment=True).inputs)
    mean = torch.tensor(data.mean).view(1, 3, 1, 1)
    std = torch.tensor(data.std).view(1, 3, 1, 1)
    border = torch.nn.functional.pad(plain.inputs * std + mean, (4,) * 4)  # zero is black, before normalizing
    for image, padded in zip(augmented.inputs * std + mean, border, strict=True):
        crops = [padded[:, i : i + 6, j : j + 6] for i in range(9) for j in range(9)]
        assert any(torch.allclose(image, c, atol=1e-5) or torch.allclose(image, c.flip(2), atol=1e-5) for c in crops)


@pytest.mark.parametrize("size", [0, -1, 13, 2.0, True])
def test_batch_refuses_sizes_that_the_set_cannot_give(size: int) -> None:
    with pytest.raises(InputError, match="batch"):
        batch(small_set(), size)


def test_batch_refuses_a_negative_seed() -> None:
    with pytest.raises(InputError, match="seed"):
        batch(small_set(), 2, seed=-1)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cifar11", "did you mean 'cifar10'"),
        ("npz", "write npz:FILE"),
        ("npz:", "write npz:FILE"),
        ("folder", "write folder:DIR"),
        ("digits:x", "write digits"),
        ("cifar10@64", "only folders of images"),
        ("imagenet@0", "from 1 to 1024"),
        ("", "unknown data"),
    ],
)
def test_unknown_kinds_are_named(kind: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(kind)


def test_every_named_set_says_which_splits_it_has() -> None:
    for kind in KINDS:
        if ":" not in kind:
            with pytest.raises(NoSuchSplit, match="train, "):
                load(kind, split="dev")


def test_per_class_is_for_folders_only() -> None:
    with pytest.raises(InputError, match="per_class"):
        load("digits", per_class=3)


def test_normalization_can_be_chosen(tmp_path: Path) -> None:
    data = small_set()
    np.savez(tmp_path / "d.npz", x=data.images, y=data.labels)
    assert load(f"npz:{tmp_path}/d.npz").mean == data.mean
    chosen = load(f"npz:{tmp_path}/d.npz", normalization="cifar10")
    assert (
        (chosen.mean, chosen.std) == NORMALIZATIONS["cifar10"] == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    )
    assert chosen.digest == data.digest  # the same images
    with pytest.raises(InputError, match="unknown normalization 'cifar'"):
        load(f"npz:{tmp_path}/d.npz", normalization="cifar")
    with pytest.raises(InputError, match="3 channels; digits has 1"):
        load("digits", normalization="cifar10")
    assert load("digits", split="test", normalization="own").mean == load("digits").mean


def test_real_cifar_images(test_data: Path) -> None:
    data = load(f"npz:{test_data}/data/cifar10_train4000.npz")
    assert (len(data), data.in_channels, data.image_size, data.num_classes) == (4000, 3, 32, 10)
    # The published means of all 50,000 images are near those of the first 4,000.
    assert np.allclose(data.mean, NORMALIZATIONS["cifar10-darts"][0], atol=0.005)
    assert np.allclose(data.std, NORMALIZATIONS["cifar10-darts"][1], atol=0.005)


def test_channel_statistics_are_exact() -> None:
    data = small_set(50)
    assert np.allclose(channel_statistics(data.images)[0], (data.images / 255).mean(axis=(0, 1, 2)), atol=1e-14)
    assert np.allclose(channel_statistics(data.images)[1], (data.images / 255).std(axis=(0, 1, 2)), atol=1e-14)
    assert channel_statistics(np.full((2, 3, 3, 1), 51, np.uint8)) == ((0.2,), (1.0,))  # nothing to divide by


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": np.zeros((0, 6, 6, 3), np.uint8), "labels": np.zeros(0, np.int64)}, "no images"),
        ({"source": np.zeros((12, 6, 6, 3))}, "uint8"),
        ({"source": np.zeros((12, 6, 6), np.uint8)}, "shape"),
        ({"source": np.zeros((12, 3, 32, 32), np.uint8)}, "transpose"),
        ({"labels": np.zeros(11, np.int64)}, "labels"),
        ({"labels": np.zeros(12)}, "int64"),
        ({"labels": np.arange(12)}, "label 4 of image 4 is outside 0..3"),
        ({"labels": np.full(12, -1)}, "label -1"),
        ({"num_classes": 0}, "0 classes"),
        ({"mean": (0.5,)}, "mean needs 3"),
        ({"std": (0.5, 0.0, 0.5)}, "std must be above 0"),
        ({"std": (0.5, float("nan"), 0.5)}, "std needs 3"),
    ],
)
def test_an_image_set_checks_itself(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        replace(small_set(), **changes)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_digest_depends_on_images_and_labels() -> None:
    data = small_set()
    images, labels = data.images.copy(), data.labels.copy()
    images[3, 2, 1, 0] ^= 1
    labels[0] = 1
    digests = {
        data.digest,
        replace(data, source=images).digest,
        replace(data, labels=labels).digest,
    }
    assert len(digests) == 3
    assert data.subset(slice(12)).digest == data.digest
    assert data.subset(slice(5)).digest != data.digest


@pytest.mark.parametrize("kind", ["imagenet@²", f"imagenet@{'9' * 5000}", "folder:@²", "npz", "x" * 10**6])
def test_kinds_that_are_none_are_refused_in_one_short_line(kind: str) -> None:
    with pytest.raises(InputError) as error:
        load(kind)
    assert len(str(error.value)) <= 500
