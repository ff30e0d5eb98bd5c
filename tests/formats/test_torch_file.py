from __future__ import annotations

import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prejudge.errors import FileFormatError, MissingDataError
from prejudge.formats.torch_file import TorchFile
from tests.hostile_pickles import Call, Touch
from tests.train.hostile_files import MAGIC, Outside, program, rebuild, storage, write_zip

BASE = torch.arange(24.0)
TENSORS: dict[str, Tensor] = {
    **{str(d): torch.arange(5).to(d) for d in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32)},
    **{str(d): torch.arange(5).to(d) for d in (torch.int16, torch.int8, torch.uint8)},
    "bool": torch.tensor([True, False]),
    "scalar": torch.tensor(3.5),
    "empty": torch.ones(0, 3),
    "strided": BASE.view(2, 3, 4).permute(2, 0, 1),
    "part": BASE[5:9],
    "channels_last": torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
    "parameter": nn.Parameter(torch.randn(3)),
    "fixed": nn.Parameter(torch.randn(3), requires_grad=False),
    "shared": BASE,
}
FORMATS = pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "legacy"])


def tensors(path: Path) -> dict[str, Tensor | None]:
    file = TorchFile(path)
    return {name: file.tensor(value, name) for name, value in file.value.items()}


@FORMATS
def test_all_kinds_of_tensors(tmp_path: Path, zip_format: bool) -> None:
    path = tmp_path / "a.pt"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=zip_format)
    found = tensors(path)
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        other = found[name]
        assert other is not None and type(other) is Tensor and not other.requires_grad
        assert other.dtype == tensor.dtype and other.shape == tensor.shape and other.equal(tensor.detach()), name


@FORMATS
def test_what_torch_itself_reads(tmp_path: Path, zip_format: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    path = tmp_path / "a.pt"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=zip_format)
    file = TorchFile(path)
    for name, tensor in torch.load(path, weights_only=True).items():
        found = file.tensor(file.value.pairs[name], name)
        assert found is not None and found.equal(tensor)


@FORMATS
def test_what_is_no_tensor(tmp_path: Path, zip_format: bool) -> None:
    values = {"a": 1, "b": [torch.ones(1)], "c": Touch(tmp_path / "ran"), "d": torch.ones(2).to_sparse(), "e": None}
    torch.save(values, tmp_path / "a.pt", _use_new_zipfile_serialization=zip_format)
    assert set(tensors(tmp_path / "a.pt").values()) == {None}
    assert not (tmp_path / "ran").exists()


