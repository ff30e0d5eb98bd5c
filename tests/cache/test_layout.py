from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from prejudge.cache import Protocol, ScoreCache
from prejudge.cache.layout import decode, encode


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
