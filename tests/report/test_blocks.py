"""Blocks are checked once, so that every writer may trust them; columns know their best number and their texts."""

from __future__ import annotations

import dataclasses
import math

import pandas as pd
import pytest

from prejudge.errors import InputError
from prejudge.report import ReportPage, numbers, to_csv, to_html, to_latex, to_markdown
from prejudge.report.blocks import DataTable, Group, Paragraph, Section, Summary, TableCell, TableColumn, TableRow

RHO = TableColumn("rho", "ρ", "A correlation.", numbers.correlation, "high", notes_printed=True)
COST = TableColumn("cost", "s", "", numbers.significant, "low")
HIDDEN = TableColumn("n", "n", printed=False)


def table(**changes: object) -> DataTable:
    rows = tuple(
        TableRow(name, (RHO.cell(rho, bold=rho == 0.5, note="[0, 1]"), COST.cell(2.0), HIDDEN.cell(3)), group)
        for name, rho, group in (("a", 0.5, "later"), ("b", -0.25, ""))
    )
    content = {"heading": "A table", "names": "Name", "columns": (RHO, COST, HIDDEN), "rows": rows}
    return DataTable(**(content | {"groups": ("", "later"), "printed": True, "caption": "Read me."} | changes))  # type: ignore[arg-type]


def page(*sections: Section, **changes: object) -> ReportPage:
    content = {
        "kind": "a report", "title": "T", "space": "s", "lede": (("1", "table."),), "summaries": (),
        "sections": sections, "records": pd.DataFrame({"x": [0.1, math.nan]}),
    }  # fmt: skip
    return ReportPage(**(content | changes))  # type: ignore[arg-type]


def test_what_does_not_fit_is_refused_by_name() -> None:
    short = TableRow("short", (TableCell("1"),))
    with pytest.raises(InputError, match="A table: 3 columns, row 'short' has 1"):
        table(rows=(short,))
    with pytest.raises(InputError, match=r"row 'a' is of no group \('later'\)"):
        table(groups=("",))
    with pytest.raises(InputError, match="two sections have the anchor 'one'"):
        page(Section("one", "", "One", ()), Section("one", "", "Two", ()))
    with pytest.raises(InputError, match=r"no choice of Metric is \('none',\)"):
        page(Section("one", "", "One", (Group("", (table(when=("none",)),)),)), choices={"Metric": ["m"]})
    with pytest.raises(InputError, match="no choice of Metric"):
        page(summaries=(Summary((), ("m", "all")),), choices={"Metric": ["m"]})


def test_papers_show_groups_in_their_order_and_printed_columns_alone() -> None:
    shown = page(Section("one", "One", "One", (table(), table(printed=False))))
    assert [line for line in to_markdown(shown).splitlines() if line.startswith("|")] == [
        "| Name | ρ | s |", "|---|---:|---:|", "| b | −0.250 [0, 1] | 2 |", "| a | **0.500 [0, 1]** | 2 |",
    ]  # fmt: skip
    latex = to_latex(shown)
    assert latex.count(r"\midrule") == 2
    assert latex.index("\nb & ") < latex.index("\na & ")
    assert to_csv(shown) == 'x\n0.1\n""\n'


def test_what_is_not_known_is_a_dash() -> None:
    assert dataclasses.astuple(RHO.cell(math.nan))[:2] == ("–", None)


def test_variants_but_the_first_are_hidden() -> None:
    summaries = tuple(Summary((("Best", value, "of all"),), (value,)) for value in ("x", "y"))
    section = Section("one", "One", "One", (table(when=("x",)), table(when=("y",))), context=(0,))
    html = to_html(page(section, summaries=summaries, choices={"Choice": ["x", "y"]}))
    assert html.count(" hidden aria-live") == html.count("hidden>\n\n<table") + html.count("hidden>\n<table") == 1
    assert '<span class="context" data-context="[0]">x</span>' in html


def test_paragraphs_are_text() -> None:
    html = to_html(page(Section("one", "One", "<b>", (Paragraph("<i>"), Paragraph("<u>", code=True)))))
    assert "&lt;b&gt;" in html
    assert '<p class="how">&lt;i&gt;</p>' in html
    assert "<code>&lt;u&gt;</code>" in html
