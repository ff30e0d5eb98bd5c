"""Hostile texts in every target: shown, and nothing else."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from html import unescape

import numpy as np
import pandas as pd
import pytest

from prejudge.errors import visible
from prejudge.formats.escape import csv_text, json_text, latex_text, markdown_text, spreadsheet_text

HIDDEN = [
    "\x1b[2J", "\x1b]0;title\x07", "a\rb", "a\x08b", "\x00", "\x7f", "\x9b31m", "\x85", "\u2028", "\u202e", "\u2066",
    "\u200b",    "\u200d", "\ufeff", "\xad", "\u3164", "\u2800", "\ufe0f", "\U000e0041", "\U000e0100", "\udcff",
    "\ud800", "\xa0", "\u3000",
]  # fmt: skip
FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2", "@SUM(1)", "\t=1", "\r=1", "\n1", " =1", "＝1", "\ufeff=1"]


@pytest.mark.parametrize("text", HIDDEN, ids=ascii)
def test_nothing_hidden_is_left(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable() and shown.isascii()
    assert shown.encode().decode("unicode_escape") == text, "it can be told what it was"
    for target in (markdown_text, latex_text):
        assert all(c.isprintable() for c in target(f"a{text}b"))


def test_what_is_seen_stays_as_it_is() -> None:
    text = "|nor_conv_3x3~0|+… ρ é 漢字 👍 \\ 'x' \"y\""
    assert visible(text) == text and visible("a\n\tb", keep="\n\t") == "a\n\tb"
    assert all(visible(chr(code)).isprintable() for code in range(sys.maxunicode + 1) if code % 7 == 0 or code < 0x3000)


@pytest.mark.parametrize("text", FORMULAS, ids=ascii)
def test_a_spreadsheet_computes_nothing(text: str) -> None:
    assert spreadsheet_text(text).startswith("'") and "\r" not in spreadsheet_text(text)


@pytest.mark.parametrize("text", ["|none~0|", "a=b", "1-2", "x@y", "", "synflow", "漢字 👍\u200d"])
def test_other_texts_of_a_csv_stay_as_they_are(text: str) -> None:
    assert spreadsheet_text(text) == text


def test_numbers_of_a_csv_stay_numbers_and_a_row_a_row() -> None:
    frame = pd.DataFrame({
        "=a": pd.Series(["-x", None, "a\rb\nc\x1b\udcff"], dtype=object), "n": [-1.5, np.nan, 0.1 + 0.2],
        "i": [-1, 2, 3], "mixed": [-1, "@", True], "kind": pd.Categorical(["+", "b", "+"]),
    })  # fmt: skip
    frame.insert(5, "n", ["=1", "2", "3"], allow_duplicates=True)
    rows = list(csv.reader(io.StringIO(csv_text(frame), newline="")))
    assert rows == [
        ["'=a", "n", "i", "mixed", "kind", "n"],
        ["'-x", "-1.5", "-1", "-1", "'+", "'=1"],
        ["", "", "2", "'@", "b", "2"],
        ["a\\rb\\nc\\x1b\\udcff", "0.30000000000000004", "3", "True", "'+", "3"],
    ]
    assert frame.columns[0] == "=a" and frame.iloc[0, 0] == "-x", "it is not changed"


@pytest.mark.parametrize("text", HIDDEN, ids=ascii)
def test_json_reads_as_the_same_text_and_shows_nothing_hidden(text: str) -> None:
    written = json_text({text: [text, "é"]}, indent=1)
    assert json.loads(written) == {text: [text, "é"]}
    assert "é" in written and all(c.isprintable() for c in written.replace("\n", ""))
    written.encode()


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>", "![a](http://x/y.png)", "[a](javascript:alert(1))", "[a][b]", "[a]: http://x",
        "a|b", "`c`", "*a* __b__ ~~c~~", "https://evil.example", "www.evil.example", "me@evil.example",
        "&lt;script&gt;", "$x$", "\\",
    ],
)  # fmt: skip
def test_markdown_has_no_markup(text: str) -> None:
    markdown = pytest.importorskip(
        "markdown_it", reason="a reader of Markdown, which mypy and pytest bring, is not here"
    )
    cell = markdown_text(text)
    html = markdown.MarkdownIt("gfm-like", {"linkify": False}).render(f"| a | b |\n|---|---|\n| {cell} | 1 |\n")
    assert unescape(re.findall(r"<td>(.*)</td>", html)[0]) == text
    assert not re.search(r"(?<!\\)(://|@)|www\.", cell)


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"), ("50 % of $x$ & #1_a^b~", None),
        ("[1cm] a", "{}[1cm] a"), ("*", "{}*"), ("^^5cinput", None), ("a\n\n\\par", r"a \textbackslash{}par"),
    ],
)  # fmt: skip
def test_latex_has_no_commands(text: str, latex: str | None) -> None:
    found = latex_text(text)
    assert latex is None or found == latex
    assert not re.search(r"(?<!\\)[%&#_$^~]", found) and "\n" not in found and not found.startswith(("[", "*"))
