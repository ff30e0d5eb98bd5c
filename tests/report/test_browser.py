"""The report in a real browser: headless Chromium at the widths of a laptop and of a telephone."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from prejudge.report import write_report

HOSTILE = "<img src=x onerror=alert(1)>"
TABLE = "#correlation .scroll:visible table"

pytestmark = pytest.mark.browser


@pytest.fixture
def report(make_report, tmp_path: Path) -> Path:
    data = make_report(250)
    failures = data.failures.assign(reason=[HOSTILE, *data.failures["reason"][1:]])
    return write_report(dataclasses.replace(data, failures=failures), tmp_path / "report.html")


@pytest.fixture
def visit(visit_file, report) -> Callable[..., object]:
    return functools.partial(visit_file, report)


def column(page, number: int) -> list[str]:
    return page.locator(f"{TABLE} tbody tr > :nth-child({number})").all_inner_texts()


def numbers(texts: list[str]) -> list[float]:
    return [float(text.replace("−", "-").replace(",", "")) for text in texts if text != "–"]


DRAWN = """canvas => {
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  return pixels.filter((value, k) => k % 4 === 3 && value > 0).length;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_page_fits_and_is_drawn(visit, width, scheme):
    page = visit(width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(f"{TABLE} tbody tr").count() == 18
    plots = page.locator(".scatter canvas")
    assert plots.count() == 16
    assert all(plots.nth(k).evaluate(DRAWN) > 50 for k in range(16))
    for box in ("#correlation", "#agreement", "#cost", "#failures", "#provenance"):
        assert page.locator(box).bounding_box()["width"] <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(background[4:].split(",")[0]) < 100) == (scheme == "dark")


def test_clicking_a_heading_sorts_and_clicking_again_reverses(visit):
    page = visit()
    heading = page.locator(f"{TABLE} thead th", has_text="Kendall")
    number = 1 + page.locator(f"{TABLE} thead th").all_inner_texts().index(heading.inner_text())
    heading.locator("button").click()
    first = numbers(column(page, number))
    assert first == sorted(first, reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"
    heading.locator("button").click()
    assert numbers(column(page, number)) == first[::-1]
    assert heading.get_attribute("aria-sort") == "ascending"
    page.locator(f"{TABLE} thead th.name button").click()
    names = [text.split("\n")[0] for text in column(page, 1)]
    assert names == sorted(names)


def test_missing_numbers_stay_last(visit):
    page = visit()
    heading = page.locator(f"{TABLE} thead th", has_text="Partial")
    number = 1 + page.locator(f"{TABLE} thead th").all_inner_texts().index(heading.inner_text())
    for _ in range(2):
        heading.locator("button").click()
        assert column(page, number)[-1] == "–"


def test_metric_and_stratum_can_be_chosen(visit):
    page = visit()
    before = column(page, 3)
    page.select_option("[data-choice='0']", "cifar100 test 200ep")
    assert column(page, 3) != before
    assert "cifar100 test 200ep" in page.locator("#correlation h2").inner_text()
    before = column(page, 3)
    page.select_option("[data-choice='1']", "top 10 %")
    assert column(page, 3) != before
    assert page.locator(".summary:visible .value").last.inner_text() == "0.55"


def test_a_plot_opens_large_and_names_the_architecture(visit):
    page = visit()
    page.locator(".multiple").first.click()
    field = page.locator("dialog .field")
    assert field.locator("canvas").evaluate(DRAWN) > 500
    box = field.bounding_box()
    tip = page.locator("#tip")
    for k in range(8, 40):
        page.mouse.move(box["x"] + box["width"] * k / 40, box["y"] + box["height"] * (0.75 - k / 80))
        if tip.is_visible():
            break
    assert "~0|" in tip.inner_text()
    assert page.locator(".scatter .ring:visible").count() > 5, "the same architecture is marked in the other plots"
    title = page.locator("#enlarged-title").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("#enlarged-title").inner_text() != title
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


def test_plots_can_show_ranks_and_the_best_half(visit):
    page = visit()
    canvas = page.locator(".scatter canvas").first
    pictures = {canvas.evaluate("canvas => canvas.toDataURL()")}
    for name in ("Ranks", "Best half"):
        page.get_by_text(name, exact=True).click()
        pictures.add(canvas.evaluate("canvas => canvas.toDataURL()"))
    assert len(pictures) == 3


def test_everything_but_the_plots_reads_without_javascript(visit):
    page = visit(java_script_enabled=False)
    assert page.locator(f"{TABLE} tbody tr").count() == 18
    assert page.locator(f"{TABLE} .dot").count() == 18
    assert page.get_by_text("JavaScript is off").is_visible()
    assert not page.locator(".controls").is_visible()
    assert page.locator("#agreement tbody tr").count() == 16
    assert page.get_by_text(HOSTILE).first.is_visible()


def test_page_prints(visit):
    page = visit()
    assert page.pdf().startswith(b"%PDF")
