"""Tables for papers and scripts: Markdown and LaTeX, with every text escaped, and CSV."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from prejudge.report.blocks import DataTable, ReportPage, TableRow

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}",
    "ρ": r"$\rho$", "τ": r"$\tau$", "−": r"$-$", "±": r"$\pm$", "–": "--", "µ": r"$\mu$", "·": r"$\cdot$",
    "×": r"$\times$", "…": r"\ldots{}",
}  # fmt: skip
_MARKDOWN = re.compile(r"[\\`*_|<>]|\](?=[(\[:])")  # brackets only where they would make a link


def render_markdown(page: ReportPage) -> str:
    """The printed tables of a page as Markdown, under its title; what is certain to be among the best in bold."""
    parts = [f"# {_markdown(page.title)}\n"]
    for table in _printed(page):
        parts.append(f"## {_markdown(table.heading)}\n")
        columns = table.headings()
        lines = [_line(map(_markdown, columns)), "|---|" + "---:|" * (len(columns) - 1)]
        for group in _groups(table):
            lines += [_line(_cells(table, row, _markdown, "**{}**".format)) for row in group]
        parts.append("\n".join(lines) + "\n")
        parts.append(_markdown(table.caption) + "\n")
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
            rf"\caption{{{_latex(table.heading)}. {_latex(table.caption)}}}",
            rf"\label{{tab:prejudge-{number}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
            r"\toprule",
            " & ".join(map(_latex, columns)) + r" \\",
        ]
        for group in _groups(table):
            lines.append(r"\midrule")
            lines += [" & ".join(_cells(table, row, _latex, r"\textbf{{{}}}".format)) + r" \\" for row in group]
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]))
    return "\n\n".join(parts) + "\n"


def render_csv(page: ReportPage) -> str:
    """The numbers of a page in full precision; a missing number is an empty field."""
    return page.records.to_csv(index=False, lineterminator="\n")


def _printed(page: ReportPage) -> list[DataTable]:
    return [table for table in page.tables() if table.printed]


def _groups(table: DataTable) -> list[list[TableRow]]:
    groups = [[row for row in table.rows if row.group == group] for group in table.groups]
    return [group for group in groups if group]


def _cells(table: DataTable, row: TableRow, escape: Callable[[str], str], bold: Callable[[str], str]) -> list[str]:
    return [escape(row.name), *(bold(escape(text)) if best else escape(text) for text, best in table.texts(row))]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _markdown(text: str) -> str:
    text = " ".join(text.split())
    return _MARKDOWN.sub(r"\\\g<0>", text)


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
