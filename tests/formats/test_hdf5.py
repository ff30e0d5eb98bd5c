"""What an HDF5 file from elsewhere may try, and that none of it comes to anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from prejudge import ScoreCache
from prejudge.benchmarks.table.table import open_table
from prejudge.cache import Protocol, verify
from prejudge.errors import FileFormatError
from prejudge.formats import hdf5
from prejudge.search.result_file import read_result

DIGITS = Path(hdf5.__file__).parents[1] / "benchmarks" / "table" / "tables" / "nasbench201-digits.h5"


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    path = tmp_path / "scores.h5"
    with ScoreCache(path) as cache:
        for i in range(4):
            cache.put(Protocol("nasbench201"), f"arch {i}", {"snip": float(i)})
    return path


def _external_link(file: h5py.File) -> None:
    del file["runs"]
    file["runs"] = h5py.ExternalLink("/dev/zero", "/")


def _soft_link(file: h5py.File) -> None:
    del file["runs"]
    file["runs"] = h5py.SoftLink("/runs")


def _outside(file: h5py.File) -> None:
    del file["runs"]
    file.create_dataset("runs", (20,), "S1", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])


def _virtual(file: h5py.File) -> None:
    del file["runs"]
    layout = h5py.VirtualLayout((4,), "S9")
    layout[...] = h5py.VirtualSource(".", "runs", (4,))
    file.create_virtual_dataset("runs", layout)


def _unwritten(file: h5py.File) -> None:
    del file["runs"]
    file.create_dataset("runs", (2**40,), "S9", chunks=(8192,))


def _large_chunk(file: h5py.File) -> None:
    del file["runs"]
    file.create_dataset("runs", (1,), "S9", chunks=(2**28,), maxshape=(None,))


def _reference(file: h5py.File) -> None:
    file.attrs["identity"] = file.ref


def _array_attribute(file: h5py.File) -> None:
    file.attrs["identity"] = np.zeros(5000)


def _other_filter(file: h5py.File) -> None:
    del file["runs"]
    file.create_dataset("runs", data=np.array([b"{}"]), compression="lzf")


def _twice(file: h5py.File) -> None:
    for number in range(200):
        file[f"protocols/{number}"] = next(iter(file["protocols"].values()))


def _column_twice(file: h5py.File) -> None:
    columns = next(iter(file["protocols"].values()))["columns"]
    for number in range(200):
        columns[str(number)] = columns["snip"]


TRICKS: dict[Callable[[h5py.File], None], str] = {
    _external_link: "runs is a link to another place",
    _soft_link: "runs is a link",
    _outside: "runs lies in another file",
    _virtual: "runs lies in another file",
    _unwritten: "claims arrays of",
    _large_chunk: "claims arrays of",
    _reference: "attribute identity is of a type",
    _array_attribute: "attribute identity is of a type",
    _other_filter: "filters that prejudge does not use",
    _twice: "is there twice",
    _column_twice: "column snip is there twice",
}


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick.__name__.strip("_"))
def test_what_is_not_plainly_in_the_file_is_refused(scores: Path, trick: Callable[[h5py.File], None]) -> None:
    with h5py.File(scores, "r+") as file:
        trick(file)
    with pytest.raises(FileFormatError, match=rf"scores\.h5 is damaged \(.*{TRICKS[trick]}"):
        ScoreCache(scores, "r")
    assert all("scores.h5" in problem for problem in verify(scores)) and verify(scores)


def test_an_array_that_unfolds_a_thousandfold_is_read_only_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "FREE_BYTES", 1000)
    monkeypatch.setattr(hdf5, "MOST_GROWTH", 10)
    path = tmp_path / "bomb.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.zeros(10**6), compression="gzip")
    with h5py.File(path) as file, pytest.raises(ValueError, match="claims arrays of 8,000,000 bytes"):
        hdf5.array(file, "a", hdf5.ReadBudget(path.stat().st_size))


def test_all_arrays_together_have_a_budget(tmp_path: Path) -> None:
    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.zeros(10**6), compression="gzip")
    budget = hdf5.ReadBudget(path.stat().st_size)
    with h5py.File(path) as file, pytest.raises(ValueError, match="more than it can hold"):
        for _ in range(100):
            hdf5.array(file, "a", budget)


def _damage_heap(path: Path) -> None:
    """The size of a text such that the next one seems to begin where this one does."""
    content = bytearray(path.read_bytes())
    at = content.find(b"GCOL\x01")
    content[at + 24 : at + 32] = (2**64 - 16).to_bytes(8, "little")
    path.write_bytes(content)


def test_a_heap_of_texts_that_never_ends(scores: Path, tmp_path: Path) -> None:
    """HDF5 2.0 looks for its end for ever."""
    _damage_heap(scores)
    with pytest.raises(FileFormatError, match=r"scores\.h5"):
        ScoreCache(scores, "r")
    table = tmp_path / "table.h5"
    shutil.copy(DIGITS, table)
    _damage_heap(table)
    with pytest.raises(FileFormatError, match=r"table\.h5"):
        open_table(table)
    with pytest.raises(FileFormatError, match=r"table\.h5"):
        read_result(table)


def test_sound_files_pass_the_check_in_another_process(scores: Path) -> None:
    hdf5.check_in_child(scores)
    hdf5.check_in_child(DIGITS)
    hdf5.check_in_child(scores.with_name("none.h5"))
    assert verify(scores) == []


def _executable(folder: Path, command: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_crash_of_the_library_is_one_line(scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", _executable(tmp_path, "kill -SEGV $$"))
    problems = verify(scores)
    assert problems == [
        f"{scores} makes the HDF5 library crash (SIGSEGV): it is damaged or made to do harm; "
        "get it again from where it comes"
    ]
    with ScoreCache(tmp_path / "all.h5") as cache, pytest.raises(FileFormatError, match="crash"):
        cache.merge(scores)
    monkeypatch.setattr(sys, "executable", _executable(tmp_path, "exit 3"))
    with pytest.raises(FileFormatError, match="exit status 3"):
        hdf5.check_in_child(scores)
    monkeypatch.setattr(hdf5, "_SECONDS", 0.2)
    monkeypatch.setattr(sys, "executable", _executable(tmp_path, "exec sleep 30"))
    with pytest.raises(FileFormatError, match="cannot be read within"):
        hdf5.check_in_child(scores)


def test_no_hdf5_file_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "text.h5"
    path.write_text("hello")
    with pytest.raises(FileFormatError, match=r"text\.h5 is not an HDF5 file that can be read"):
        hdf5.check_in_child(path)


def test_a_text_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.attrs.create("name", b"\xff", dtype=h5py.string_dtype())
        with pytest.raises(ValueError):
            hdf5.attribute(file, "name")


@pytest.mark.parametrize("limit", [0, 5_000, 100_000])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    """RLIMIT_FSIZE makes every write beyond it fail; HDF5 itself ends the process where it sees one fail."""
    path = tmp_path / "table.h5"
    code = f"""
import resource, sys
import h5py
import numpy as np
from pathlib import Path
from prejudge.errors import PrejudgeError
from prejudge.formats import hdf5
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
try:
    with hdf5.writing(Path({str(path)!r})) as file:
        for i in range(20):
            data = np.random.default_rng(i).normal(size=5_000)
            file.create_dataset(f"columns/{{i}}", data=data, compression="gzip", chunks=(500,))
        file["again"] = file["columns/3"]
        file["columns/3"][:10], file["text"] = 0.0, "x" * 1000
except PrejudgeError as error:
    print(error)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.startswith(f"cannot write {path}: the disk is full") and ended.stdout.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_written_files_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "table.h5"
    with hdf5.writing(path) as file:
        file.create_dataset("a", data=np.arange(10_000.0), compression="gzip")
        file["b"] = "text"
    with pytest.raises(KeyError), hdf5.writing(path) as file:
        raise KeyError
    hdf5.read_everything(path)
    with hdf5.open_file(path) as file:
        assert file["a"][()].sum() == np.arange(10_000).sum() and [p.name for p in tmp_path.iterdir()] == ["table.h5"]
