"""What a reader of a comparison must know to trust it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prejudge.benchmarks.table.table import Table
from prejudge.search.comparison.comparisons import ComparedSearch, Comparison
from prejudge.search.comparison.progress import Progress

_FEW = 10
"""With fewer runs, an interval of the mean leans on its assumptions."""


def remarks(
    contests: Sequence[Comparison],
    progress: Sequence[Sequence[Progress]],
    table: Table,
    final: Sequence[Mapping[str, Any]],
    tests: Sequence[Mapping[str, Any]],
) -> list[str]:
    """The notes of a comparison, one sentence or paragraph each.

    Args:
        contests: The contests.
        progress: That of the contenders of each.
        table: The table.
        final: The rows of the final table.
        tests: The rows of the tests.
    """
    found: list[str] = []
    for contest in contests:
        found += _costs(contest)
        if contest.dataset is not None and any(c.result.objective.get("split") == "test" for c in contest.contenders):
            found.append(f"Searches of {contest.searched} maximized a test accuracy: how good it is, is no estimate.")
        if not contest.same_budget:
            found.append(
                f"Searches of {contest.searched} had different budgets: they are compared at the smallest, by the best "
                "architecture that each had found by then; curves go as far as each search."
            )
    found += _missing(final)
    for contest, runs in zip(contests, progress, strict=True):
        for contender, one in zip(contest.contenders, runs, strict=True):
            found += _own_answers(contender, one)
    found += [
        f"{c.label} evaluated nothing that was trained: its answers are shown from the moment when it had them, and "
        "its seconds are wall-clock time."
        for c in {c.label: c for contest in contests for c in contest.contenders if c.pruned}.values()
    ]
    found += _seeds(final, tests)
    if table.per_class:
        found.append(
            f"Table {table.name} was trained on one architecture of each class of equivalent ones, which answers for "
            "all of the class."
        )
    return list(dict.fromkeys(found))


def _costs(contest: Comparison) -> list[str]:
    notes = dict.fromkeys(str(c.result.objective.get("note") or "") for c in contest.contenders)
    return [f"{note[0].upper()}{note[1:]}." for note in notes if note]


def _missing(final: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{row['missing']} of {row['runs']} runs of {row['method']} have no {row['metric']} (searched on "
        f"{row['searched']}); they are left out of its mean, band and tests."
        for row in final
        if row["missing"]
    ]


def _own_answers(contender: ComparedSearch, progress: Progress) -> list[str]:
    other = int(np.count_nonzero(progress.best != progress.answers))
    if not other:
        return []
    return [
        f"{other} of {len(progress.answers)} runs of {contender.label} answered with another architecture than the "
        "best they evaluated, which the curves (and comparisons within a smaller budget than theirs) show."
    ]


def _seeds(final: Sequence[Mapping[str, Any]], tests: Sequence[Mapping[str, Any]]) -> list[str]:
    found = []
    few = dict.fromkeys(row["method"] for row in final if row["runs"] < _FEW)
    if few:
        found.append(f"Fewer than {_FEW} runs of {', '.join(few)}: read its intervals and tests with caution.")
    alone = dict.fromkeys(f"{row['first']} and {row['second']}" for row in tests if not row["pairs"])
    if alone:
        found.append(f"Without runs from equal seeds there is no test of {', '.join(alone)}.")
    return found
