from __future__ import annotations

import collections
import os
import pickle
import pickletools
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prejudge.errors import FileFormatError, MissingDataError
from prejudge.formats.pickle.files import load_pickle, read_pickles
from tests.hostile_pickles import Call

EVIL: list[str] = []
"""What a malicious pickle managed to run."""


def values(path: Path) -> list[Any]:
    return [value for _, value in read_pickles(path)]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_and_numbers(tmp_path: Path, protocol: int) -> None:
    content = {
        "i": 3,
        "arch": "|none~0|é",
        "nested": [1, (2.5, None), True, b"bytes"],
        "ordered": collections.OrderedDict(a=1.0),
        "float64": np.float64(1e-300),
        "float32": np.float32(0.1),
        "int": np.int64(-7),
        "bool": np.bool_(True),
        "big endian": np.dtype(">f8").type(2.5),
        "array": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
        "nothing": np.empty(0),
        "scalar array": np.array(4.0),
    }
    path = tmp_path / "scores.p"
    path.write_bytes(pickle.dumps(content, protocol) + pickle.dumps("second", protocol))
    read, second = values(path)
    assert second == "second"
    assert read == {
        **content, "float32": float(np.float32(0.1)), "array": [[0, 1, 2], [3, 4, 5]],
        "fortran": [[0, 1, 2], [3, 4, 5]], "nothing": [], "scalar array": 4.0,
    }  # fmt: skip
    assert type(read["float64"]) is float and type(read["int"]) is int and type(read["bool"]) is bool


def test_old_numpy_module_names(tmp_path: Path) -> None:
    path = tmp_path / "scores.p"
    path.write_bytes(pickle.dumps(np.float64(2.5), 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert values(path) == [2.5]


def test_python_2_texts(tmp_path: Path) -> None:
    path = tmp_path / "scores.p"
    path.write_bytes(b"\x80\x02}q\x00U\x04archq\x01U\x03|a|q\x02s.")
    assert values(path) == [{"arch": "|a|"}]


def attacks() -> dict[str, bytes]:
    marker = f"{__name__}.EVIL"
    return {
        "os.system": pickle.dumps(Call(os.system, "touch owned")),
        "eval": pickle.dumps(Call(eval, f"__import__('sys').modules[{__name__!r}].EVIL.append({marker!r})")),
        "exec in a dict": pickle.dumps({"arch": "x", "logmeasures": {"snip": Call(exec, "EVIL.append(1)")}}),
        "getattr chain": b"cbuiltins\ngetattr\n(cos\nsystem\nS'__call__'\ntR.",
        "numpy function": pickle.dumps(Call(np.load, "owned.npy")),
        "numpy submodule": b"cnumpy.testing._private.utils\nrunstring\n(S'import os'\n}tR.",
        "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0cdtype.__init__\x93.",
        "a class of ours": b"cprejudge.formats.pickle.files\n_Maker\n(tR.",
        "object arrays": pickle.dumps(np.array([Call(os.system, "touch owned")], dtype=object)),
        "structured type": pickle.dumps(np.zeros(1, dtype=[("a", "O")])),
        "changing a stand-in": b"ccollections\nOrderedDict\n}S'__code__'\nS'x'\nsb.",
        "changing a stand-in's slots": b"ccollections\nOrderedDict\n(N}S'_make'\ncos\nsystem\nstb.",
        "persistent id": b"Pos.system\n.",
        "other encoding": b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.",
        "torch": b"ctorch._utils\n_rebuild_tensor_v2\n(tR.",
        "extension code": b"\x82\x01.",
    }


@pytest.mark.parametrize("name", list(attacks()))
def test_nothing_in_a_pickle_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "scores.p"
    path.write_bytes(attacks()[name])
    with pytest.raises(FileFormatError, match=r"scores\.p") as error:
        values(path)
    assert "\n" not in str(error.value) and EVIL == [] and [p.name for p in tmp_path.iterdir()] == ["scores.p"]
    path.write_bytes(pickle.dumps(collections.OrderedDict(a=np.float64(1))))  # and nothing has changed for the next
    assert values(path) == [{"a": 1.0}]


def test_what_is_refused_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scores.p"
    path.write_bytes(pickle.dumps(1) + attacks()["os.system"])
    with pytest.raises(FileFormatError, match=rf"byte {len(pickle.dumps(1))} names .*system, which may run code; "):
        values(path)
    path.write_bytes(attacks()["torch"])
    with pytest.raises(
        FileFormatError, match=r"holds torch objects \(torch\._utils\._rebuild_tensor_v2\).*tensor\.item"
    ):
        values(path)


def test_truncation_is_located_at_every_length(tmp_path: Path) -> None:
    records = [pickle.dumps({"i": i, "arch": f"arch {i}", "logmeasures": {"snip": np.float64(i)}}) for i in range(3)]
    path = tmp_path / "scores.p"
    whole = b"".join(records)
    starts = [0, len(records[0]), len(records[0]) + len(records[1]), len(whole)]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        read = []
        if length in starts:
            assert len(values(path)) == starts.index(length)
            continue
        last = max(s for s in starts if s < length)
        with pytest.raises(FileFormatError, match=f"starts at byte {last}$"):
            read.extend(value for _, value in read_pickles(path))


def test_random_bytes_never_give_a_traceback(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "scores.p"
    whole = pickle.dumps([{"arch": "a", "logmeasures": {"snip": np.float64(1), "x": np.arange(3)}}] * 3)
    pickletools.dis(whole, out=(tmp_path / "listing").open("w"))
    for _ in range(300):
        broken = bytearray(whole)
        for position in rng.integers(len(whole), size=int(rng.integers(1, 4))):
            broken[position] = rng.integers(256)
        path.write_bytes(bytes(broken))
        try:
            values(path)
        except FileFormatError as error:
            assert "\n" not in str(error)


def test_recursion_and_missing_files(tmp_path: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    path = tmp_path / "scores.p"
    path.write_bytes(pickle.dumps(endless))
    with pytest.raises(FileFormatError, match="byte 0"):
        values(path)
    with pytest.raises(MissingDataError, match="no file"):
        values(tmp_path / "none.p")


@pytest.mark.parametrize("reader", [read_pickles, load_pickle])
def test_keys_with_equal_hashes_are_refused(tmp_path: Path, reader: Callable[[Path], Any]) -> None:
    """40,000 of them in a dict take 18 s."""
    path, prime = tmp_path / "scores.p", 2**61 - 1
    for keys in ([k * prime for k in range(40_000)], [(k << 40, 1, k << 40) for k in range(40_000)]):
        content = b"\x80\x04}(" + b"".join(pickle.dumps(key, 2)[2:-1] + b"N" for key in keys) + b"u."
        path.write_bytes(content)
        start = time.perf_counter()
        with pytest.raises(FileFormatError, match="huge numbers"):
            list(reader(path))
        assert time.perf_counter() - start < 5


@pytest.mark.parametrize("shared", [bytearray(1 << 20), "é" * (1 << 19)])
def test_what_is_referred_to_often_is_made_once(tmp_path: Path, shared: object) -> None:
    path = tmp_path / "scores.p"
    path.write_bytes(pickle.dumps([shared] * 8000, 5))
    tracemalloc.start()
    start = time.perf_counter()
    (value,) = values(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(value) == 8000 and value[0] is value[-1]
    assert time.perf_counter() - start < 5 and peak < 20 << 20
