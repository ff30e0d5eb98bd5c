"""Tables for papers: Markdown and LaTeX, with every text escaped."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}",
    "ρ": r"$\rho$", "τ": r"$\tau$", "−": r"$-$", "±": r"$\pm$", "–": "--", "µ": r"$\mu$", "·": r"$\cdot$",
    "×": r"$\times$", "…": r"\ldots{}",
}  # fmt: skip
_MARKDOWN = re.compile(r"[\\`*_|<>]|\](?=[(\[:])")  # brackets only where they would make a link


@dataclass(frozen=True)
class PrintTable:
    """One table, its cells already formatted.

    Attributes:
        heading: What it shows.
        caption: What a reader must know to read it.
        columns: The headings of its columns.
        groups: Rows of cells; groups are divided by a line. The first cell of a row is its name.
        best: The cells to set in bold: name of the row, and number of the column.
    """

    heading: str
    caption: str
    columns: tuple[str, ...]
    groups: tuple[tuple[tuple[str, ...], ...], ...]
    best: frozenset[tuple[str, int]] = frozenset()


def markdown_tables(title: str, tables: Iterable[PrintTable]) -> str:
    """The tables as Markdown, under a title."""
    parts = [f"# {_markdown(title)}\n"]
    for table in tables:
        parts.append(f"## {_markdown(table.heading)}\n")
        lines = [_line(map(_markdown, table.columns)), "|---|" + "---:|" * (len(table.columns) - 1)]
        for group in table.groups:
            lines += [_line(_row(table, row, _markdown, "**{}**".format)) for row in group]
        parts.append("\n".join(lines) + "\n")
        parts.append(_markdown(table.caption) + "\n")
    return "\n".join(parts)


def latex_tables(tables: Iterable[PrintTable]) -> str:
    r"""The tables as LaTeX ``table`` environments that need ``\usepackage{booktabs}`` and nothing else."""
    parts = ["% needs \\usepackage{booktabs}"]
    for number, table in enumerate(tables, 1):
        lines = [
            r"\begin{table}[t]",
            r"\centering",
            rf"\caption{{{_latex(table.heading)}. {_latex(table.caption)}}}",
            rf"\label{{tab:prejudge-{number}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
            r"\toprule",
            " & ".join(map(_latex, table.columns)) + r" \\",
        ]
        for group in table.groups:
            lines.append(r"\midrule")
            lines += [" & ".join(_row(table, row, _latex, r"\textbf{{{}}}".format)) + r" \\" for row in group]
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]))
    return "\n\n".join(parts) + "\n"


def _row(
    table: PrintTable, row: tuple[str, ...], escape: Callable[[str], str], bold: Callable[[str], str]
) -> list[str]:
    return [bold(escape(text)) if (row[0], j) in table.best else escape(text) for j, text in enumerate(row)]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _markdown(text: str) -> str:
    text = " ".join(text.split())
    return _MARKDOWN.sub(r"\\\g<0>", text)


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
