"""The summary of trainings for papers and scripts: CSV, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prejudge.report.training.columns import COLUMNS, best_cells, summary_columns, summary_rows
from prejudge.report.training.data import TrainingReportData
from prejudge.report.typesetting import PrintTable, latex_tables, markdown_tables

if TYPE_CHECKING:
    import pandas as pd


def summary_frame(data: TrainingReportData) -> pd.DataFrame:
    """One row per training: ``training``, every column of the summary, ``selection`` and ``architecture``."""
    import pandas as pd

    return pd.DataFrame(
        [
            {"training": t.name}
            | {c.key: c.value(t) for c in COLUMNS}
            | {"selection": t.selection, "architecture": t.architecture}
            for t in data.trainings
        ]
    )


def to_csv(data: TrainingReportData) -> str:
    """The summary in full precision; a missing number is an empty field.

    Args:
        data: The report's content.
    """
    return summary_frame(data).to_csv(index=False, lineterminator="\n")


def to_markdown(data: TrainingReportData) -> str:
    """The summary as Markdown; of several trainings the best of each column in bold.

    Args:
        data: The report's content.
    """
    return markdown_tables(data.title, _print_tables(data))


def to_latex(data: TrainingReportData) -> str:
    r"""The summary as LaTeX that needs ``\usepackage{booktabs}`` and nothing else.

    Args:
        data: The report's content.
    """
    return latex_tables(_print_tables(data))


def _print_tables(data: TrainingReportData) -> Iterator[PrintTable]:
    columns = summary_columns(data)
    chosen = dict.fromkeys(t.selection for t in data.trainings)
    yield PrintTable(
        f"{data.space}: trainings",
        "The network is " + "; ".join(chosen) + ".",
        ("Training", *(c.heading for c in columns)),
        (tuple(tuple(row) for row in summary_rows(data)),),
        best_cells(data),
    )
