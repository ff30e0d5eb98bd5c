"""The report on trainings: how they went, what came out, what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prejudge.cli import output

if TYPE_CHECKING:
    from prejudge.report.training import TrainingReportData


def report_trainings(
    folders: Sequence[Path], out: Path | None, format: str | None, title: str | None, *, as_json: bool
) -> None:
    """Read, print, write; arguments as the command's."""
    from prejudge.report import write_report
    from prejudge.train.training_folder import read_training, report_data

    data = report_data([read_training(folder) for folder in folders], title=title)
    written = write_report(data, out, format) if out is not None else None
    if as_json:
        from prejudge.report.training.tables import summary_frame

        frame = summary_frame(data)
        output.print_json({"written": written, "notes": list(data.notes), "trainings": frame.to_dict("records")})
        return
    _print(data)
    output.say_report(data.notes, written, "--out training.html writes the full report, with curves")


def _print(data: TrainingReportData) -> None:
    from prejudge.report.training.columns import summary_columns, summary_rows

    columns = summary_columns(data)
    headings = ["training", *(column.heading for column in columns)]
    output.print_table(data.title, headings, summary_rows(data), numeric=headings[1:])
