"""Search results and a table, joined into the content of a report."""

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
from prejudge.search.comparison.comparisons import ComparedSearch, Comparison, budget_text, group_results, option_text
from prejudge.search.comparison.incumbents import Band, Incumbents, band, grid, mean_interval
from prejudge.search.comparison.significance import holm, paired
from prejudge.search.comparison.warnings import comparison_warnings
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
    """Compare searches: the content of a report on them.

    A run is judged by the trained accuracy of its recommendation. Where searches of the same thing had different
    budgets, it is that of the best architecture which each had found within the smallest of them.

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

    groups = [_Group(c, table) for c in group_results(results, table, sources)]
    chosen = {g.comparison.searched: _metrics(g.comparison, len(groups), table, metrics) for g in groups}
    final, curves, tests = [], [], []
    for group in groups:
        for metric in chosen[group.comparison.searched]:
            panel = {"searched": group.comparison.searched, "metric": str(metric)}
            values = [_accuracies(table, p.architectures, metric) for p in group.incumbents]
            accuracies = [v[e] for v, e in zip(values, group.judged, strict=True)]
            final += [panel | row for row in group.final(accuracies, table.column(metric), confidence)]
            tests += [panel | row for row in group.tests(accuracies)]
            curves += [frame.assign(**panel) for frame in group.curves(values, confidence)]
    unit = table.index.units["accuracy"]
    shown = list(dict.fromkeys(m for metrics in chosen.values() for m in metrics))
    everyone = [c for g in groups for c in g.comparison.searches]
    return SearchReportData(
        title=title or f"{table.space}: searches compared ({table.name})",
        space=table.space,
        final=pd.DataFrame(final),
        curves=pd.concat(curves, ignore_index=True)[_CURVE] if curves else pd.DataFrame(columns=_CURVE),
        tests=pd.DataFrame(tests, columns=_TEST),
        optima={str(m): _optimum(table, m) for m in shown},
        descriptions={c.label: option_text(c.result) or "no options" for c in everyone},
        limits={g.comparison.searched: g.limit for g in groups if g.limit is not None},
        costs="Simulated cost" if any(g.comparison.dataset is not None for g in groups) else "Cost",
        protocol=_protocol(groups, confidence),
        provenance=_provenance(table, everyone),
        warnings=comparison_warnings(
            [g.comparison for g in groups], [g.incumbents for g in groups], table, final, tests
        ),
        unit="%" if unit == "per cent" else unit,
        perfect=100.0 if unit == "per cent" else None,
        confidence=confidence,
    )


@dataclass(frozen=True, eq=False)
class _Group:
    """One comparison, with the incumbents of its searches."""

    comparison: Comparison
    table: Table

    @cached_property
    def incumbents(self) -> list[Incumbents]:
        return [Incumbents(c.result) for c in self.comparison.searches]

    @cached_property
    def limit(self) -> tuple[str, float] | None:
        """Axis and budget at which unequal searches are compared; None where they had the same."""
        if self.comparison.same_budget:
            return None
        asking = [(c, p) for c, p in zip(self.comparison.searches, self.incumbents, strict=True) if not c.pruned]
        budgets = [c.result.budget for c, _ in asking]
        timed = all(b.get("seconds") is not None for b in budgets)
        counted = all(b.get("queries") is not None for b in budgets)
        axis = "seconds" if timed or not (counted or any(p.seconds.min() <= 0 for _, p in asking)) else "queries"
        return axis, min(_extent(c, p, axis, common=True) for c, p in asking)

    @cached_property
    def judged(self) -> list[np.ndarray]:
        """Per search, the number of the architecture by which each run is judged; -1 where it has none."""
        if self.limit is None:
            return [p.recommended for p in self.incumbents]
        axis, budget = self.limit
        return [
            p.recommended
            if c.pruned or (p.used(axis, budget)[0] == p.queries).all()
            else p.at(axis, np.array([budget]))[:, 0]
            for c, p in zip(self.comparison.searches, self.incumbents, strict=True)
        ]

    def final(self, accuracies: list[np.ndarray], column: np.ndarray, confidence: float) -> list[dict[str, Any]]:
        rows = []
        for compared, incumbents, judged, found in zip(
            self.comparison.searches, self.incumbents, self.judged, accuracies, strict=True
        ):
            values = np.where(judged >= 0, found, np.nan)
            known = values[np.isfinite(values)]
            mean, half = (float(v) for v in mean_interval(values, confidence))
            queries, seconds = incumbents.queries, incumbents.seconds
            if self.limit is not None and not compared.pruned:
                queries, seconds = incumbents.used(*self.limit)
            asked = np.nan if compared.pruned else float(queries.mean())
            rows.append(
                {
                    "method": compared.label,
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
                    "overhead": float(np.mean([run.overhead for run in compared.result.trajectories])),
                }
            )
        return rows

    def tests(self, accuracies: list[np.ndarray]) -> list[dict[str, Any]]:
        found = []
        by_seed = []
        for compared, judged, values in zip(self.comparison.searches, self.judged, accuracies, strict=True):
            known = np.where(judged >= 0, values, np.nan).tolist()
            seeds = [run.seed for run in compared.result.trajectories]
            by_seed.append((compared.label, dict(zip(seeds, known, strict=True))))
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
            start = min(p.begin(axis) for p in self.incumbents)
            extents = [_extent(c, p, axis) for c, p in zip(self.comparison.searches, self.incumbents, strict=True)]
            stop = max(extents)
            if not start > 0:  # a search that costs nothing has no budget of seconds
                continue
            for compared, incumbents, extent, known in zip(
                self.comparison.searches, self.incumbents, extents, values, strict=True
            ):
                budgets = grid(start, stop, [incumbents.begin(axis), *extents], whole=axis == "queries")
                budgets = budgets[budgets <= (stop if compared.pruned else extent)]
                columns = band(incumbents, known, axis, budgets, confidence)
                found.append(
                    pd.DataFrame({"at": budgets} | {f.name: getattr(columns, f.name) for f in fields(Band)}).assign(
                        method=compared.label, axis=axis
                    )
                )
        return found


def _extent(compared: ComparedSearch, incumbents: Incumbents, axis: str, *, common: bool = False) -> float:
    """Up to which budget a search has gone: all of its runs (``common``), or the one that went farthest."""
    budget = compared.result.budget
    spent = incumbents.seconds if axis == "seconds" else incumbents.queries
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


def _metrics(comparison: Comparison, comparisons: int, table: Table, metrics: Sequence[Metric] | None) -> list[Metric]:
    if metrics:
        return [table.metric(m) for m in metrics]
    found = default_metrics(table)
    own = [m for m in found if m.dataset == comparison.dataset]
    return own if own and comparisons > 1 else found


def _optimum(table: Table, metric: Metric) -> float:
    column = table.column(metric)
    if not np.isfinite(column).any():
        raise InputError(f"table {table.name} has no value of {metric}; choose another metric")
    return float(np.nanmax(column))


def _protocol(groups: Sequence[_Group], confidence: float) -> dict[str, str]:
    found: dict[str, dict[str, str]] = {"maximized": {}, "budget of each run": {}, "compared at": {}}
    for group in groups:
        comparison = group.comparison
        where = comparison.dataset or comparison.searched
        budgets = dict.fromkeys(budget_text(c.result.budget) for c in comparison.searches if not c.pruned)
        found["maximized"][where] = _maximized(comparison)
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
        "judged by": "trained accuracy of the recommendation; of the best found so far where budgets differ",
        "bands": f"{100 * confidence:g} % t interval of the mean over runs; or median and quartiles",
        "tests": "Wilcoxon's signed-rank over equal seeds, two-sided, ties by Pratt; Holm's correction per metric",
    }


def _maximized(comparison: Comparison) -> str:
    what = next((c.result.objective for c in comparison.searches if not c.pruned), {})
    seed = {"random": ", a training run drawn at each question", "mean": ", the mean over training runs"}
    run = what.get("seed")
    return comparison.searched + (seed.get(str(run), f", training run {run}") if comparison.dataset is not None else "")


def _provenance(table: Table, searches: Sequence[ComparedSearch]) -> dict[str, str]:
    facts = {"prejudge": __version__, "table": f"{table.name} ({table.path.name}, {table.index.digest})"}
    facts |= {f"table: {label}": text for label, text in table.index.provenance.items()}
    for compared in searches:
        seeds = sorted(run.seed for run in compared.result.trajectories)
        span = f"seeds {seeds[0]} … {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"
        text = f"{', '.join(compared.sources)}: {span}"
        facts[compared.label] = f"{facts[compared.label]}; {text}" if compared.label in facts else text
    return facts