@FORMATS
def test_truncated_and_damaged_files(tmp_path: Path, zip_format: bool) -> None:
    path = tmp_path / "a.pt"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=zip_format)
    whole, rng = path.read_bytes(), random.Random(0)
    for content in [b"", b"text", b"PK\x03\x04", *(whole[: i * len(whole) // 40] for i in range(40)), whole[:-1]]:
        path.write_bytes(content)
        with pytest.raises(FileFormatError) as caught:
            tensors(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    for _ in range(120):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 10])):
            damaged[rng.randrange(len(whole))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            tensors(path)
        except FileFormatError as error:
            assert "\n" not in str(error)


FOUR = {"0": struct.pack("<4f", 1, 2, 3, 4)}


def test_a_file_made_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    write_zip(path, program({"a": rebuild(), "b": rebuild(offset=1, size=(2, 1), stride=(2, 5))}), FOUR)
    found = tensors(path)
    assert found["a"] is not None and found["a"].tolist() == [1, 2, 3, 4]
    assert found["b"] is not None and found["b"].tolist() == [[2], [4]]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (rebuild(size=(5,)), "does not lie within its storage of 4 numbers"),
        (rebuild(size=(1 << 40,), stride=(0,)), "does not lie within"),
        (rebuild(size=(2, 3), stride=(0, 1)), "does not lie within"),
        (rebuild(offset=1), "does not lie within"),
        (rebuild(stride=(1 << 62,)), "does not lie within"),
        (rebuild(size=(1 << 62, 1 << 62)), "shape that no tensor has"),
        (rebuild(size=(1 << 62, 1 << 62), stride=(1, 1)), "does not lie within"),
        (rebuild(offset=-1), "shape that no tensor has"),
        (rebuild(size=(-1,)), "shape that no tensor has"),
        (rebuild(stride=(-1,)), "shape that no tensor has"),
        (rebuild(size=(1.5,)), "shape that no tensor has"),
        (rebuild(size="4"), "shape that no tensor has"),
        (rebuild(size=(1,) * 30, stride=(1,) * 30), "shape that no tensor has"),
        (rebuild(at="0"), "no tensor as torch describes one"),
        (Call(torch._utils._rebuild_tensor_v2, 1), "no tensor as torch describes one"),
        (rebuild(storage("1")), "needs storage 1 of 16 bytes, which is not in the file"),
        (rebuild(storage("../../0")), "which is not in the file"),
        (rebuild(storage("0", 1 << 50)), "so much is not in the file"),
        (rebuild(storage("0", 3)), "needs storage 0 of 12 bytes"),
        (rebuild(storage("0", -4)), "without a name or a size"),
        (rebuild(storage("0", "4")), "without a name or a size"),
        (rebuild(storage(["0"])), "without a name or a size"),
        (rebuild(storage("0", 4, torch.nn.Linear)), "storage of type torch.nn.modules.linear.Linear"),
        (rebuild(storage("0", 4, Path)), "storage of type pathlib"),
        (rebuild(storage("0", 4, "FloatStorage")), "outside the file"),
        (rebuild(Outside(("storage",))), "outside the file"),
        (rebuild(Outside("x")), "outside the file"),
        (rebuild(Outside(storage())), "outside the file"),
        (rebuild(Outside(("storage", torch.FloatStorage, storage(), "cpu", 4))), "without a name"),
        ([rebuild(), rebuild(storage("0", 2, torch.DoubleStorage))], "describes storage 0 in two ways"),
        (rebuild(storage("0", 4, torch.FloatStorage, ("v", 2, 3))), "does not lie within it"),
        (rebuild(storage("0", 4, torch.FloatStorage, ("v", -1, 3))), "does not lie within it"),
        (rebuild(storage("0", 4, torch.FloatStorage, 3)), "part of a storage without a size"),
    ],
)
def test_hostile_descriptions_of_tensors(value: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    write_zip(path, program({"weight": value}), FOUR)
    with pytest.raises(FileFormatError, match=words) as caught:
        file = TorchFile(path)
        file.tensor(file.value["weight"], "weight")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_parts_of_storages_as_old_torch_wrote_them(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    part = rebuild(storage("0", 4, torch.FloatStorage, ("view", 1, 2)), size=(2,))
    old = Call(nn.Parameter, Call(torch._utils._rebuild_tensor, storage(), 0, (4,), (1,)), True)
    write_zip(path, program({"a": part, "b": old}), FOUR)
    found = tensors(path)
    assert found["a"] is not None and found["a"].tolist() == [2, 3]
    assert found["b"] is not None and found["b"].tolist() == [1, 2, 3, 4]


def test_zip_bombs_are_not_inflated(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    many = 5_000_000
    write_zip(
        path, program({"a": rebuild(storage("0", many), size=(many,))}), {"0": bytes(4 * many)}, zipfile.ZIP_DEFLATED
    )
    assert path.stat().st_size < 100_000
    with pytest.raises(FileFormatError, match="would unpack to 20,000,171 bytes"):
        tensors(path)
    write_zip(path, program({"a": rebuild()}), FOUR, zipfile.ZIP_DEFLATED)
    with pytest.raises(FileFormatError, match="compressed"):
        tensors(path)


def test_many_names_for_the_same_numbers_are_a_bomb(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    keys = [str(i) for i in range(50)]
    value = {key: rebuild(storage(key, 10_000), size=(10_000,)) for key in keys}
    write_zip(path, program(value), {"0": bytes(40_000)})
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
        place = archive.getinfo("archive/data/0").header_offset
    entry = bytes(content[start:])[: len(content) - start - 22]
    first = entry.index(b"PK\x01\x02", 4)
    one = entry[first:]
    entries = entry[:first] + b"".join(
        one[:28] + struct.pack("<H", len(f"archive/data/{key}")) + one[30:46] + f"archive/data/{key}".encode()
        for key in keys
    )
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, len(keys) + 1, len(keys) + 1, len(entries), start, 0)
    path.write_bytes(bytes(content[:start]) + entries + end)
    assert place and path.stat().st_size < 100_000
    with pytest.raises(FileFormatError):
        tensors(path)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_other_zip_files(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(FileFormatError, match="zip file, but not one of torch"):
        TorchFile(path)
    torch.jit.script(nn.Linear(2, 2)).save(path)
    with pytest.raises(FileFormatError, match="TorchScript file"):
        TorchFile(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", program({}))
        archive.writestr("a/byteorder", "big")
    with pytest.raises(FileFormatError, match="another byte order"):
        TorchFile(path)
    with pytest.raises(MissingDataError):
        TorchFile(tmp_path / "nothing")
    with pytest.raises(MissingDataError):
        TorchFile(tmp_path)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([1], "not a torch file"),
        (MAGIC[:1], "not a pickle"),
        ([MAGIC[0], 1000, MAGIC[2]], "unknown version"),
        ([*MAGIC[:2], 3], "unknown version"),
        ([*MAGIC[:2], {"little_endian": False}], "another byte order"),
        ([*MAGIC, {}, 3], "no list of its storages"),
        ([*MAGIC, {}, [Outside("x")]], "outside the file"),
        ([*MAGIC, {}, ["9"]], "storage 9 is not as the pickle describes it"),
        ([*MAGIC, {"a": rebuild()}, ["0"]], "storage 0 is not as the pickle describes it"),
        ([*MAGIC, {"a": rebuild(storage("0", 0))}, ["0"]], "truncated"),
        ([*MAGIC, {"a": rebuild()}, []], "needs storage 0, which is not in the file"),
    ],
)
def test_hostile_files_of_the_old_format(parts: list[Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(b"".join(map(program, parts)))
    with pytest.raises(FileFormatError, match=words):
        tensors(path)


def test_sizes_in_the_old_format_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    start = b"".join(map(program, [*MAGIC, {"a": rebuild()}, ["0"]]))
    path.write_bytes(start + struct.pack("<q", 4) + FOUR["0"])
    found = tensors(path)["a"]
    assert found is not None and found.tolist() == [1, 2, 3, 4]
    for tail in (struct.pack("<q", 4) + FOUR["0"][:-1], struct.pack("<q", -4) + FOUR["0"], struct.pack("<q", 1 << 60)):
        path.write_bytes(start + tail)
        with pytest.raises(FileFormatError):
            tensors(path)
