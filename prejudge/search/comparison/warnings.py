"""The warnings of a comparison: what a reader must know to trust it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prejudge.benchmarks.table.table import Table
from prejudge.report.searches.data import FEWEST_RUNS
from prejudge.search.comparison.comparisons import ComparedSearch, Comparison
from prejudge.search.comparison.incumbents import Incumbents


def comparison_warnings(
    comparisons: Sequence[Comparison],
    incumbents: Sequence[Sequence[Incumbents]],
    table: Table,
    final: Sequence[Mapping[str, Any]],
    tests: Sequence[Mapping[str, Any]],
) -> list[str]:
    """The warnings of a comparison, one sentence or paragraph each.

    Args:
        comparisons: The comparisons.
        incumbents: Those of the searches of each.
        table: The table.
        final: The rows of the final table.
        tests: The rows of the tests.
    """
    found: list[str] = []
    for comparison in comparisons:
        found += _costs(comparison)
        if comparison.dataset is not None and any(
            c.result.objective.get("split") == "test" for c in comparison.searches
        ):
            found.append(
                f"Searches of {comparison.searched} maximized a test accuracy, which therefore is too optimistic."
            )
        if not comparison.same_budget:
            found.append(
                f"Searches of {comparison.searched} had different budgets: they are compared at the smallest, by the "
                "best architecture that each had found by then; curves go as far as each search."
            )
    found += _missing(final)
    for comparison, runs in zip(comparisons, incumbents, strict=True):
        for compared, one in zip(comparison.searches, runs, strict=True):
            found += _own_recommendations(compared, one)
    found += [
        f"{c.label} evaluated nothing that was trained: its recommendations are shown from the moment when it had "
        "them, and its seconds are wall-clock time."
        for c in {c.label: c for comparison in comparisons for c in comparison.searches if c.pruned}.values()
    ]
    found += _seeds(final, tests)
    if table.per_class:
        found.append(
            f"Table {table.name} was trained on one architecture of each class of equivalent ones; its "
            "accuracy is used for the whole class."
        )
    return list(dict.fromkeys(found))


def _costs(comparison: Comparison) -> list[str]:
    notes = dict.fromkeys(str(c.result.objective.get("note") or "") for c in comparison.searches)
    return [f"{note[0].upper()}{note[1:]}." for note in notes if note]


def _missing(final: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{row['missing']} of {row['runs']} runs of {row['method']} have no {row['metric']} (searched on "
        f"{row['searched']}); they are left out of its mean, band and tests."
        for row in final
        if row["missing"]
    ]


def _own_recommendations(compared: ComparedSearch, incumbents: Incumbents) -> list[str]:
    other = int(np.count_nonzero(incumbents.best != incumbents.recommended))
    if not other:
        return []
    return [
        f"{other} of {len(incumbents.recommended)} runs of {compared.label} recommended another architecture than the "
        "best they evaluated, which the curves (and comparisons within a smaller budget than theirs) show."
    ]


def _seeds(final: Sequence[Mapping[str, Any]], tests: Sequence[Mapping[str, Any]]) -> list[str]:
    found = []
    few = dict.fromkeys(row["method"] for row in final if row["runs"] - row["missing"] < FEWEST_RUNS)
    if few:
        found.append(
            f"Fewer than {FEWEST_RUNS} runs of {', '.join(few)}: means without intervals, and nothing in bold; "
            f"read the tests with caution."
        )
    alone = dict.fromkeys(f"{row['first']} and {row['second']}" for row in tests if not row["pairs"])
    if alone:
        found.append(f"Without runs from equal seeds there is no test of {', '.join(alone)}.")
    return found
