"""The report on trainings: how they went, what came out, what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prejudge.cli import output


def report_trainings(
    folders: Sequence[Path], out: Path | None, format: str | None, title: str | None, *, as_json: bool
) -> None:
    """Read, print, write; arguments as the command's."""
    from prejudge.report import write_report
    from prejudge.report.training.page import summary_table
    from prejudge.train.records import read_records, report_data

    data = report_data([read_records(folder) for folder in folders], title=title)
    written = write_report(data, out, format) if out is not None else None
    if as_json:
        from prejudge.report.training.page import summary_frame

        frame = summary_frame(data)
        output.print_json({"written": written, "notes": list(data.notes), "trainings": frame.to_dict("records")})
        return
    output.print_report_table(summary_table(data))
    output.say_report(data.notes, written, "--out training.html writes the full report, with curves")
