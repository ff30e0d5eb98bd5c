"""What a search command prints of its runs: what they recommend, and what a table says about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prejudge.cli import output
from prejudge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from prejudge.benchmarks import Table
    from prejudge.search import SearchResult


def open_table(benchmark: str | None, space: str) -> Table | None:
    """The table in which recommendations are looked up; raises :class:`InputError` where it is of another space."""
    if benchmark is None:
        return None
    from prejudge.benchmarks import benchmark as find

    table = find(benchmark)
    if table.space != space:
        raise InputError(f"table {table.name} is of {table.space}, not {space}")
    return table


def show_recommendations(result: SearchResult, table: Table | None, written: Path | None, *, as_json: bool) -> None:
    """Print every run's recommendation with its seconds and, where there is a table, its accuracies and their means.

    Args:
        result: The runs.
        table: Where they are looked up.
        written: The result file, if one was written.
        as_json: Print one JSON object instead.
    """
    from prejudge.search.result_table import outcomes, recommended_accuracies

    own = outcomes(result)
    warnings = [(run.seed, run.metadata["warnings"]) for run in result.trajectories if "warnings" in run.metadata]
    found = own if table is None else recommended_accuracies(result, table)
    metrics = list(found.columns[len(own.columns) :])
    if as_json:
        warned = {"warnings": dict(warnings)} if warnings else {}
        output.print_json({"written": written, "runs": found.to_dict("records"), **warned})
        return
    rows: list[dict[str, Any]] = found.to_dict("records")  # type: ignore[assignment]  # its keys are texts
    for row in rows:
        output.tell(f"seed {row['seed']}, {row['seconds']:.0f} s: {row['recommendation']}")
        if metrics:
            output.tell("  " + ", ".join(f"{name} {row[name]:.2f}" for name in metrics))
    if table is not None and len(rows) > 1:
        output.print_table(
            f"{len(rows)} runs, table {table.name}",
            ["metric", "mean", "std"],
            [[name, found[name].mean(), found[name].std()] for name in metrics],
            numeric=["mean", "std"],
        )
    for seed, sentences in warnings:
        for sentence in sentences:
            output.say(f"warning: seed {seed}: {sentence}")
    if written is not None:
        output.say(f"wrote {written}")
