"""Taking over scores that zero-cost-nas or HNAS have computed.

Their files are pickled dictionaries one after another (or one list of them)::

    {"i": 0, "arch": "|avg_pool_3x3~0|+…", "logmeasures": {"snip": 3.1, "synflow": …}}     NAS-Bench-201
    {"hash": "…", "logmeasures": {…}}                                                    NAS-Bench-101
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prejudge.cache.protocol import Protocol
from prejudge.errors import FileFormatError, InputError, quoted
from prejudge.formats.pickle.files import read_pickles
from prejudge.proxies.registry import get, names
from prejudge.proxies.score import Score

if TYPE_CHECKING:
    from prejudge.cache.store import ScoreCache
    from prejudge.spaces.base import Space

_KEYS = ("arch", "arch_str", "hash")


@dataclass(frozen=True)
class ImportReport:
    """What was imported.

    Attributes:
        protocols: Select the scores in the cache; one for each data set of the file.
        architectures: Records read.
        scores: Values taken over.
        failed: Values that are no finite number; kept as failed scores.
        left_out: Names in the file that are no proxies.
    """

    protocols: tuple[Protocol, ...]
    architectures: int
    scores: int
    failed: int
    left_out: tuple[str, ...] = ()

    @property
    def protocol(self) -> Protocol:
        """The first protocol."""
        return self.protocols[0]


@dataclass(frozen=True)
class ForeignRecord:
    """The scores of one architecture in a file of others.

    Attributes:
        architecture: In any notation of the space.
        scores: By the names of the file.
        data: Name of the images, where the file says it.
        is_hash: Whether ``architecture`` is a hash of NAS-Bench-101, which is kept as it is.
    """

    architecture: Any
    scores: Mapping[str, Score]
    data: str = ""
    is_hash: bool = False


def import_pickles(
    cache: ScoreCache,
    path: str | os.PathLike[str],
    *,
    space: Space[Any] | None = None,
    protocol: Protocol | None = None,
    notation: str | None = None,
    repeat: int = 0,
) -> ImportReport:
    """Read a score file of zero-cost-nas or HNAS into a cache, running nothing that is in it.

    The files do not say how the scores were computed. Their protocol therefore states only where they come from,
    unless the caller knows more; it is never pooled with scores that were computed here.

    Args:
        cache: Open for writing.
        path: The ``.p`` file.
        space: The search space; architectures are brought into its canonical notation. Without one, the texts (or the
            hashes of NAS-Bench-101) are kept as they are.
        protocol: What is known of the protocol; its ``source`` is filled in where empty.
        notation: What integers in an architecture mean, as for the space's ``parse``.
        repeat: Which repeat these are, where several files are the seeds of one protocol.

    Raises:
        FileFormatError: The file is truncated, no score file, or names anything that could run. Every record before
            that place is in the cache; the message says how many.
        InputError: An architecture that the space does not have.
    """
    path = Path(path)
    chosen = foreign_protocol(path, "zero-cost-nas", space, protocol)
    return take_records(cache, path, _records(path), chosen, space=space, notation=notation, repeat=repeat)


def foreign_protocol(
    path: Path, convention: str, space: Space[Any] | None, protocol: Protocol | None = None
) -> Protocol:
    """The protocol of scores that others computed: it says where they come from, and by default nothing else.

    Args:
        path: Their file.
        convention: Whose file it is, and how its architectures are written.
        space: Their search space, where known.
        protocol: What else is known; its ``source`` is filled in where empty.

    Raises:
        InputError: The protocol is of another space.
    """
    unknown = "not stated"
    chosen = protocol or Protocol(
        space.name if space is not None else unknown,
        image_size=0, batch_size=0, batch="per-architecture", init=unknown, dtype=unknown,
    )  # fmt: skip
    if space is not None and chosen.space != space.name:
        raise InputError(f"the protocol is of space {chosen.space}, the scores of {space.name}")
    return chosen if chosen.source else replace(chosen, source=f"imported from {path.name} ({convention})")


def take_records(
    cache: ScoreCache,
    path: Path,
    records: Iterable[ForeignRecord],
    protocol: Protocol,
    *,
    space: Space[Any] | None,
    notation: str | None,
    repeat: int,
    left_out: Iterable[str] = (),
) -> ImportReport:
    """Put records into a cache; arguments and errors as for :func:`import_pickles`.

    Args:
        cache: Open for writing.
        path: Their file, for messages and provenance.
        records: Read one after the other.
        protocol: Theirs; that of a record with ``data`` has that, too.
        space: Parses the architectures; None keeps the texts.
        notation: For the space's ``parse``.
        repeat: Which repeat these are.
        left_out: Names in the file that are no proxies; read when all records are.
    """
    run = cache.begin_run({"imported": path.name})
    known = set(names())
    counts = {"records": 0, "ok": 0, "failed": 0}
    protocols: dict[str, Protocol] = {}
    try:
        for record in records:
            if record.data not in protocols:
                protocols[record.data] = replace(protocol, data=record.data) if record.data else protocol
            chosen = protocols[record.data]
            text = str(record.architecture)
            if space is not None and not record.is_hash:
                text = str(space.parse(record.architecture, notation=notation))
            for column in record.scores:
                cache.declare(chosen, column, _declaration(column, known, path))
            cache.put(chosen, text, dict(record.scores), repeat=repeat, run=run)
            counts["records"] += 1
            for score in record.scores.values():
                counts["ok" if score.ok else "failed"] += 1
    except FileFormatError as error:
        raise FileFormatError(f"{error}; the {counts['records']} records before it are imported") from None
    if not counts["records"]:
        raise FileFormatError(f"{path} is empty")
    return ImportReport(tuple(protocols.values()), counts["records"], counts["ok"], counts["failed"], tuple(left_out))


def _records(path: Path) -> Iterator[ForeignRecord]:
    for offset, value in read_pickles(path):
        for record in value if isinstance(value, list) else [value]:
            if not (
                isinstance(record, dict)
                and any(key in record for key in _KEYS)
                and isinstance(record.get("logmeasures"), dict)
            ):
                raise FileFormatError(
                    f"{path}: the pickle at byte {offset} is not a score record; it needs 'arch' or 'hash', and "
                    "'logmeasures' with a number per proxy"
                )
            text = next(str(record[key]) for key in _KEYS if key in record)
            scores = {str(k): foreign_score(v) for k, v in record["logmeasures"].items()}
            yield ForeignRecord(text, scores, is_hash="hash" in record)


def foreign_score(value: object, seconds: float = math.nan) -> Score:
    """The score that a file of others has for a value; a failed one where it is no finite number."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        text = value if isinstance(value, str) else quoted(value)
        return Score.failed(f"the file has {text[:80]!r} instead of a number", math.nan)
    if not math.isfinite(number):
        return Score.failed(f"the file has {number}", math.nan)
    return Score(number, seconds=seconds)


def _declaration(column: str, known: set[str], path: Path) -> dict[str, Any]:
    """The file says no more than the measure's name; the direction is that of our proxy of the name, if any."""
    higher = get(column).higher_is_better if column in known else True
    return {
        "proxy": column,
        "version": 0,
        "reference": f"as computed by the authors of {path.name}",
        "higher_is_better": higher,
    }
