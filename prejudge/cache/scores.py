"""The scores in memory: growable arrays per protocol and column, changed only by applying records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prejudge.cache.protocol import Protocol

MISSING, OK, FAILED = 0, 1, 2
"""Values of a status array."""

_LARGEST_INDEX = 2**31 - 1
_BYTES_PER_SCORE = 21

Record = dict[str, Any]
"""One change, as the journal keeps it: ``{"kind": "protocol" | "column" | "run" | "scores", …}``."""


class Column:
    """All scores of one proxy under one protocol: arrays of shape (architectures, repeats).

    Attributes:
        info: The proxy's declaration, as plain values.
        reasons: ``{(row, repeat): text}`` of the failed scores.
    """

    def __init__(self, info: dict[str, Any]) -> None:
        self.info = info
        self.reasons: dict[tuple[int, int], str] = {}
        self.rows = self.repeats = 0
        self._value = np.empty((0, 0))
        self._status = np.empty((0, 0), np.uint8)
        self._seconds = np.empty((0, 0), np.float32)
        self._run = np.empty((0, 0), np.int32)

    @classmethod
    def of(
        cls, info: dict[str, Any], *, value: np.ndarray, status: np.ndarray, seconds: np.ndarray, run: np.ndarray,
        reasons: dict[tuple[int, int], str],
    ) -> Column:  # fmt: skip
        """A column over arrays of equal shape (architectures, repeats)."""
        column = cls(info)
        column.rows, column.repeats = value.shape
        column._value, column._status, column._seconds, column._run = value, status, seconds, run
        column.reasons = reasons
        return column

    @property
    def value(self) -> np.ndarray:
        """Scores, float64; NaN where missing or failed."""
        return self._value[: self.rows, : self.repeats]

    @property
    def status(self) -> np.ndarray:
        """:data:`MISSING`, :data:`OK` or :data:`FAILED`, uint8."""
        return self._status[: self.rows, : self.repeats]

    @property
    def seconds(self) -> np.ndarray:
        """Cost of each score in seconds, float32; NaN where unknown."""
        return self._seconds[: self.rows, : self.repeats]

    @property
    def run(self) -> np.ndarray:
        """Index of the run that computed each score, int32; -1 where unknown."""
        return self._run[: self.rows, : self.repeats]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that are in use."""
        return self.rows * self.repeats * sum(a.itemsize for a in (self._value, self._status, self._seconds, self._run))

    def grow(self, rows: int, repeats: int) -> None:
        """Make room for at least this many rows and repeats; rows double, so one more costs a constant on average."""
        self.rows, self.repeats = max(self.rows, rows), max(self.repeats, repeats)
        capacity = self._value.shape
        if self.rows <= capacity[0] and self.repeats <= capacity[1]:
            return
        shape = (max(self.rows, min(2 * capacity[0], capacity[0] + 2**20), 16), max(self.repeats, capacity[1]))
        for name, fill in (("_value", np.nan), ("_status", MISSING), ("_seconds", np.nan), ("_run", -1)):
            old = getattr(self, name)
            new = np.full(shape, fill, old.dtype)
            new[: capacity[0], : capacity[1]] = old
            setattr(self, name, new)

    def set(self, row: int, repeat: int, value: float | None, seconds: float, reason: str, run: int) -> None:
        """Store one score; ``value`` None means that it failed for ``reason``."""
        if row >= self.rows or repeat >= self.repeats:
            self.grow(row + 1, repeat + 1)
        at = row, repeat
        if self._status[at] == FAILED:
            self.reasons.pop(at, None)
        self._status[at] = FAILED if value is None else OK
        self._value[at] = math.nan if value is None else value
        self._seconds[at] = seconds
        self._run[at] = run
        if value is None:
            self.reasons[at] = reason

    def mean(self, rows: int) -> np.ndarray:
        """Mean over the successful repeats, shape ``(rows,)``; NaN where there is none."""
        self.grow(rows, 1)
        good = self.status == OK
        count = good.sum(1)
        total = np.where(good, self.value, 0.0).sum(1)
        result: np.ndarray = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)[:rows]
        return result


def definition(info: Mapping[str, Any]) -> tuple[Any, str]:
    """The version of a column's proxy and the digest of its source: where one differs, scores are never pooled."""
    return info.get("version"), info.get("source") or ""


def former_name(name: str, info: Mapping[str, Any]) -> str:
    """The name of a column whose proxy has another source by now: ``NAME@`` and the beginning of its own digest."""
    version, source = definition(info)
    return f"{name}@{source[:8] or f'v{version}'}"


def is_kept(column: Column, info: Mapping[str, Any]) -> bool:
    """Whether the scores of a column are kept, under another name, when it gets another definition."""
    return definition(column.info)[1] != definition(info)[1] and bool((column.status == OK).any())


