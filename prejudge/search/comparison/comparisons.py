"""Search results sorted into comparisons: those of equal objectives, each method with a label of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from prejudge.benchmarks.table.table import Table
from prejudge.errors import InputError
from prejudge.search.result import SearchResult

_COSMETIC = ("table", "note")
"""Of an objective: what may differ between searches of the same thing."""


@dataclass(frozen=True, eq=False)
class ComparedSearch:
    """All runs of one method with the same options and budget.

    Attributes:
        label: Its name in reports: the method, with the options in which it differs from others.
        result: The runs, perhaps of several files.
        sources: Where they come from.
    """

    label: str
    result: SearchResult
    sources: tuple[str, ...]

    @property
    def pruned(self) -> bool:
        """Whether it maximized nothing that was trained: its recommendations count, its seconds are wall-clock time."""
        return _is_pruning(self.result)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Searches that maximized the same.

    Attributes:
        searched: What they maximized, as a text.
        dataset: On which dataset of the table, where it is one.
        searches: The searches, one for each method with its options and budget.
    """

    searched: str
    dataset: str | None
    searches: tuple[ComparedSearch, ...]

    @property
    def same_budget(self) -> bool:
        """Whether all were given the same budget; a pruning is given none."""
        return len({_key(c.result.budget) for c in self.searches if not c.pruned}) <= 1


def group_results(
    results: Sequence[SearchResult], table: Table, sources: Sequence[str] | None = None
) -> list[Comparison]:
    """Sort results into comparisons, one per dataset whose accuracy was maximized.

    Runs of one method with equal options and budgets belong together if their seeds differ. A pruning, which maximizes
    no trained accuracy, takes part in every comparison.

    Args:
        results: The results.
        table: The table in which their architectures are looked up.
        sources: What to call them in messages.

    Raises:
        InputError: A result is of another space or another table, two maximized different things on one dataset, or
            the same run is there twice.
    """
    if not results:
        raise InputError("no search result to compare; give at least one")
    names = [f"result {i + 1}" for i in range(len(results))] if sources is None else list(sources)
    for name, result in zip(names, results, strict=True):
        _check_table(name, result, table)
    given = list(zip(names, results, strict=True))
    asking = [g for g in given if not _is_pruning(g[1])]
    groups: dict[str | None, list[tuple[str, SearchResult]]] = {}
    for name, result in asking:
        group = groups.setdefault(_dataset(result, table), [])
        if group:
            _check_objective(*group[0], name, result)
        group.append((name, result))
    if None in groups and len(groups) > 1:
        (one, a), (other, b) = groups[None][0], next(g[0] for d, g in groups.items() if d is not None)
        raise InputError(_unlike(one, a, other, b))
    pruned = [g for g in given if _is_pruning(g[1])]
    merged = {d: _merge([*group, *pruned]) for d, group in (groups or {None: []}).items()}
    everyone = [c.result for group in merged.values() for c in group]
    return [
        Comparison(
            _objective_text(next((c for c in group if not c.pruned), group[0]).result),
            dataset,
            tuple(replace(c, label=_label(c.result, everyone, [r.result for r in group])) for c in group),
        )
        for dataset, group in merged.items()
    ]


def option_text(result: SearchResult) -> str:
    """The options of a method as text."""
    return _options(result.options)


def budget_text(budget: dict[str, Any]) -> str:
    """The budget of each run as text."""
    seconds, queries = budget.get("seconds"), budget.get("queries")
    parts = [f"{queries:,} queries"] if queries is not None else []
    if seconds is not None:
        parts.append(f"{seconds:,g} s" + (", the last evaluation may end later" if budget.get("overshoot") else ""))
    return " and at most ".join(parts)


