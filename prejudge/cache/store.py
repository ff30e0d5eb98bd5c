"""The score cache: one HDF5 file, many protocols, one writer, any number of readers."""

from __future__ import annotations

import math
import os
import secrets
import shutil
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from prejudge._version import __version__
from prejudge.cache import layout
from prejudge.cache.protocol import Protocol
from prejudge.cache.reader import ScoreReader
from prejudge.cache.scores import (
    Column,
    ProtocolScores,
    Record,
    checked_name,
    checked_text,
    definition,
    former_name,
    is_kept,
)
from prejudge.cache.snapshot import KIND, read_snapshot
from prejudge.engine.journal import JournalContents, JournalWriter
from prejudge.errors import InputError, PrejudgeError, one_line, quoted, unknown
from prejudge.formats.atomic import beside, destination, write_atomically
from prejudge.formats.hdf5 import check_in_child
from prejudge.formats.lock import writer_lock
from prejudge.proxies.score import Score

if TYPE_CHECKING:
    from filelock import BaseFileLock


COMPACT_BYTES = 16 * 2**20
"""A journal longer than this, and than half of all scores in memory, is written into the file.

Writing costs in proportion to all scores, so that the second bound keeps the cost of one more constant on average."""


@dataclass(frozen=True)
class MergeReport:
    """The result of a merge, in numbers of scores.

    Attributes:
        added: Scores that were not here.
        equal: Scores that both have and that agree up to rounding, or that only failed there; ours were kept.
        conflicts: Scores that both have and that differ; settled as asked.
    """

    added: int = 0
    equal: int = 0
    conflicts: int = 0


