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
    from prejudge.report.searches.columns import final_tables, p_text, signed

    for table in final_tables(data):
        headings = ["method", *table.metrics, *(c.heading.lower() for c in table.columns)]
        rows = [[r.method, *r.accuracies, *r.others] for r in table.rows]
        optimum = ["optimum of the table", *table.optima, *([""] * len(table.columns))]
        title = f"found by searches of {table.searched}, {data.unit}, mean ± std"
        output.print_table(title, headings, [*rows, optimum], numeric=headings[1:])
    for searched, metric in data.panels:
        tests = data.of(data.tests, searched, metric).to_dict("records")
        if tests:
            rows = [
                [f"{t['first']} − {t['second']}", t["pairs"], signed(t["difference"]), p_text(t["p_holm"])]
                for t in tests
            ]
            headings = ["pair", "equal seeds", "difference", "p (Holm)"]
            output.print_table(f"{metric}, searches of {searched}", headings, rows, numeric=headings[1:])
