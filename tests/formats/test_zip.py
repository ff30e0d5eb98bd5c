"""Tricks that archives play, in the readers of archives."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from prejudge.benchmarks.importers.nasbench101.records import read_records
from prejudge.benchmarks.importers.nasbench201.trials import MalformedTrial, Trials
from prejudge.benchmarks.importers.nasbench301 import _result, import_nasbench301
from prejudge.cache import ScoreCache, import_pickles
from prejudge.data import decoding
from prejudge.data.decoding import decode_image
from prejudge.data.published import read
from prejudge.errors import FileFormatError, PrejudgeError
from prejudge.formats.pickle.files import load_pickle, read_pickles
from prejudge.formats.tfrecord import masked_crc32c, read_blocks
from prejudge.formats.zip import open_zip, read_arrays, read_entry
from prejudge.spaces import space
from prejudge.train.checkpoint import read_checkpoint
from tests.hostile_pickles import Touch


def archive(path: Path, *names: str, data: bytes = b"x", mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name in names:
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            made.writestr(entry, data)
    return path


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "..\\x", "C:/x"])
def test_names_that_point_outside_are_refused(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "a.zip", name)
    with pytest.raises(FileFormatError, match=r"a\.zip has an entry .* that points outside the archive"):
        open_zip(path, most_bytes=100)


@pytest.mark.parametrize("mode", [0o120777, 0o060666, 0o020666, 0o010666])
def test_links_and_devices_are_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(FileFormatError, match="is a link or device"):
        open_zip(archive(tmp_path / "a.zip", "x", data=b"/etc/passwd", mode=mode), most_bytes=100)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="two entries called 'x'"):
        open_zip(archive(tmp_path / "a.zip", "x", "x"), most_bytes=100)


def test_declared_sizes_are_limited(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", "x", "y", data=bytes(1000))
    with pytest.raises(FileFormatError, match="would unpack to 2,000 bytes; no more than 1,999 are read"):
        open_zip(path, most_bytes=1999)
    with open_zip(path, most_bytes=2000) as opened:
        assert read_entry(opened, "y") == bytes(1000)


def test_an_entry_never_gives_more_than_it_declares(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", "x", data=bytes(50_000_000))
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 10)
    path.write_bytes(content)
    with open_zip(path, most_bytes=100) as opened, pytest.raises(FileFormatError, match=r"a\.zip is damaged: 'x'"):
        read_entry(opened, "x")


def test_entries_that_overlap_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", "a", "b", "c", data=os.urandom(500))
    content = bytearray(path.read_bytes())
    at = -1
    while (at := content.find(b"PK\x01\x02", at + 1)) >= 0:
        content[at + 20 : at + 24] = struct.pack("<I", 1400)
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="its entries overlap"):
        open_zip(path, most_bytes=10**6)


def test_rare_compression_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_BZIP2) as made:  # whose output cannot be bounded
        made.writestr("x", bytes(10**6))
    with pytest.raises(FileFormatError, match="of a rare compression"):
        open_zip(tmp_path / "a.zip", most_bytes=10**7)


def test_encrypted_entries_and_too_many_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "a.zip", "a", "b")
    content = bytearray(path.read_bytes())
    for head, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.find(head) + flags] |= 1
    (tmp_path / "e.zip").write_bytes(content)
    with pytest.raises(FileFormatError, match="has an encrypted entry 'a'"):
        open_zip(tmp_path / "e.zip", most_bytes=100)
    monkeypatch.setattr("prejudge.formats.zip.MOST_ENTRIES", 1)
    with pytest.raises(FileFormatError, match="has 2 entries, more than the 1"):
        open_zip(path, most_bytes=100)


@pytest.mark.parametrize("shape", ["(1099511627776,)", "(-1,)", "(0, 1099511627776, -1)", "(3,)", "x"])
def test_an_array_is_as_large_as_it_says(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(16)
    archive(tmp_path / "a.npz", "x.npy", data=data)
    with pytest.raises(FileFormatError, match=r"a\.npz is damaged: 'x'"):
        read_arrays(tmp_path / "a.npz")


def _nested(opcode: bytes, times: int) -> bytes:
    return b"\x80\x04K\x01" + opcode * times


BOMBS = {
    "lists of the same lists": b"\x80\x04]q\x00"
    + b"".join(b"]q%c(h%ch%ce" % (n, n - 1, n - 1) for n in range(1, 60))
    + b".",
    "a key of nested tuples": b"\x80\x04}" + b"K\x01" + b"q\x01h\x01\x86" * 60 + b"K\x01s.",
    "a memo of gigabytes": b"\x80\x04K\x01r\xff\xff\xff\x7f0" + b"B\xff\xff\xff\x7fx.",
    "a text of gigabytes": b"\x80\x04X\xff\xff\xff\xffx.",
    "deep nesting": _nested(b"\x85", 100_000) + b".",
    "no Unicode": b"\x80\x04X\x03\0\0\0\xed\xa0\x80.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_pickles_that_would_grow_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bomb.p"
    path.write_bytes(BOMBS[name])
    with pytest.raises(FileFormatError, match=r"bomb\.p"):
        list(read_pickles(path))
    with pytest.raises(FileFormatError, match=r"bomb\.p"):
        load_pickle(path)


def test_the_same_array_over_and_over(tmp_path: Path) -> None:
    path = tmp_path / "bomb.p"
    path.write_bytes(pickle.dumps([np.zeros(100_000)] * 100))
    with pytest.raises(FileFormatError, match=r"bomb\.p"):
        load_pickle(path)


def test_a_score_of_many_digits_is_a_failed_one(tmp_path: Path) -> None:
    (tmp_path / "s.p").write_bytes(pickle.dumps({"arch": "x", "logmeasures": {"snip": 1 << 100_000}}))
    with ScoreCache(tmp_path / "s.h5") as cache:
        assert import_pickles(cache, tmp_path / "s.p").failed == 1


def result(**changes: Any) -> bytes:
    return json.dumps(
        {"optimized_hyperparamater_config": {}, "info": [{"val_accuracy": 90.0}], "budget": 50} | changes
    ).encode()


@pytest.mark.parametrize(
    "changes",
    [{"budget": float("inf")}, {"budget": 1e300}, {"runtime": 10**400}, {"test_accuracy": [1]}, {"info": [{}]},
     {"learning_curves": {"Train/val_accuracy": ["x"]}}, {"learning_curves": [1]}],
)  # fmt: skip
def test_results_with_impossible_numbers(tmp_path: Path, changes: dict[str, Any]) -> None:
    (tmp_path / "results_1.json").write_bytes(result(**changes))
    with pytest.raises(FileFormatError, match=r"results_1\.json is not a result of NAS-Bench-301"):
        import_nasbench301(tmp_path / "results_1.json", tmp_path / "t.h5", curves=True)


def test_a_curve_of_no_epochs_is_none() -> None:
    content = json.loads(result(learning_curves={"Train/val_accuracy": []}))
    arch = space("darts").sample(np.random.default_rng(0))
    known = SimpleNamespace(parse=lambda text: arch)
    assert _result(known, content, True).curves == {}  # type: ignore[arg-type]


def test_archives_of_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive(tmp_path / "r.zip", "../results_1.json", data=result())
    with pytest.raises(FileFormatError, match="points outside"):
        import_nasbench301(tmp_path / "r.zip", tmp_path / "t.h5")
    archive(tmp_path / "r.zip", "results_1.json", data=b" " * (17 << 20))
    with pytest.raises(FileFormatError, match="larger than the 16 MB that any result takes"):
        import_nasbench301(tmp_path / "r.zip", tmp_path / "t.h5")
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(folder / "results_1.json")
    with pytest.raises(PrejudgeError, match="is not a file"):
        import_nasbench301(folder, tmp_path / "t.h5")


@pytest.mark.parametrize("seed", ["777", None, -1, (1,)])
def test_seeds_of_trainings_are_numbers(seed: Any) -> None:
    trial = {"epochs": 12}
    with pytest.raises(MalformedTrial, match="seed"):
        Trials(2).add(0, {"12": {"dataset_seed": {"cifar10": [seed]}, "all_results": {("cifar10", seed): trial}}})


def test_a_record_that_is_shorter_than_a_hash(tmp_path: Path) -> None:
    length = struct.pack("<Q", 2)
    path = tmp_path / "short.tfrecord"
    frame = length + struct.pack("<I", masked_crc32c(length)) + b"[]" + struct.pack("<I", masked_crc32c(b"[]"))
    path.write_bytes(frame)
    (block,) = read_blocks(path)
    with pytest.raises(FileFormatError, match="record 1 at byte 0 is not a record of NAS-Bench-101"):
        read_records(path, block)


def picture(path: Path, width: int, height: int) -> Path:
    Image.new("L", (width, height)).save(path)
    return path


def test_images_of_too_many_pixels_or_too_narrow_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileFormatError, match=r"n\.png has 5000x2 pixels, too narrow an image"):
        decode_image(picture(tmp_path / "n.png", 5000, 2))
    monkeypatch.setattr(decoding, "MOST_PIXELS", 1000)
    with pytest.raises(FileFormatError, match=r"m\.png has 50x50 pixels, too many"):
        decode_image(picture(tmp_path / "m.png", 50, 50))
    header = bytearray(picture(tmp_path / "b.png", 5, 5).read_bytes())
    header[16:24] = struct.pack(">II", 60_000, 60_000)
    (tmp_path / "b.png").write_bytes(header)
    with pytest.raises(FileFormatError, match=r"b\.png has more pixels|b\.png is not an image"):
        decode_image(tmp_path / "b.png")


def test_formats_that_other_programs_decode_are_no_images(tmp_path: Path) -> None:
    memory = io.BytesIO()
    Image.new("RGB", (5, 5)).save(memory, "EPS")
    (tmp_path / "x.png").write_bytes(memory.getvalue())
    with pytest.raises(FileFormatError, match=r"x\.png is not an image"):
        decode_image(tmp_path / "x.png")


def test_a_data_set_of_other_content_is_not_unpickled(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta"]:
        (folder / name).write_bytes(pickle.dumps(Touch(tmp_path / "executed")))
    with pytest.raises(FileFormatError, match="incomplete or damaged"):
        read("cifar10", "test", tmp_path)
    assert not (tmp_path / "executed").exists()


def test_a_checkpoint_is_never_unpickled(tmp_path: Path) -> None:
    import torch

    torch.save({"format": "prejudge checkpoint", "version": 1, "plan": Touch(tmp_path / "executed")}, tmp_path / "c.pt")
    with pytest.raises(FileFormatError, match=r"c\.pt is not a checkpoint.* plain values; nothing in it was run"):
        read_checkpoint(tmp_path / "c.pt")
    assert not (tmp_path / "executed").exists()