class ScoreCache(ScoreReader):
    """Scores of many architectures under one or more protocols, in one HDF5 file.

    New scores go to a checksummed journal beside the file (``FILE.journal``) at once; closing the cache writes them
    into the file, which is only ever replaced as a whole. A process killed at any moment therefore loses no score that
    :meth:`put` returned from, and never the file; the next opening replays the journal. One process writes at a time
    (``FILE.lock``); readers need no lock and see everything up to the moment they open.

    Args:
        path: The file, by custom ``NAME.h5``.
        mode: ``"a"`` to read and add (the file is made with the first score), ``"r"`` to read.
        compact_bytes: Journal length from which it is written into the file while the cache is open.

    Raises:
        MissingDataError: ``mode="r"`` and there is no file, or its folder does not exist.
        FileFormatError: It is damaged, foreign or of a newer version; it is left as it is.
        BusyError: ``mode="a"`` and another process has it open for writing.
        PrejudgeError: ``mode="a"`` and the folder cannot be written.

    Example:
        >>> with prejudge.ScoreCache("scores.h5") as cache:                      # doctest: +SKIP
        ...     prejudge.fill(cache, space, archs, data, proxies=["snip"])
        ...     cache.frame()
    """

    def __init__(
        self, path: str | os.PathLike[str], mode: Literal["a", "r"] = "a", *, compact_bytes: int = COMPACT_BYTES
    ) -> None:
        if mode not in ("a", "r"):
            raise unknown("cache mode", mode, ("a", "r"))
        self.mode = mode
        file = Path(path)
        where = check_place(file)
        if file.is_symlink():
            file = where  # the file is replaced, not the link
        self._compact_bytes = compact_bytes
        self._journal: JournalWriter | None = None
        self._lock: BaseFileLock | None = None
        self._dirty = self._unsettled = False
        self._closed = False
        if mode == "a":
            self._lock = writer_lock(file)
        try:
            contents, journal = read_snapshot(file, writing=mode == "a")
            super().__init__(file, contents)
            self._compact_at = max(compact_bytes, contents.nbytes // 2)
            if mode == "a":
                self._resume(journal)
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        with suppress(Exception):  # the journal has every score; a second error must not hide the first
            self.close()

    def __repr__(self) -> str:
        return f"<ScoreCache {self.path} mode={self.mode!r}: {len(self._contents.protocols)} protocols>"

    # -- writing ------------------------------------------------------------------------------------------------------

    def add_protocol(self, protocol: Protocol) -> None:
        """Make a protocol known; nothing happens where it is."""
        if protocol.digest not in self._contents.protocols:
            self._record({"kind": "protocol", "json": protocol.to_json()})

    def declare(self, protocol: Protocol, column: str, info: Mapping[str, Any]) -> None:
        """Make a column known, with its proxy's declaration.

        Where the cache has the column with another ``source`` (a third party's proxy was edited), its scores are kept
        as ``NAME@DIGEST``, and those of this source, if it had been here before, are in their place again. Where it has
        the column in another ``version`` only, its scores are dropped. A warning says either; the scores are computed
        anew, and the two are never mixed.

        Raises:
            InputError: The declaration is not plain values, or the column's name is not text that the file can hold.
        """
        info = dict(info)
        _check("column", checked_name, column)
        self.add_protocol(protocol)
        known = self._scores(protocol).columns.get(column)
        if known is not None and known.info == info:
            return
        if known is not None and definition(known.info) != definition(info) and known.status.any():
            change = _change(column, known, info, self._scores(protocol))
            warnings.warn(f"{self.path}: {change}", stacklevel=2)
        self._record({"kind": "column", "protocol": protocol.digest, "name": column, "info": info})

    def begin_run(self, environment: Mapping[str, Any] | None = None) -> int:
        """Note the environment of the scores to come; returns its number for :meth:`put`."""
        run = {"prejudge": __version__, "date": datetime.now(UTC).isoformat(timespec="seconds"), **(environment or {})}
        number = len(self._contents.runs)
        self._record({"kind": "run", "index": number, "run": run})
        return number

    def put(
        self,
        protocol: Protocol,
        architecture: object,
        scores: Mapping[str, Score | float],
        *,
        repeat: int = 0,
        run: int | None = None,
    ) -> None:
        """Add scores of one architecture; when this returns, the end of this process cannot lose them.

        Args:
            protocol: The protocol they were computed under.
            architecture: The architecture; ``str`` of it is its key.
            scores: ``{column: score}``. Columns that were not declared get an empty declaration. A value that is not
                finite is kept as a failure.
            repeat: Which repeat (seed and batch), from 0.
            run: Number of the run, from :meth:`begin_run`.

        Raises:
            PrejudgeError: The scores cannot be written (disk full, read-only); nothing saved before is touched.
            InputError: The architecture's text, or a column's name, is none that the file can hold.
        """
        self._writable()
        if not scores:
            return
        _check("architecture", checked_text, str(architecture))
        known = self._contents.protocols.get(protocol.digest)
        for name in scores:
            if known is None or name not in known.columns:
                self.declare(protocol, name, {"proxy": name.partition("(")[0], "version": 1})
        if repeat < 0:
            raise InputError(f"repeat {repeat} is negative")
        record: Record = {
            "kind": "scores",
            "protocol": protocol.digest,
            "architecture": str(architecture),
            "repeat": repeat,
            "run": -1 if run is None else run,
            "scores": {name: _plain(score) for name, score in scores.items()},
        }
        self._record(record)

    def merge(
        self, *others: ScoreCache | str | os.PathLike[str], on_conflict: Literal["error", "keep", "replace"] = "error"
    ) -> MergeReport:
        """Take over the scores of other caches.

        A score that is not here is added; a successful one beats a failed one, on either side. Where both have a value
        and they agree to a relative 1e-5 (rounding on another machine), ours stays. Everything else is a conflict, and
        so is a column whose proxy has another version or source there. Scores of two sources stay apart: ``"keep"``
        adds theirs as ``NAME@DIGEST``, ``"replace"`` keeps ours so.

        Args:
            others: Caches or their files; they are only read, files by a process of their own first: one from elsewhere
                may make the HDF5 library crash.
            on_conflict: ``"error"`` changes nothing and says what conflicts; ``"keep"`` ours; ``"replace"`` by theirs.

        Raises:
            InputError: A conflict under ``"error"``.
            FileFormatError: A file is damaged.
        """
        from prejudge.cache.merge import merge

        self._writable()
        for other in others:
            if not isinstance(other, ScoreCache):
                check_in_child(other)
        opened = [o if isinstance(o, ScoreCache) else ScoreCache(o, "r") for o in others]
        report = merge(self._contents, [(str(o.path), o._contents) for o in opened], on_conflict)
        self._dirty = True
        self.compact()
        return MergeReport(*report)

    def flush(self) -> None:
        """Make everything so far survive a power failure as well."""
        if self._journal is not None:
            self._journal.sync()

    def compact(self) -> None:
        """Write all scores into the HDF5 file and empty the journal.

        Raises:
            PrejudgeError: It cannot be written; the old file and the journal stay as they are.
        """
        self._writable()
        contents = self._contents
        new = replace(contents, identity=secrets.token_hex(8), previous=contents.identity)
        image = layout.encode(new)
        # Interrupted in here, it is not known which file is on disk, and so not what a journal would continue.
        self._unsettled = True
        try:
            write_atomically(self.path, image)
        except PrejudgeError:
            self._unsettled = False  # the old one, for certain
            raise
        contents.identity, contents.previous = new.identity, new.previous
        self._drop_journal()
        self._unsettled = self._dirty = False
        self._compact_at = max(self._compact_bytes, contents.nbytes // 2)

    def close(self) -> None:
        """Write what is new into the file and give up the writer lock. Closing twice does nothing."""
        if self._closed:
            return
        try:
            if self.mode == "a" and (self._dirty or self._unsettled or self._journal is not None):
                self.compact()
        finally:
            self._closed = True
            self._release()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _writable(self) -> None:
        if self._closed:
            raise InputError(f"{self.path} is closed")
        if self.mode != "a":
            raise InputError(f"{self.path} is open for reading only; open it with mode='a' to add scores")

    def _record(self, record: Record) -> None:
        self._writable()
        if self._unsettled or not self._contents.identity:
            self.compact()  # a journal always continues a file
        if self._journal is None:
            self._journal = self._open_journal()
        self._journal.append(record)
        self._contents.apply(record)
        if self._journal.size > self._compact_at:
            self.compact()

    def _resume(self, journal: JournalContents | None) -> None:
        with suppress(OSError):
            beside(self.path, ".part").unlink()
        path = beside(self.path, ".journal")
        if journal is None:  # none, or its process died between writing the file and removing it
            self._drop_journal()
        elif journal.damaged:
            with suppress(OSError):  # for whoever wants to look at it
                shutil.copyfile(path, beside(self.path, ".journal.damaged"))
            self.compact()
        else:
            self._journal = self._open_journal(journal.end)

    def _open_journal(self, resume_at: int = 0) -> JournalWriter:
        return JournalWriter(
            beside(self.path, ".journal"), KIND, {"follows": self._contents.identity}, resume_at=resume_at
        )

    def _drop_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        with suppress(FileNotFoundError):
            beside(self.path, ".journal").unlink()

    def _release(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def check_place(path: Path) -> Path:
    """The file that a cache at ``path`` is, behind all links; raises :class:`InputError` where it can be none."""
    where = destination(path)
    if where is None:
        raise InputError(f"{path} is a pipe or a device; a score cache needs a file, by custom NAME.h5")
    return where


def _check(what: str, check: Callable[[Any], str], value: Any) -> None:
    """Raise :class:`InputError` before anything of a text is written that could not be read again."""
    try:
        check(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} {quoted(value)} cannot be kept: {error}") from None


def _change(column: str, known: Column, info: Mapping[str, Any], scores: ProtocolScores) -> str:
    (old, old_source), (new, new_source) = definition(known.info), definition(info)
    change = f"the source of {column} has changed (from {old_source or 'unknown'} to {new_source or 'built in'})"
    if old_source == new_source:
        change = f"{column} was version {old} and is now version {new}"
    count = np.count_nonzero(known.status)
    left = f"kept as {former_name(column, known.info)}" if is_kept(known, info) else "dropped"
    now = "those of this source used again" if former_name(column, info) in scores.columns else "computed anew"
    return f"{change}; its {count} earlier scores are {left} and {now}"


def _plain(score: Score | float) -> list[Any]:
    """``[value, seconds]`` or ``[None, seconds, reason]``."""
    value = float(score)
    seconds = float(score.seconds) if isinstance(score, Score) else math.nan
    cost = round(seconds, 6) if math.isfinite(seconds) else None
    if isinstance(score, Score) and not score.ok:
        return [None, cost, one_line(score.reason)]
    return [value, cost] if math.isfinite(value) else [None, cost, f"the value is {value}"]
