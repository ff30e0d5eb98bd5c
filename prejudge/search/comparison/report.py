"""Search results and a table, joined into what a comparison shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from prejudge import __version__
from prejudge.benchmarks.matched import default_metrics
from prejudge.benchmarks.metric import Metric
from prejudge.benchmarks.table import Table
from prejudge.errors import InputError
from prejudge.report import SearchReportData
from prejudge.search.comparison.contests import Contender, Contest, budget_text, contests, option_text
from prejudge.search.comparison.progress import Band, Progress, band, grid, mean_interval
from prejudge.search.comparison.remarks import remarks
from prejudge.search.comparison.significance import holm, paired

if TYPE_CHECKING:
    import pandas as pd

_AXES = ("seconds", "queries")
_CURVE = ["searched", "metric", "method", "axis", "at", *(f.name for f in fields(Band))]
_TEST = ["searched", "metric", "first", "second", "pairs", "difference", "better", "p", "p_holm"]


def compare(
    results: Sequence[SearchResult],
    table: Table,
    *,
    sources: Sequence[str] | None = None,
    metrics: Sequence[Metric] | None = None,
    title: str | None = None,
    confidence: float = 0.95,
) -> SearchReportData:
    """Everything that a report on these searches shows.

    What a run is worth is the trained accuracy of its answer. Where searches of the same thing had different budgets,
    it is that of the best architecture which each had found within the smallest of them.

    Args:
        results: What the searches found; runs of one search may come in several results.
        table: A table of their space, the one that was searched where it was a table.
        sources: What to call the results in messages, such as the names of their files.
        metrics: The trained accuracies to show. By default the test column (at its longest schedule) of the dataset that
            was searched; where all searched one dataset, or none, every test column.
        title: Heading; by default it names the space and the table.
        confidence: Coverage of the intervals of means.

    Returns:
        Plain values for ``prejudge.report``.

    Raises:
        InputError: The results cannot be compared, or the table has no such accuracy; the message says why.
    """
    import pandas as pd

    groups = [_Group(c, table) for c in contests(results, table, sources)]
    chosen = {g.contest.searched: _metrics(g.contest, len(groups), table, metrics) for g in groups}
    final, curves, tests = [], [], []
    for group in groups:
        for metric in chosen[group.contest.searched]:
            panel = {"searched": group.contest.searched, "metric": str(metric)}
            values = [table.query_many(p.architectures, metric) for p in group.progress]
            accuracies = [v[e] for v, e in zip(values, group.judged, strict=True)]
            final += [panel | row for row in group.final(accuracies, table.column(metric), confidence)]
            tests += [panel | row for row in group.tests(accuracies)]
            curves += [frame.assign(**panel) for frame in group.curves(values, confidence)]
    unit = table.index.units["accuracy"]
    shown = list(dict.fromkeys(m for metrics in chosen.values() for m in metrics))
    everyone = [c for g in groups for c in g.contest.contenders]
    return SearchReportData(
        title=title or f"{table.space}: searches compared ({table.name})",
        space=table.space,
        final=pd.DataFrame(final),
        curves=pd.concat(curves, ignore_index=True)[_CURVE] if curves else pd.DataFrame(columns=_CURVE),
        tests=pd.DataFrame(tests, columns=_TEST),
        optima={str(m): _optimum(table, m) for m in shown},
        descriptions={c.label: option_text(c.result) or "no options" for c in everyone},
        limits={g.contest.searched: g.limit for g in groups if g.limit is not None},
        costs="Simulated cost" if any(g.contest.dataset is not None for g in groups) else "Cost",
        protocol=_protocol(groups, confidence),
        provenance=_provenance(table, everyone),
        notes=remarks([g.contest for g in groups], [g.progress for g in groups], table, final, tests),
        unit="%" if unit == "per cent" else unit,
        perfect=100.0 if unit == "per cent" else None,
        confidence=confidence,
    )


@dataclass(frozen=True, eq=False)
class _Group:
    """One contest, with the progress of its contenders."""

    contest: Contest
    table: Table

    @cached_property
    def progress(self) -> list[Progress]:
        return [Progress(c.result) for c in self.contest.contenders]

    @cached_property
    def limit(self) -> tuple[str, float] | None:
        """Axis and budget at which unequal searches are compared; None where they had the same."""
        if self.contest.same_budget:
            return None
        asking = [(c, p) for c, p in zip(self.contest.contenders, self.progress, strict=True) if not c.pruned]
        budgets = [c.result.budget for c, _ in asking]
        timed = all(b.get("seconds") is not None for b in budgets)
        counted = all(b.get("queries") is not None for b in budgets)
        axis = "seconds" if timed or not (counted or any(p.seconds.min() <= 0 for _, p in asking)) else "queries"
        return axis, min(_extent(c, p, axis, common=True) for c, p in asking)

    @cached_property
    def judged(self) -> list[np.ndarray]:
        """Per contender, the number of the architecture by which each run is judged; -1 where it has none."""
        if self.limit is None:
            return [p.answers for p in self.progress]
        axis, budget = self.limit
        found = [p.at(axis, np.array([budget]))[:, 0] for p in self.progress]
        return [
            p.answers if c.pruned else f for c, p, f in zip(self.contest.contenders, self.progress, found, strict=True)
        ]

    def final(self, accuracies: list[np.ndarray], column: np.ndarray, confidence: float) -> list[dict[str, Any]]:
        rows = []
        for contender, progress, judged, found in zip(
            self.contest.contenders, self.progress, self.judged, accuracies, strict=True
        ):
            values = np.where(judged >= 0, found, np.nan)
            known = values[np.isfinite(values)]
            mean, half = (float(v) for v in mean_interval(values, confidence))
            queries, seconds = progress.queries, progress.seconds
            if self.limit is not None and not contender.pruned:
                queries, seconds = progress.used(*self.limit)
            rows.append(
                {
                    "method": contender.label,
                    "runs": len(values),
                    "missing": len(values) - len(known),
                    "mean": mean,
                    "std": float(known.std()) if len(known) else np.nan,
                    "low": mean - half,
                    "high": mean + half,
                    "median": float(np.median(known)) if len(known) else np.nan,
                    "regret": float(np.nanmax(column)) - mean,
                    "queries": float(queries.mean()),
                    "seconds": float(seconds.mean()),
                    "overhead": float(np.mean([run.overhead for run in contender.result.trajectories])),
                }
            )
        return rows

    def tests(self, accuracies: list[np.ndarray]) -> list[dict[str, Any]]:
        found = []
        by_seed = []
        for contender, judged, values in zip(self.contest.contenders, self.judged, accuracies, strict=True):
            known = np.where(judged >= 0, values, np.nan).tolist()
            seeds = [run.seed for run in contender.result.trajectories]
            by_seed.append((contender.label, dict(zip(seeds, known, strict=True))))
        for (first, a), (second, b) in combinations(by_seed, 2):
            seeds = [s for s in a if s in b]
            result = paired(np.array([a[s] for s in seeds]), np.array([b[s] for s in seeds]))
            found.append({"first": first, "second": second} | result._asdict())
        corrected = holm(np.array([row["p"] for row in found]))
        return [row | {"p_holm": float(p)} for row, p in zip(found, corrected, strict=True)]

    def curves(self, values: list[np.ndarray], confidence: float) -> list[pd.DataFrame]:
        import pandas as pd

        found = []
        for axis in _AXES:
            start = min(p.begin(axis) for p in self.progress)
            extents = [_extent(c, p, axis) for c, p in zip(self.contest.contenders, self.progress, strict=True)]
            stop = max(extents)
            if not start > 0:  # nothing costs anything: there is no budget of seconds
                continue
            for contender, progress, extent, known in zip(
                self.contest.contenders, self.progress, extents, values, strict=True
            ):
                budgets = grid(start, stop, [progress.begin(axis), *extents], whole=axis == "queries")
                budgets = budgets[budgets <= (stop if contender.pruned else extent)]
                columns = band(progress, known, axis, budgets, confidence)
                found.append(
                    pd.DataFrame({"at": budgets} | {f.name: getattr(columns, f.name) for f in fields(Band)}).assign(
                        method=contender.label, axis=axis
                    )
                )
        return found


def _extent(contender: Contender, progress: Progress, axis: str, *, common: bool = False) -> float:
    """Up to which budget a search has gone: all of its runs (``common``), or the one that went farthest."""
    budget = contender.result.budget
    spent = progress.seconds if axis == "seconds" else progress.queries
    other = budget.get("queries" if axis == "seconds" else "seconds")
    given = budget.get(axis)
    if given is not None and (other is None or common):
        farthest = float(given)
        return farthest if other is None and common else max(farthest, float(spent.max())) if not common else (
            min(farthest, float(spent.min()))
        )
    return float(spent.min() if common else spent.max())