def _merge(given: Sequence[tuple[str, SearchResult]]) -> list[ComparedSearch]:
    found: dict[str, ComparedSearch] = {}
    for name, result in given:
        seeds = [run.seed for run in result.trajectories]
        known = found.get(_identity(result))
        if known is None:
            found[_identity(result)] = ComparedSearch(result.method, result, (name,))
            continue
        twice = sorted(set(seeds) & {run.seed for run in known.result.trajectories})
        if twice:
            raise InputError(
                f"{name} repeats {len(twice)} of the runs of {' and '.join(known.sources)} ({result.method}, "
                f"seed {twice[0]}{' …' if len(twice) > 1 else ''}); leave one of them out"
            )
        runs = [*known.result.trajectories, *result.trajectories]
        found[_identity(result)] = ComparedSearch(
            known.label, replace(known.result, trajectories=runs), (*known.sources, name)
        )
    return list(found.values())


def _label(mine: SearchResult, everyone: Sequence[SearchResult], rivals: Sequence[SearchResult]) -> str:
    """The method, with the options that differ anywhere, and the budget or the images where rivals have others."""
    namesakes = [r for r in everyone if r.method == mine.method]
    told = {k: v for k, v in mine.options.items() if any(_key(r.options.get(k, "?")) != _key(v) for r in namesakes)}
    label = mine.method + (f"({_options(told)})" if told else "")
    close = [r for r in rivals if r.method == mine.method]
    if any(_key(r.budget) != _key(mine.budget) for r in close):
        label += f", {budget_text(mine.budget)}"
    if _is_pruning(mine) and any(_key(r.objective) != _key(mine.objective) for r in close):
        label += f", {_images(mine)}"
    return label


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"{k}={v}" for k, v in options.items())


def _check_table(name: str, result: SearchResult, table: Table) -> None:
    if result.space != table.space:
        raise InputError(f"{name} searched {result.space}, table {table.name} is of {table.space}; give its own table")
    digest = result.objective.get("digest")
    if digest is not None and digest != table.index.digest:
        raise InputError(
            f"{name} searched table {result.objective.get('table')} ({digest}), not {table.name} "
            f"({table.index.digest}); give that table, or search this one"
        )


def _check_objective(one: str, a: SearchResult, other: str, b: SearchResult) -> None:
    if _key(_essence(a)) != _key(_essence(b)):
        raise InputError(_unlike(one, a, other, b))


def _unlike(one: str, a: SearchResult, other: str, b: SearchResult) -> str:
    first, second = _objective_text(a), _objective_text(b)
    if first == second:
        x, y = _essence(a), _essence(b)
        differing = next(k for k in [*x, *y] if _key(x.get(k)) != _key(y.get(k)))
        first, second = (f"{t} ({differing} {e.get(differing)})" for t, e in ((first, x), (second, y)))
    return f"{one} maximized {first}, {other} {second}; compare searches of the same objective"


def _essence(result: SearchResult) -> dict[str, Any]:
    return {k: v for k, v in result.objective.items() if k not in _COSMETIC}


def _dataset(result: SearchResult, table: Table) -> str | None:
    dataset = result.objective.get("dataset") if "digest" in result.objective else None
    return None if dataset is None else table.index.aliases.get(dataset, dataset)


def _objective_text(result: SearchResult) -> str:
    what = result.objective
    if _is_pruning(result):
        return f"no trained accuracy, {_images(result)}"
    if "digest" in what and "dataset" in what:
        return f"{what['dataset']} {what.get('split')} accuracy, {what.get('epochs')} epochs"
    if "proxy" in what:
        return f"{what['proxy']} of untrained networks, {what.get('data', 'cached')}"
    if "training" in what:
        return f"validation accuracy of short trainings, {what.get('data')}"
    return ", ".join(f"{k} {v}" for k, v in _essence(result).items()) or "an objective without description"


def _is_pruning(result: SearchResult) -> bool:
    return result.objective.get("kind") == "pruning"


def _images(result: SearchResult) -> str:
    data = result.objective.get("data")
    return f"images of {data.get('name', 'unknown origin') if isinstance(data, dict) else data}"


def _identity(result: SearchResult) -> str:
    what = result.objective if _is_pruning(result) else {}
    return _key([result.method, result.options, result.budget, what])


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
