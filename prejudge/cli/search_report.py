"""The report on search results: which method found what, at which cost, and which differences are certain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prejudge.cli import output

if TYPE_CHECKING:
    from prejudge.benchmarks import Metric, Table
    from prejudge.report import SearchReportData


def report_searches(
    files: Sequence[Path],
    table: Table,
    metrics: Sequence[Metric] | None,
    out: Path | None,
    format: str | None,
    title: str | None,
    *,
    as_json: bool,
) -> None:
    """Compare, print, write; arguments as the command's, and no metrics for those that fit the searches."""
    from prejudge.report import write_report
    from prejudge.search import read_result
    from prejudge.search.comparison import compare

    results = [read_result(file) for file in files]
    data = compare(results, table, sources=[str(file) for file in files], metrics=metrics, title=title)
    written = write_report(data, out, format) if out is not None else None
    if as_json:
        frames = {"final": data.final, "tests": data.tests}
        output.print_json(
            {"written": written, "notes": data.notes, "optima": data.optima, "limits": data.limits}
            | {name: frame.to_dict("records") for name, frame in frames.items()}
        )
        return
    _print(data)
    output.say_report(data.notes, written, "--out compare.html writes the full report, with curves")


def _print(data: SearchReportData) -> None:
    from prejudge.report.searches.page import difference_tables, final_tables

    for table in [*final_tables(data), *difference_tables(data)]:
        output.print_report_table(table)
