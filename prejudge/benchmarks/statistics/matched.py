"""Scores and trained accuracies side by side: which architectures have both, and what is known about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from prejudge.benchmarks.table.metric import Metric, brief
from prejudge.benchmarks.table.rows import ListedRows, NotListed, Rows
from prejudge.benchmarks.table.selection import default_metrics
from prejudge.benchmarks.table.table import Table
from prejudge.errors import InputError, unknown
from prejudge.spaces import space as find_space

if TYPE_CHECKING:
    import pandas as pd

    from prejudge.cache.protocol import Protocol
    from prejudge.cache.store import ScoreCache
    from prejudge.spaces.base import Space

BASELINES = ("params", "flops")
"""Always among the rows: a proxy that ranks no better than these has found nothing."""


@dataclass(frozen=True)
class Matched:
    """Everything that is compared, one row per architecture, in index order.

    Attributes:
        metrics: The metrics, in the order of the columns of ``accuracies``.
        index: Row of each architecture in the table, shape ``(n,)``.
        scores: Raw scores, index = architecture text, a column per proxy, baselines last; NaN where failed or missing.
        accuracies: The same index, a column per metric text; NaN where an architecture was not trained.
        failed: Whether a score failed (rather than was never computed), in the shape of ``scores``.
        connected: Whether the cell's output depends on its input, shape ``(n,)``.
        directions: Whether a higher raw score means better, per proxy.
        seconds: Mean seconds per architecture of each proxy by itself.
        repeats: ``scores`` of each repeat by itself; empty where there is only one.
        protocol: How the scores were computed, where that is known.
        warnings: What the reader of the result should know.
    """

    metrics: tuple[Metric, ...]
    index: np.ndarray
    scores: pd.DataFrame
    accuracies: pd.DataFrame
    failed: pd.DataFrame
    connected: np.ndarray
    directions: dict[str, bool]
    seconds: dict[str, float] = field(default_factory=dict)
    repeats: tuple[pd.DataFrame, ...] = ()
    protocol: Protocol | None = None
    warnings: tuple[str, ...] = ()

    def oriented(self, column: str) -> np.ndarray:
        """Scores of one proxy with its declared direction applied: higher predicts better; shape ``(n,)``."""
        values = self.scores[column].to_numpy(dtype=np.float64)
        return values if self.directions.get(column, True) else -values


def match(
    source: ScoreCache | pd.DataFrame,
    table: Table,
    *,
    metrics: Metric | str | Sequence[Metric | str] | None = None,
    protocol: Protocol | str | None = None,
    directions: Mapping[str, bool] | None = None,
) -> Matched:
    """Put scores and accuracies side by side.

    Arguments are those of
    :func:`~prejudge.benchmarks.statistics.correlation.correlate`.

    Raises:
        InputError: Unknown metric or protocol, malformed architectures, or fewer than three architectures in both.
    """
    single = isinstance(metrics, Metric | str)
    asked = default_metrics(table) if metrics is None else [metrics] if single else list(metrics)  # type: ignore[arg-type]
    wanted = tuple(dict.fromkeys(table.metric(m) for m in asked))  # type: ignore[arg-type]
    if not wanted:
        raise InputError(f"no metric asked for (table {table.name} has {brief(table.metrics())})")
    found = _read(source, table, protocol, directions)
    index = _indices(found.scores, table)
    warnings = list(found.warnings)
    keep = np.argsort(index, kind="stable")
    keep = keep[index[keep] >= 0]
    if len(keep) < len(index):
        warnings.append(f"{len(index) - len(keep):,} scored architectures are not in table {table.name}.")
    if table.per_class:
        keep, note = _one_per_class(index, keep, table)
        warnings += note
    answering = table.answering[index[keep]]
    columns = {str(m): table.column(m)[answering] for m in wanted}
    trained = np.isfinite(np.vstack(list(columns.values()))).any(axis=0)
    keep, answering = keep[trained], answering[trained]
    if len(keep) < 3:
        raise InputError(
            f"{len(keep)} of the {len(found.scores)} scored architectures have an accuracy in table {table.name} "
            f"({', '.join(map(str, wanted))}); at least 3 are needed"
        )
    return _assemble(found, table, wanted, index, keep, answering, warnings)


@dataclass
class _Found:
    """The content of a source of scores, on its own index."""

    scores: pd.DataFrame
    failed: pd.DataFrame
    directions: dict[str, bool]
    seconds: dict[str, float]
    repeats: list[pd.DataFrame]
    protocol: Protocol | None
    warnings: tuple[str, ...] = ()


def _read(
    source: ScoreCache | pd.DataFrame,
    table: Table,
    protocol: Protocol | str | None,
    directions: Mapping[str, bool] | None,
) -> _Found:
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        if protocol is not None:
            raise InputError("a protocol can be chosen in a score cache, not in a data frame")
        found = _read_frame(source, dict(directions or {}))
    else:
        found = _read_cache(source, table, protocol)
        found.directions |= dict(directions or {})
    for name in directions or {}:
        if name not in found.scores.columns:
            raise unknown("column of the scores", name, found.scores.columns)
    return found


def _read_frame(frame: pd.DataFrame, directions: dict[str, bool]) -> _Found:
    scores = frame.copy()
    scores.columns = scores.columns.map(str)
    if scores.columns.has_duplicates:
        raise InputError(f"scores: column {scores.columns[scores.columns.duplicated()][0]!r} is there twice")
    for column in scores.columns:
        if scores[column].dtype.kind not in "iufb":
            raise InputError(f"scores: column {column!r} does not hold numbers")
    # A frame does not say why a value is absent; what was handed in without one counts as failed.
    return _Found(scores.astype(np.float64), scores.isna(), directions, {}, [], None)


def _read_cache(cache: ScoreCache, table: Table, protocol: Protocol | str | None) -> _Found:
    chosen = cache.protocol(protocol)
    if chosen.space != table.space:
        raise InputError(f"the scores are of {chosen.space}, table {table.name} is of {table.space}")
    names = [c for c in cache.columns(chosen) if "digits_of" not in cache.column_info(c, chosen)]
    scores = cache.frame(chosen, columns=names)
    failed = scores.isna() & False
    failures = cache.failures(chosen)
    for column, rows in failures[failures["proxy"].isin(names)].groupby("proxy"):
        failed[column] = scores.index.isin(rows["architecture"]) & scores[column].isna()
    count = max((cache.values(chosen, c).shape[1] for c in scores.columns), default=0)
    repeats = [cache.frame(chosen, r, columns=names) for r in range(count)] if count > 1 else []
    declared = {c: cache.column_info(c, chosen) for c in scores.columns}
    invariant = [c for c in scores.columns if declared[c]["invariant_to_dead_edges"]]
    warnings = _share_in_class([scores, *repeats], failed, invariant, table)
    directions = {c: bool(d["higher_is_better"]) for c, d in declared.items()}
    return _Found(scores, failed, directions, cache.seconds(chosen), repeats, chosen, warnings)


def _share_in_class(
    frames: list[pd.DataFrame], failed: pd.DataFrame, invariant: list[str], table: Table
) -> tuple[str, ...]:
    """Give members of a class what was computed for its representative alone, where the proxy allows it; in place."""
    import pandas as pd

    scores = frames[0]
    if isinstance(table.architectures, ListedRows):  # one row for each class: no two members are ever compared
        return ()
    lacking = scores[invariant].isna() & ~failed[invariant]
    members = scores.index[lacking.any(axis=1)]
    where = find_space(table.space)
    answering = pd.Series([str(where.representative(where.parse(a))) for a in members], index=members, dtype=object)
    shared = 0
    for column in invariant:
        here = scores.index[lacking[column]]
        from_where = answering[here]
        for frame in frames:
            frame.loc[here, column] = frame[column].reindex(from_where).to_numpy()
        failed.loc[here, column] = failed[column].reindex(from_where, fill_value=False).to_numpy()
        shared += int(scores.loc[here, column].notna().sum())
    if not shared:
        return ()
    return (f"{shared:,} scores are those of an equivalent architecture: they were computed once per class.",)


def _indices(scores: pd.DataFrame, table: Table) -> np.ndarray:
    """Row of each scored architecture in the table, -1 where it is not listed there; shape ``(len(scores),)``."""
    where, rows = find_space(table.space), table.architectures
    texts = scores.index.tolist()
    if isinstance(rows, ListedRows):
        listed = {text: row for row, text in enumerate(rows.texts)}
        index = np.fromiter((listed.get(text, -1) for text in texts), dtype=np.intp, count=len(texts))
    else:
        index = np.full(len(texts), -1, dtype=np.intp)
    others = np.flatnonzero(index < 0).tolist()  # of a listing, those that are written in another way there
    for position, key in zip(others, _keys([where.parse(texts[i]) for i in others], where, rows), strict=True):
        with suppress(NotListed):
            index[position] = rows.index(key)
    values, counts = np.unique(index[index >= 0], return_counts=True)
    if (counts > 1).any():
        twice = rows[int(values[counts > 1][0])]
        raise InputError(f"scores: {twice} has {counts.max()} rows; average the repeats first")
    return index


def _keys(archs: list[Any], where: Space[Any], rows: Rows) -> Sequence[Any]:
    """Keys by which the rows find these architectures fastest."""
    if not isinstance(rows, ListedRows):
        return archs
    together = getattr(where, "canonical_many", None)  # NAS-Bench-101 hashes many cells at once
    return together(archs) if together is not None else [where.canonical(a) for a in archs]


def _one_per_class(index: np.ndarray, order: np.ndarray, table: Table) -> tuple[np.ndarray, list[str]]:
    """Rows that stay when a class counts once: the representative's where it was scored, else the first member's."""
    answering = table.answering[index]
    prefer = order[np.argsort(answering[order] != index[order], kind="stable")]
    _, first = np.unique(answering[prefer], return_index=True)
    keep = prefer[first]
    keep = keep[np.argsort(index[keep])]
    members = int((answering[keep] != index[keep]).sum())
    warnings = []
    if len(keep) < len(index) or members:
        warnings.append(
            f"Table {table.name} was trained on one architecture of each class of equivalent ones, so each class "
            f"counts once: {len(index)} scored architectures are {len(keep)} classes, {members} of them scored on "
            f"another member than the one that was trained."
        )
    return keep, warnings


def _assemble(
    found: _Found,
    table: Table,
    metrics: tuple[Metric, ...],
    index: np.ndarray,
    keep: np.ndarray,
    answering: np.ndarray,
    warnings: list[str],
) -> Matched:
    import pandas as pd

    where = find_space(table.space)
    archs = [table.architectures[int(i)] for i in index[keep]]
    texts = pd.Index([str(a) for a in archs], name="architecture")
    scores = found.scores.iloc[keep].set_axis(texts)
    failed = found.failed.iloc[keep].set_axis(texts)
    for name in BASELINES:
        if name not in scores.columns:
            scores[name] = _baseline(name, archs, index[keep], table, metrics[0], found.protocol)
            failed[name] = False
    ordered = [c for c in scores.columns if c not in BASELINES] + list(BASELINES)
    accuracies = {str(m): table.column(m)[answering] for m in metrics}
    return Matched(
        metrics=metrics,
        index=index[keep],
        scores=scores[ordered],
        accuracies=pd.DataFrame(accuracies, index=texts),
        failed=failed[ordered],
        connected=np.fromiter((where.connected(a) for a in archs), dtype=bool, count=len(archs)),
        directions={c: found.directions.get(c, True) for c in ordered},
        seconds=found.seconds,
        repeats=tuple(r.reindex(found.scores.index).iloc[keep].set_axis(texts) for r in found.repeats),
        protocol=found.protocol,
        warnings=tuple(warnings),
    )


def _baseline(
    name: str, archs: Sequence[Any], index: np.ndarray, table: Table, metric: Metric, protocol: Protocol | None
) -> np.ndarray:
    """Parameters or FLOPs: of the scored networks by formula, or as the table gives them where no protocol says."""
    specific = f"{name}_{metric.dataset}"
    stated = protocol is not None and protocol.image_size > 0  # imported scores do not say what was scored
    if not stated and (specific in table.extras or name in table.extras):
        result: np.ndarray = table.extra(name, dataset=metric.dataset)[index]
        return result
    formula = getattr(find_space(table.space), name)
    numbers = dict(protocol.macro) if protocol is not None else {}
    if protocol is not None and stated and name == "flops":
        numbers["image_size"] = protocol.image_size
    return np.fromiter((formula(a, **numbers) for a in archs), dtype=np.float64, count=len(archs))