class ProtocolScores:
    """The scores under one protocol."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.architectures: list[str] = []
        self.row: dict[str, int] = {}
        self.columns: dict[str, Column] = {}

    def add(self, architecture: str) -> int:
        """Row of ``architecture``; a new one where it is not known yet."""
        row = self.row.get(architecture)
        if row is None:
            row = self.row[architecture] = len(self.architectures)
            self.architectures.append(architecture)
        return row

    def declare(self, name: str, info: dict[str, Any]) -> None:
        """Make a column known; where its definition changed, its scores make room: they mean something else.

        Those of another source are kept as :func:`former_name`, and what was kept so of this source is in its place
        again. Those of another version of the same source are dropped, and those that all failed.
        """
        column = self.columns.get(name)
        if column is None:
            self.columns[name] = Column(dict(info))
        elif definition(column.info) == definition(info):
            column.info = dict(info)
        else:
            now = self.columns.pop(former_name(name, info), None) or Column({})
            now.info = dict(info)
            self.columns[name] = now
            if is_kept(column, info):
                column.info = {**column.info, "former": name}
                self.columns[former_name(name, column.info)] = column

    def place(self, name: str, info: Mapping[str, Any]) -> str:
        """The name under which scores that another cache calls ``name`` belong here, by the source of their proxy."""
        name = str(info.get("former", name))
        if name in self.columns and definition(self.columns[name].info) == definition(info):
            return name
        former = former_name(name, info)
        return former if "former" in info or former in self.columns else name

    def full(self, name: str) -> Column:
        """Column ``name`` with a row for every architecture and at least one repeat."""
        column = self.columns[name]
        column.grow(len(self.architectures), 1)
        return column

    @property
    def repeats(self) -> int:
        """Most repeats of any column."""
        return max((c.repeats for c in self.columns.values()), default=0)


@dataclass
class Contents:
    """Everything in one cache.

    Attributes:
        identity: Random name of this state of the file; a journal says which state it continues.
        previous: The identity before the last compaction.
        protocols: By digest, in the order of arrival.
        runs: The environment of each run that added scores.
    """

    identity: str = ""
    previous: str = ""
    protocols: dict[str, ProtocolScores] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """Bytes of all scores in memory."""
        return sum(c.nbytes for scores in self.protocols.values() for c in scores.columns.values())

    def claimed_bytes(self, records: list[Record]) -> int:
        """Upper bound of the bytes of all scores in memory once these records are applied."""
        scores = [record for record in records if record.get("kind") == "scores"]
        repeats = [record["repeat"] for record in scores if isinstance(record.get("repeat"), int)]
        known = self.protocols.values()
        rows = max((len(p.architectures) for p in known), default=0) + len(scores)
        columns = sum(len(p.columns) for p in known) + sum(record.get("kind") == "column" for record in records)
        return int(rows * columns * max([*repeats, *(p.repeats for p in known), 0]) * _BYTES_PER_SCORE)

    def apply(self, record: Record) -> None:
        """Make one change. Applying a record twice is the same as once.

        Raises:
            KeyError: It refers to a protocol or column that is not known, or lacks a field.
            TypeError: A field is of another type than it should.
            ValueError: A field has a value that none can have. In all three cases nothing has changed.
        """
        kind = record["kind"]
        if kind == "scores":
            scores = self.protocols[record["protocol"]]
            repeat, run = _index(record["repeat"], 0), _index(record["run"], -1)
            found = [(scores.columns[name], *_score(score)) for name, score in record["scores"].items()]
            row = scores.add(checked_text(record["architecture"]))
            for column, value, seconds, reason in found:
                column.set(row, repeat, value, seconds, reason, run)
        elif kind == "protocol":
            protocol = Protocol.from_json(record["json"])
            self.protocols.setdefault(protocol.digest, ProtocolScores(protocol))
        elif kind == "column":
            self.protocols[record["protocol"]].declare(checked_name(record["name"]), dict(record["info"]))
        elif kind == "run":
            if record["index"] == len(self.runs):
                self.runs.append(dict(record["run"]))
        else:
            raise KeyError(kind)


def checked_text(value: Any) -> str:
    """A text that the file can hold; raises :class:`ValueError` for any other, TypeError for what is not text."""
    if "\0" in value:
        raise ValueError("a text of the cache has no NUL characters")
    value.encode()  # a lone surrogate, which JSON can write, is not text either
    return str(value)


def checked_name(value: Any) -> str:
    """The name of a column, likewise."""
    if not value:
        raise ValueError("a column has a name")
    return checked_text(value)


def _index(value: Any, least: int) -> int:
    if type(value) is not int or not least <= value <= _LARGEST_INDEX:
        raise ValueError(f"no index from {least} to {_LARGEST_INDEX}")
    return value


def _score(plain: Any) -> tuple[float | None, float, str]:
    """Value, seconds and reason of ``[value, seconds]`` or ``[None, seconds, reason]``."""
    value, seconds, *reason = plain
    if value is not None and not math.isfinite(value):
        raise ValueError("a value that is not finite is a failure, and has a reason")
    seconds = math.nan if seconds is None else float(seconds)
    return None if value is None else float(value), seconds, checked_text(reason[0]) if reason else ""
