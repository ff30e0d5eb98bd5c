"""The HDF5 file: how scores lie in it, version 1. Any HDF5 reader can use it without prejudge.

::

    /                          attributes: format="prejudge scores", version=1, identity, previous
    /runs                      JSON texts: the environment of each run that added scores
    /protocols/<digest>        attributes: json (the protocol), position
        architectures          canonical texts, UTF-8, (rows,)
        columns/<name>         attributes: name, info (JSON: the proxy's declaration), digest, position
            value              float64 (rows, repeats), NaN where missing or failed
            status             uint8: 0 missing, 1 ok, 2 failed
            seconds            float32, NaN where unknown
            run                int32, index into /runs, -1 where unknown
            failures           int32 (n, 3): row, repeat, index into reasons
            reasons            UTF-8 texts

All data is gzip-compressed, shuffled and checksummed (Fletcher-32) in chunks along the architectures.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from prejudge.cache.protocol import Protocol
from prejudge.cache.scores import FAILED, Column, Contents, ProtocolScores
from prejudge.errors import FileFormatError, InputError, MissingDataError, PrejudgeError
from prejudge.formats import hdf5

if TYPE_CHECKING:
    import h5py

FORMAT = "prejudge scores"
VERSION = 1
CHUNK_ROWS = 8192
_TYPES = {"value": "<f8", "status": "|u1", "seconds": "<f4", "run": "<i4"}


def encode(contents: Contents) -> bytes | memoryview:
    """The HDF5 file as bytes: it is made in memory, so that a full disk never leaves HDF5 half-written.

    Raises:
        PrejudgeError: Read back, it does not give the same scores: the HDF5 library writes damaged files.
    """
    import h5py

    # Not the "core" driver: HDF5 1.14 gives its image a wrong checksum.
    memory = io.BytesIO()
    with h5py.File(memory, "w", libver=("v110", "v110")) as file:
        digests = _write_contents(file, contents)
    _read_back(memory, contents, digests)
    return memory.getbuffer()


def _write_contents(file: h5py.File, contents: Contents) -> dict[tuple[str, str], str]:
    """Write everything; returns the digest of each column."""
    digests = {}
    file.attrs.update(format=FORMAT, version=VERSION, identity=contents.identity, previous=contents.previous)
    _write_texts(file, "runs", [json.dumps(run, sort_keys=True) for run in contents.runs])
    protocols = file.create_group("protocols")
    for position, (digest, scores) in enumerate(contents.protocols.items()):
        group = protocols.create_group(digest)
        group.attrs.update(json=scores.protocol.to_json(), position=position)
        _write_texts(group, "architectures", scores.architectures)
        columns = group.create_group("columns")
        for number, name in enumerate(scores.columns):
            column = scores.full(name)
            # "/" and "." mean something to HDF5
            where = columns.create_group(quote(name, safe="(),=' ").replace(".", "%2E"))
            where.attrs.update(name=name, info=json.dumps(column.info, sort_keys=True), position=number)
            where.attrs["digest"] = digests[digest, name] = column_digest(column)
            for part in ("value", "status", "seconds", "run"):
                _write(where, part, getattr(column, part))
            reasons = {text: i for i, text in enumerate(dict.fromkeys(column.reasons.values()))}
            failures = [(row, repeat, reasons[text]) for (row, repeat), text in column.reasons.items()]
            _write(where, "failures", np.array(failures, np.int32).reshape(-1, 3))
            _write_texts(where, "reasons", list(reasons))
    return digests


def _read_back(memory: io.BytesIO, contents: Contents, digests: Mapping[tuple[str, str], str]) -> None:
    """Make sure that a file holds what was written to it, before anything else that holds it goes."""
    import h5py

    try:
        with h5py.File(memory, "r") as file:
            budget = hdf5.ReadBudget(memory.getbuffer().nbytes)
            _texts(file, "runs", budget)
            for group, (digest, scores) in zip(_in_order(file, "protocols"), contents.protocols.items(), strict=True):
                if _texts(group, "architectures", budget) != scores.architectures:
                    raise ValueError("other architectures than were written")
                for part, name in zip(_in_order(group, "columns"), scores.columns, strict=True):
                    if column_digest(_column(part, name, len(scores.row), budget)) != digests[digest, name]:
                        raise ValueError("other scores than were written")
    except hdf5.READ_ERRORS as error:
        raise PrejudgeError(
            f"h5py {h5py.__version__} with HDF5 {h5py.version.hdf5_version} writes files that it cannot read "
            f"({hdf5.describe(error)}); nothing was replaced: update h5py and open the cache again"
        ) from error


def _write(group: h5py.Group, name: str, data: np.ndarray) -> None:
    chunks = (min(max(len(data), 1), CHUNK_ROWS), *(max(n, 1) for n in data.shape[1:]))
    group.create_dataset(
        name, data=data, chunks=chunks, maxshape=(None,) * data.ndim,
        compression="gzip", compression_opts=4, shuffle=True, fletcher32=True,
    )  # fmt: skip


def _write_texts(group: h5py.Group, name: str, texts: list[str]) -> None:
    import h5py

    encoded = [t.encode() for t in texts]
    width = max(map(len, encoded), default=0) or 1
    _write(group, name, np.array(encoded, dtype=h5py.string_dtype("utf-8", width)))


def decode(path: Path) -> Contents:
    """Read the file.

    Raises:
        MissingDataError: There is none.
        FileFormatError: It is truncated, damaged, not a score cache, or of a newer version.
    """
    with _open(path) as file:
        try:
            return _contents(file, hdf5.ReadBudget(path.stat().st_size))
        except hdf5.READ_ERRORS as error:
            raise FileFormatError(
                f"{path} is damaged ({hdf5.describe(error)}); restore it from a copy or score again into a new file"
            ) from error


def _open(path: Path) -> h5py.File:

    if path.is_dir():
        raise InputError(f"{path} is a folder; name a score file such as {path / 'scores.h5'}")
    if not path.exists():
        raise MissingDataError(f"no score file {path}")
    if not path.is_file():
        raise InputError(f"{path} is a pipe or a device; a score cache is a file")
    try:
        file = hdf5.open_file(path)  # it is only ever replaced as a whole, so no lock is needed
    except PermissionError:
        raise FileFormatError(f"cannot read {path}: no permission") from None
    except hdf5.READ_ERRORS as error:
        cause = "is not an HDF5 file, or its start is damaged"
        if "truncated" in str(error):
            cause = "is truncated: part of the file is missing"
        raise FileFormatError(f"{path} {cause}") from None
    try:
        kind, version = hdf5.attribute(file, "format"), int(hdf5.attribute(file, "version") or 0)
        if kind != FORMAT:
            raise FileFormatError(f"{path} is an HDF5 file, but not a score cache of prejudge")
        if version > VERSION:
            raise FileFormatError(f"{path} has cache format {version}; this prejudge reads up to {VERSION}: update it")
    except FileFormatError:
        file.close()
        raise
    except Exception as error:
        file.close()
        raise FileFormatError(f"{path} is damaged: its header cannot be read") from error
    return file


def _contents(file: h5py.File, budget: hdf5.ReadBudget) -> Contents:
    contents = Contents(_said(file, "identity"), _said(file, "previous"))
    contents.runs = [json.loads(text) for text in _texts(file, "runs", budget)]
    if not all(isinstance(run, dict) for run in contents.runs):
        raise ValueError("a run is not described")
    for group in _in_order(file, "protocols"):
        scores = ProtocolScores(Protocol.from_json(_said(group, "json")))
        if scores.protocol.digest in contents.protocols:
            raise ValueError(f"protocol {scores.protocol.digest} is there twice")
        scores.architectures = _texts(group, "architectures", budget)
        scores.row = {text: row for row, text in enumerate(scores.architectures)}
        for part in _in_order(group, "columns"):
            name = _said(part, "name")
            if name in scores.columns:
                raise ValueError(f"column {name} is there twice")
            scores.columns[name] = _column(part, name, len(scores.architectures), budget)
        contents.protocols[scores.protocol.digest] = scores
    return contents


def _column(group: h5py.Group, name: str, rows: int, budget: hdf5.ReadBudget) -> Column:
    arrays = {part: hdf5.array(group, part, budget, kind, (2,)) for part, kind in _TYPES.items()}
    if len({a.shape for a in arrays.values()}) != 1 or len(arrays["value"]) != rows:
        raise ValueError(f"column {name} has arrays of different lengths")
    failures = hdf5.array(group, "failures", budget, "<i4", (2,))
    if failures.shape[1] != 3 or (failures < 0).any():
        raise ValueError(f"column {name} has failures without a place")
    texts = _texts(group, "reasons", budget)
    reasons = {(row, repeat): texts[index] for row, repeat, index in failures.tolist()}
    failed = arrays["status"] == FAILED
    if len(reasons) != np.count_nonzero(failed) or not failed[failures[:, 0], failures[:, 1]].all():
        raise ValueError(f"column {name} has failures without a reason")
    info = json.loads(_said(group, "info"))
    if not isinstance(info, dict):
        raise ValueError(f"column {name} has no declaration")
    return Column.of(info, reasons=reasons, **arrays)


def _in_order(group: h5py.Group, path: str) -> list[h5py.Group]:
    return sorted(hdf5.members(group, path), key=lambda g: int(hdf5.attribute(g, "position")))


def _said(node: h5py.Group, name: str) -> str:
    value = hdf5.attribute(node, name)
    if not isinstance(value, str):
        raise ValueError(f"{node.name} has no {name}")
    return value


def _texts(group: h5py.Group, path: str, budget: hdf5.ReadBudget) -> list[str]:
    return [text.decode() for text in hdf5.array(group, path, budget, "S", (1,)).tolist()]


def column_digest(column: Column) -> str:
    """16 hexadecimal digits over values and status: equal digests mean equal scores in equal order."""
    hashed = hashlib.sha256(np.ascontiguousarray(column.value).tobytes())
    hashed.update(np.ascontiguousarray(column.status).tobytes())
    return hashed.hexdigest()[:16]


def stored_digests(path: Path) -> dict[tuple[str, str], Any]:
    """``{(protocol digest, column): digest}`` as the file states them."""
    with _open(path) as file:
        try:
            return {
                (PurePosixPath(group.name).name, _said(column, "name")): _said(column, "digest")
                for group in hdf5.members(file, "protocols")
                for column in hdf5.members(group, "columns")
            }
        except hdf5.READ_ERRORS as error:
            raise FileFormatError(f"{path} is damaged ({hdf5.describe(error)}); restore it from a copy") from error
