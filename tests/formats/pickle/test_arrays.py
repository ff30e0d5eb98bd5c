from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from prejudge.errors import FileFormatError, MissingDataError
from prejudge.formats.pickle.files import load_pickle


@pytest.mark.parametrize("protocol", range(5))
def test_arrays_and_containers_come_back(tmp_path: Path, protocol: int) -> None:
    value = {
        "a": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "b": [1, 2.5, "text", None],
        "c": (np.float32(0.5), b"\x80"),
    }
    (tmp_path / "p").write_bytes(pickle.dumps(value, protocol))
    found = load_pickle(tmp_path / "p")
    assert np.array_equal(found["a"], value["a"]) and found["a"].dtype == np.uint8
    assert found["b"] == value["b"] and found["c"] == value["c"]


class Runs:
    def __init__(self, call: object, *arguments: object) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call, self.arguments


@pytest.mark.parametrize(
    "value", [Runs(os.system, "touch PWNED"), Runs(eval, "1"), Runs(np.load, "x"), Runs(OrderedDict.fromkeys, "a")]
)
def test_anything_else_is_refused_and_not_run(tmp_path: Path, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p").write_bytes(pickle.dumps({"data": [value]}))
    with pytest.raises(FileFormatError, match="which may run code; nothing in it was run"):
        load_pickle(tmp_path / "p")
    assert not (tmp_path / "PWNED").exists()


def test_damaged_pickles(tmp_path: Path) -> None:
    whole = pickle.dumps({"a": np.arange(100)})
    for cut in (0, 1, 20, len(whole) - 1):
        (tmp_path / "p").write_bytes(whole[:cut])
        with pytest.raises(FileFormatError, match="truncated"):
            load_pickle(tmp_path / "p")
    (tmp_path / "p").write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(FileFormatError):
        load_pickle(tmp_path / "p")
    with pytest.raises(MissingDataError):
        load_pickle(tmp_path / "none")
