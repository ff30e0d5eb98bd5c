"""The report on a score cache: how well its scores predict a table of trained accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prejudge.cli import output
from prejudge.cli.correlation_table import print_correlations

if TYPE_CHECKING:
    from prejudge.benchmarks import Metric, Table


def report_scores(
    cache: Path,
    table: Table,
    metrics: Sequence[Metric],
    out: Path | None,
    format: str | None,
    stratum: str | None,
    protocol: str | None,
    title: str | None,
    *,
    as_json: bool,
) -> None:
    """Correlate, print, write; arguments as the command's."""
    from prejudge.cache import ScoreCache
    from prejudge.pipeline.score_report import report_data
    from prejudge.report import write_report

    with ScoreCache(cache, "r") as scores:
        data = report_data(scores, table, metrics=metrics, protocol=protocol, title=title)
    shown = data.rows(stratum=stratum)
    written = write_report(data, out, format) if out is not None else None
    if as_json:
        output.print_json({"written": written, "notes": data.notes, "correlations": shown.to_dict("records")})
        return
    print_correlations(shown, strata=[stratum or data.strata[0]])
    hint = "--out report.html writes the full report; --stratum connected prints only connected cells"
    output.say_report(data.notes, written, hint if stratum is None else "")
