"""Tables for papers and scripts: Markdown and LaTeX, with every text escaped, and CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prejudge.formats.escape import csv_text, latex_text, markdown_text
from prejudge.report.blocks import DataTable, ReportPage, TableRow


def render_markdown(page: ReportPage) -> str:
    """The printed tables of a page as Markdown, under its title; what is certain to be among the best in bold."""
    parts = [f"# {markdown_text(page.title)}\n"]
    for table in _printed(page):
        parts.append(f"## {markdown_text(table.heading)}\n")
        columns = table.headings()
        lines = [_line(map(markdown_text, columns)), "|---|" + "---:|" * (len(columns) - 1)]
        for group in _groups(table):
            lines += [_line(_cells(table, row, markdown_text, "**{}**".format)) for row in group]
        parts.append("\n".join(lines) + "\n")
        parts.append(markdown_text(table.caption) + "\n")
    return "\n".join(parts)


def render_latex(page: ReportPage) -> str:
    r"""The printed tables of a page as LaTeX ``table`` environments that need ``\usepackage{booktabs}`` alone.

    Groups of rows are divided by ``\midrule``, what is certain to be among the best is in bold.
    """
    parts = ["% needs \\usepackage{booktabs}"]
    for number, table in enumerate(_printed(page), 1):
        columns = table.headings()
        lines = [
            r"\begin{table}[t]",
            r"\centering",
            rf"\caption{{{latex_text(table.heading)}. {latex_text(table.caption)}}}",
            rf"\label{{tab:prejudge-{number}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
            r"\toprule",
            " & ".join(map(latex_text, columns)) + r" \\",
        ]
        for group in _groups(table):
            lines.append(r"\midrule")
            lines += [" & ".join(_cells(table, row, latex_text, r"\textbf{{{}}}".format)) + r" \\" for row in group]
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]))
    return "\n\n".join(parts) + "\n"


def render_csv(page: ReportPage) -> str:
    """The numbers of a page in full precision; a missing number is an empty field, a text never a formula."""
    return csv_text(page.records)


def _printed(page: ReportPage) -> list[DataTable]:
    return [table for table in page.tables() if table.printed]


def _groups(table: DataTable) -> list[list[TableRow]]:
    groups = [[row for row in table.rows if row.group == group] for group in table.groups]
    return [group for group in groups if group]


def _cells(table: DataTable, row: TableRow, escape: Callable[[str], str], bold: Callable[[str], str]) -> list[str]:
    return [escape(row.name), *(bold(escape(text)) if best else escape(text) for text, best in table.texts(row))]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
