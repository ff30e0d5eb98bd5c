"""The tables of reports on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prejudge.cli import output
from prejudge.errors import visible

if TYPE_CHECKING:
    from prejudge.report import ReportPage
    from prejudge.report.blocks import DataTable, TableColumn

_MORE = ("failed",)
"""Columns that the terminal shows although papers do not."""

_LESS_URGENT = ("failed", "weighted_tau", "partial_spearman", "precision_at_10pct")
_NARROW = 110


def print_tables(page: ReportPage, stratum: str | None = None) -> None:
    """Print the tables of a report that papers show too.

    Args:
        page: The report.
        stratum: The architectures whose correlations are printed; by default the first.
    """
    shown = stratum or (page.chosen[-1] if page.chosen else None)
    for table in page.tables():
        if table.printed and (not table.when or table.when[-1] == shown):
            _print(table)


def _print(table: DataTable) -> None:
    from rich.text import Text

    width = output.terminal_width()
    narrow = width is not None and width < _NARROW

    def keep(column: TableColumn) -> bool:
        return (column.printed or column.key in _MORE) and not (narrow and column.key in _LESS_URGENT)

    headings = table.headings(keep)
    texts = [(row.name, table.texts(row, keep)) for row in table.rows]
    rows = [
        [name, *(Text(visible(text), style="bold" if bold else "") for text, bold in cells)] for name, cells in texts
    ]
    output.print_table(table.heading, headings, rows, numeric=headings[1:], fold_first=True)
    if table.caption:
        output.say(table.caption)
