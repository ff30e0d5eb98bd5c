from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from prejudge.cache import Protocol, ScoreCache, layout
from prejudge.cache.layout import decode, encode
from prejudge.errors import PrejudgeError


def test_the_file_is_as_documented_for_any_hdf5_reader(filled: Path, protocol: Protocol) -> None:
    with h5py.File(filled) as file:
        assert file.attrs["format"] == "prejudge scores" and file.attrs["version"] == 1
        assert json.loads(file["runs"][0])["torch"] == "2"
        group = file["protocols"][protocol.digest]
        assert json.loads(group.attrs["json"])["macro"] == {"channels": 16}
        assert [text.decode() for text in group["architectures"][:2]] == ["arch 0", "arch 1"]
        snip = group["columns"]["snip"]
        assert {n: (d.dtype.str, d.shape) for n, d in snip.items() if n not in ("failures", "reasons")} == {
            "value": ("<f8", (30, 1)), "status": ("|u1", (30, 1)), "seconds": ("<f4", (30, 1)), "run": ("<i4", (30, 1)),
        }  # fmt: skip
        for name in ("value", "status", "seconds", "run"):
            assert (snip[name].compression, snip[name].shuffle, snip[name].fletcher32) == ("gzip", True, True)
        assert json.loads(snip.attrs["info"])["proxy"] == "snip" and snip.attrs["name"] == "snip"
        assert snip["status"][:4, 0].tolist() == [1, 1, 1, 2] and np.isnan(snip["value"][3, 0])
        assert snip["failures"][:].tolist() == [[3, 0, 0], [13, 0, 0], [23, 0, 0]]
        assert [text.decode() for text in snip["reasons"]] == ["no path"]


def test_encoding_what_was_decoded_gives_the_same(filled: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.h5"
    again.write_bytes(encode(decode(filled)))
    first, second = ScoreCache(filled, "r").info(), ScoreCache(again, "r").info()
    assert first["protocols"] == second["protocols"] and first["runs"] == second["runs"]


def test_protocols_and_columns_without_scores(path: Path, protocol: Protocol, other_protocol: Protocol) -> None:
    with ScoreCache(path) as cache:
        cache.add_protocol(other_protocol)
        cache.declare(protocol, "snip", {"proxy": "snip", "version": 1})
    cache = ScoreCache(path, "r")
    assert cache.protocols() == [other_protocol, protocol] and cache.columns(protocol) == ["snip"]
    assert cache.frame(protocol).empty and cache.frame(other_protocol).empty and cache.failures(protocol).empty
    assert cache.info()["protocols"][0]["columns"] == {}


def test_an_hdf5_library_that_writes_damaged_files_costs_no_score(
    path: Path, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the core driver of HDF5 1.14 did: the file is read back before it takes the place of anything."""
    with ScoreCache(path) as cache:
        cache.put(protocol, "first", {"snip": 1.0})
    whole = path.read_bytes()

    class Damaging(io.BytesIO):
        def write(self, content: Any) -> int:
            return super().write(bytes(content).replace(b"\x89HDF", b"\x89HDX"))

    for damaging in (Damaging, Forgetful):
        with monkeypatch.context() as patch:
            patch.setattr(layout.io, "BytesIO", damaging)
            cache = ScoreCache(path)
            cache.put(protocol, "second", {"snip": 2.0})
            with pytest.raises(PrejudgeError, match=r"^h5py .* writes files that it cannot read .*update h5py"):
                cache.close()
        assert path.read_bytes() == whole
        assert len(ScoreCache(path, "r").frame()) == 2  # from the journal
    with ScoreCache(path):
        pass
    assert len(decode(path).protocols[protocol.digest].architectures) == 2


class Forgetful(io.BytesIO):
    """Memory that loses what is written last."""

    def write(self, content: Any) -> int:
        if self.tell() > 4000:
            return len(bytes(content))
        return super().write(content)
