"""Search results and a table, joined into what a comparison shows."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from prejudge._version import __version__
from prejudge.benchmarks.table.metric import Metric
from prejudge.benchmarks.table.selection import default_metrics
from prejudge.benchmarks.table.table import RepresentativeWarning, Table
from prejudge.errors import InputError
from prejudge.report import SearchReportData
from prejudge.search.comparison.comparisons import ComparedSearch, Comparison, budget_text, contests, option_text
from prejudge.search.comparison.progress import Band, Progress, band, grid, mean_interval
from prejudge.search.comparison.significance import holm, paired
from prejudge.search.comparison.warnings import remarks
from prejudge.search.result import SearchResult

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
        metrics: The trained accuracies to show. By default the test column (at its longest schedule) of the dataset
            that was searched; where all searched one dataset, or none, every test column.
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
            values = [_accuracies(table, p.architectures, metric) for p in group.progress]
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

    contest: Comparison
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
        return [
            p.answers
            if c.pruned or (p.used(axis, budget)[0] == p.queries).all()
            else p.at(axis, np.array([budget]))[:, 0]
            for c, p in zip(self.contest.contenders, self.progress, strict=True)
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
            asked = np.nan if contender.pruned else float(queries.mean())
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
                    "queries": asked,
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
            if not start > 0:  # a search that costs nothing has no budget of seconds
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


def _extent(contender: ComparedSearch, progress: Progress, axis: str, *, common: bool = False) -> float:
    """Up to which budget a search has gone: all of its runs (``common``), or the one that went farthest."""
    budget = contender.result.budget
    spent = progress.seconds if axis == "seconds" else progress.queries
    alone = budget.get("queries" if axis == "seconds" else "seconds") is None
    given = budget.get(axis) if alone else None
    if common:
        return float(spent.min() if given is None else given)
    return float(max(spent.max(), given or 0))


def _accuracies(table: Table, architectures: Sequence[str], metric: Metric) -> np.ndarray:
    """Trained accuracies, NaN where the table has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RepresentativeWarning)  # it is among the notes
        try:
            return table.query_many(architectures, metric)
        except InputError:  # a table of some architectures, which does not list one of these
            return np.array([_accuracy(table, a, metric) for a in architectures])


def _accuracy(table: Table, architecture: str, metric: Metric) -> float:
    try:
        return table.query(architecture, metric)
    except InputError:
        return np.nan


def _metrics(contest: Comparison, contests: int, table: Table, metrics: Sequence[Metric] | None) -> list[Metric]:
    if metrics:
        return [table.metric(m) for m in metrics]
    found = default_metrics(table)
    own = [m for m in found if m.dataset == contest.dataset]
    return own if own and contests > 1 else found


def _optimum(table: Table, metric: Metric) -> float:
    column = table.column(metric)
    if not np.isfinite(column).any():
        raise InputError(f"table {table.name} has no value of {metric}; choose another metric")
    return float(np.nanmax(column))


def _protocol(groups: Sequence[_Group], confidence: float) -> dict[str, str]:
    found: dict[str, dict[str, str]] = {"maximized": {}, "budget of each run": {}, "compared at": {}}
    for group in groups:
        contest = group.contest
        where = contest.dataset or contest.searched
        budgets = dict.fromkeys(budget_text(c.result.budget) for c in contest.contenders if not c.pruned)
        found["maximized"][where] = _maximized(contest)
        found["budget of each run"][where] = "; ".join(budgets) or "none"
        if group.limit is not None:
            axis, budget = group.limit
            found["compared at"][where] = budget_text({axis: round(budget, 3)})
    facts = {}
    for label, texts in found.items():
        if len(texts) == len(groups) and len(set(texts.values())) == 1:
            facts[label] = next(iter(texts.values()))
        else:
            facts |= {f"{label} ({where})": text for where, text in texts.items()}
    return facts | {
        "judged by": "trained accuracy of the answer; of the best found so far where budgets differ",
        "bands": f"{100 * confidence:g} % t interval of the mean over runs; or median and quartiles",
        "tests": "Wilcoxon's signed-rank over equal seeds, two-sided, ties by Pratt; Holm's correction per metric",
    }


def _maximized(contest: Comparison) -> str:
    what = next((c.result.objective for c in contest.contenders if not c.pruned), {})
    seed = {"random": ", a training run drawn at each question", "mean": ", the mean over training runs"}
    run = what.get("seed")
    return contest.searched + (seed.get(str(run), f", training run {run}") if contest.dataset is not None else "")


def _provenance(table: Table, contenders: Sequence[ComparedSearch]) -> dict[str, str]:
    facts = {"prejudge": __version__, "table": f"{table.name} ({table.path.name}, {table.index.digest})"}
    facts |= {f"table: {label}": text for label, text in table.index.provenance.items()}
    for contender in contenders:
        seeds = sorted(run.seed for run in contender.result.trajectories)
        span = f"seeds {seeds[0]} … {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"
        text = f"{', '.join(contender.sources)}: {span}"
        facts[contender.label] = f"{facts[contender.label]}; {text}" if contender.label in facts else text
    return facts
