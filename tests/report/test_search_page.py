"""The comparison of searches: its page (in a real browser too), its tables, and what it refuses."""

from __future__ import annotations

import base64
import dataclasses
import io
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from prejudge.errors import InputError
from prejudge.report import SearchReportData, to_csv, to_html, to_latex, to_markdown, write_report
from prejudge.report.html import LIMIT
from prejudge.report.numbers import p_value, signed

METHODS = {
    "random": 6.4,
    "evolution": 6.1,
    "local-search": 5.8,
    "hyperband(eta=3)": 6.3,
    "bohb": 6.2,
    "reinforce": 6.25,
}
METRICS = {"cifar10_test_200ep": 94.37, "cifar100_test_200ep": 73.51, "imagenet16-120_test_200ep": 47.31}
SEARCHED = "cifar10 valid accuracy, 12 epochs"
HOSTILE = '<script>window.stolen = 1</script><img src=x onerror="alert(1)">\'"&--></script>'
BANDS = ("mean", "low", "high", "median", "q25", "q75")


def comparison(methods: int = 4, metrics: int = 3, points: int = 60, **changes: Any) -> SearchReportData:
    """Curves that fall like 1 / sqrt(budget) towards a method's error, and what follows from their ends."""
    final, curves, tests = [], [], []
    names = list(METHODS)[:methods] + [f"method {k}" for k in range(len(METHODS), methods)]
    for metric, optimum in list(METRICS.items())[:metrics]:
        panel = {"searched": SEARCHED, "metric": metric}
        ends = {name: optimum - METHODS.get(name, 6.3) + 5.63 for name in names}
        for name, end in ends.items():
            final.append(panel | {
                "method": name, "runs": 50, "missing": int(name == "random"), "mean": end, "std": 0.3,
                "low": end - 0.1, "high": end + 0.1, "median": end + 0.02, "regret": optimum - end,
                "queries": 104.6, "seconds": 11_940.2, "overhead": 0.0021,
            })  # fmt: skip
            for axis, start, stop in (("seconds", 120.0, 12_000.0), ("queries", 2.0, 120.0)):
                at = np.linspace(start, stop, points)
                mean = end - 3 * (np.sqrt(stop / at) - 1)
                columns = dict(
                    zip(BANDS, (mean, mean - 0.1, mean + 0.1, mean + 0.02, mean - 0.2, mean + 0.2), strict=True)
                )
                curves.append(pd.DataFrame({"at": at, **columns}).assign(method=name, axis=axis, **panel))
        for first, second in itertools.combinations(names, 2):
            p = 0.3 if {first, second} == {"local-search", "evolution"} else 1e-7
            tests.append(panel | {
                "first": first, "second": second, "pairs": 50, "difference": ends[first] - ends[second],
                "better": 0.5 + 0.4 * np.sign(ends[first] - ends[second]), "p": p / 2, "p_holm": p,
            })  # fmt: skip
    content: dict[str, Any] = {
        "title": "Which search is best?",
        "space": "nasbench201",
        "final": pd.DataFrame(final),
        "curves": pd.concat(curves, ignore_index=True),
        "tests": pd.DataFrame(tests, columns=[
            "searched", "metric", "first", "second", "pairs", "difference", "better", "p", "p_holm",
        ]),
        "optima": dict(list(METRICS.items())[:metrics]),
        "descriptions": dict.fromkeys(names, "population=10"),
        "protocol": {"budget of each run": "12,000 s"},
        "provenance": {"random": "random.h5: seeds 0 … 49"},
        "warnings": ["Costs are training only."],
    }  # fmt: skip
    return SearchReportData(**(content | changes))


def payload_of(page: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(re.search(r'id="payload">(.*?)</script>', page, re.DOTALL)[1], parse_constant=refuse)


def floats(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


def final_rows(page: str) -> list[list[str]]:
    body = re.search(r'id="final".*?<tbody>(.*?)</tbody>', page, re.DOTALL)[1]
    rows = re.findall(r"<tr.*?</tr>", body, re.DOTALL)
    return [[re.sub(r"<small>.*?</small>|<[^>]+>", "", c) for c in re.findall(r"<t[hd].*?</t[hd]>", r)] for r in rows]


def test_page_holds_every_part_and_no_link_outwards() -> None:
    page = to_html(comparison())
    for part in ("curves", "final", "differences", "protocol", "provenance", "methods", "warnings"):
        assert f'id="{part}"' in page
    assert page == to_html(comparison())
    static = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert not re.search(r"(?:https?:)?//[a-z0-9]+\.[a-z]", static.replace("http://www.w3.org/2000/svg", ""))
    assert not re.search(r"<(?:link|img|script|iframe)[^>]+(?:src|href)=[\"'](?!data:)", page)
    assert "default-src 'none'" in page


def test_final_table_is_best_first_and_ends_with_the_optimum() -> None:
    rows = final_rows(to_html(comparison()))
    assert [row[0] for row in rows] == [
        "local-search",
        "evolution",
        "hyperband(eta=3)",
        "random",
        "Optimum of the table",
    ]
    assert rows[0][1:] == ["94.20 ± 0.30", "73.34 ± 0.30", "47.14 ± 0.30", "50", "0", "105", "11,940 s", "2.1 ms"]
    assert rows[-1][1:4] == ["94.37", "73.51", "47.31"]


def test_what_the_test_does_not_tell_from_the_best_is_bold_too() -> None:
    data = comparison()
    panel = SEARCHED, "cifar10_test_200ep"
    assert data.undecided(*panel) == data.leading(*panel) == {"local-search", "evolution"}
    page = to_html(data)
    assert page.count('<td class="best">9') == 2
    assert "1 other does not differ significantly" in page


def test_what_no_test_decides_is_not_bold() -> None:
    panel = SEARCHED, "cifar10_test_200ep"
    data = comparison()
    tests = data.tests.assign(p_holm=0.2)
    assert not comparison(tests=tests).leading(*panel), "no method is shown to be worse"
    tests.loc[tests["second"] == "evolution", "p_holm"] = np.nan
    unknown = comparison(tests=tests)
    assert "evolution" in unknown.undecided(*panel), "no test shows nothing"
    best, second = data.final["method"] == "local-search", data.final["method"] == "evolution"
    for few, leading in ((best, set()), (second, {"local-search"})):
        final = data.final.assign(runs=data.final["runs"].where(~few, 9))
        assert comparison(final=final).leading(*panel) == leading


def test_differences_are_turned_and_colored_by_the_test() -> None:
    page = to_html(comparison(metrics=1))
    matrix = re.search(r'<table class="matrix">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)[1]
    rows = [
        re.findall(r'<td class="([a-z ]+)" style="--v:([\d.]+)"[^>]*>([^<]*)', row) for row in matrix.split("</tr>")
    ]
    assert [[text for *_, text in row] for row in rows[:2]] == [
        ["", "+0.30", "+0.50", "+0.60"],
        ["−0.30", "", "+0.20", "+0.30"],
    ]
    assert rows[0][1][0] == "positive open"
    assert rows[0][1][1] == "0.0", "what may be luck has no color"
    assert rows[0][3][:2] == ("positive", "0.6")
    assert rows[3][0][:2] == ("negative", "0.6")
    assert "local-search less random: +0.60 % over 50 pairs, p &lt; 0.001 (Holm)" in page


def test_curves_come_back_from_the_page() -> None:
    data = comparison()
    found = payload_of(to_html(data))["lines"]
    assert [name["text"] for name in found["names"]] == data.methods
    assert [axis["label"] for axis in found["axes"]] == ["simulated cost, seconds", "queries"]
    assert [chart["optimum"] for chart in found["charts"]] == list(METRICS.values())
    series = found["charts"][1]["curves"][1][2]
    curve = data.of(data.curves, SEARCHED, "cifar100_test_200ep")
    curve = curve[(curve["axis"] == "queries") & (curve["method"] == data.methods[series["name"]])]
    for name in ("at", *BANDS):
        np.testing.assert_array_equal(floats(series[name]), curve[name].to_numpy("<f4"))


def test_six_methods_on_three_datasets_stay_small_and_many_stay_below_the_limit() -> None:
    assert len(to_html(comparison(6, 3, 200)).encode()) < 400_000
    page = to_html(comparison(24, 3, 600))
    assert len(page.encode()) <= LIMIT
    at = floats(payload_of(page)["lines"]["charts"][0]["curves"][0][0]["at"])
    assert 100 <= len(at) < 600
    assert at[-1] == 12_000, "a thinner curve still ends where it ended"


def test_missing_numbers_are_dashes() -> None:
    data = comparison(2, 2)
    final, tests, curves = data.final.copy(), data.tests.copy(), data.curves.copy()
    final.loc[final["method"] == "random", ["mean", "std", "low", "high", "median", "regret"]] = np.nan
    final.loc[final["method"] == "evolution", ["runs", "std"]] = [1, 0.0]
    final["queries"] = np.nan
    tests[["difference", "better", "p", "p_holm"]] = np.nan
    curves.loc[curves["method"] == "random", list(BANDS)] = np.nan
    data = dataclasses.replace(data, final=final, tests=tests, curves=curves)
    page = to_html(data)
    rows = final_rows(page)
    assert rows[1][:3] == ["random", "–", "–"]
    assert rows[0][1] == "93.90", "one run has no deviation"
    assert "Queries per run</th>" not in page
    payload_of(page)
    for write in (to_markdown, to_latex):
        assert "nan" not in write(data).lower()
    all_lost = dataclasses.replace(data, final=final.assign(mean=np.nan))
    assert "no architecture has this accuracy in the table" in to_html(all_lost)


def test_hostile_texts_are_only_text() -> None:
    data = comparison(2, 1)

    def spoil(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.replace({"random": HOSTILE, SEARCHED: HOSTILE, "cifar10_test_200ep": HOSTILE})

    data = dataclasses.replace(
        data, title=HOSTILE, space=HOSTILE, final=spoil(data.final), curves=spoil(data.curves), tests=spoil(data.tests),
        optima={HOSTILE: 94.37}, descriptions={HOSTILE: HOSTILE}, protocol={HOSTILE: HOSTILE},
        provenance={HOSTILE: HOSTILE}, warnings=[HOSTILE], costs=HOSTILE, unit=HOSTILE,
    )  # fmt: skip
    page = to_html(data)
    assert "<script>window" not in page
    assert "<img" not in page
    assert page.count("</script>") == 2
    assert HOSTILE in [name["text"] for name in payload_of(page)["lines"]["names"]]
    assert "<script>" not in to_markdown(data)


def test_one_method_and_no_curve_make_a_page() -> None:
    data = comparison(1, 1)
    page = to_html(dataclasses.replace(data, curves=data.curves.head(0), warnings=[], descriptions={}))
    assert "nothing to compare it with" in page
    assert "no curve to draw" in page
    assert "lines" not in payload_of(page)


def test_csv_keeps_every_number_exactly() -> None:
    data = comparison()
    read = pd.read_csv(io.StringIO(to_csv(data)))
    np.testing.assert_array_equal(read["mean"], data.final["mean"])
    assert list(read["optimum"].unique()) == list(METRICS.values())
    assert set(read["space"]) == {"nasbench201"}


def test_markdown_and_latex_show_what_a_paper_shows() -> None:
    data = comparison()
    text = to_markdown(data)
    line = next(row for row in text.splitlines() if row.startswith("| local-search"))
    assert line.startswith("| local-search | **94.20 ± 0.30** | **73.34 ± 0.30** | **47.14 ± 0.30** | 50 |")
    assert "| evolution − local-search | 50 | −0.30 | 10 | 0.150 | 0.300 |" in text
    latex = to_latex(data)
    assert latex.count(r"\begin{table}") == latex.count(r"\end{table}") == 1 + len(METRICS)
    assert r"random & 93.60 $\pm$ 0.30 &" in latex
    assert r"Optimum of the table & 94.37 & 73.51 & 47.31 & -- &" in latex
    assert latex.isascii()


def test_the_format_follows_the_file_name(tmp_path: Path) -> None:
    data = comparison(2, 1)
    for name, start in (("a.html", "<!doctype"), ("a.csv", "searched,"), ("a.md", "# "), ("a.tex", "%")):
        assert write_report(data, tmp_path / name).read_text(encoding="utf-8").startswith(start)


def test_disagreeing_values_are_refused_with_the_culprit() -> None:
    data = comparison(2, 1)
    with pytest.raises(InputError, match="curves lack the column 'q25'"):
        dataclasses.replace(data, curves=data.curves.drop(columns="q25"))
    with pytest.raises(InputError, match=r"final names .*'random'.* twice"):
        dataclasses.replace(data, final=pd.concat([data.final, data.final.head(1)]))
    with pytest.raises(InputError, match="no optimum of 'cifar10_test_200ep'"):
        dataclasses.replace(data, optima={})
    with pytest.raises(InputError, match=r"tests name .*'nobody'"):
        dataclasses.replace(data, tests=data.tests.assign(second="nobody"))


def test_numbers_read_well() -> None:
    assert [signed(v) for v in (0.214, -0.216, -0.001, 0.0, np.nan)] == ["+0.21", "−0.22", "0.00", "0.00", "–"]
    assert [p_value(v) for v in (0.04999, 0.0009, 1.0, np.nan)] == ["0.050", "< 0.001", "1.000", "–"]


# ---- in a browser ---------------------------------------------------------------------------------------------------


@pytest.fixture
def visit(visit_file: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    def visit(width: int = 1280, data: SearchReportData | None = None, **options: Any) -> Any:
        given = data or comparison(6, limits={SEARCHED: ("seconds", 9000.0)}, warnings=[HOSTILE])
        return visit_file(write_report(given, tmp_path / "compare.html"), width, **options)

    return visit


def ends(page: Any, chart: int = 0) -> dict[int, tuple[float, float]]:
    """Where the line of each method ends in a chart, in pixels."""
    return {
        int(node.get_attribute("data-name")): tuple(
            map(float, node.locator(".line").get_attribute("d").split("L")[-1].lstrip("M").split())
        )
        for node in page.locator(".chart").nth(chart).locator(".series").all()
    }


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_page_fits_and_is_drawn(visit: Callable[..., Any], width: int, scheme: str) -> None:
    page = visit(width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".chart").count() == 3
    for chart in page.locator(".chart").all():
        assert chart.locator(".series .line").count() == chart.locator(".series .band").count() == 6
        box = chart.locator(".field").bounding_box()
        assert box["width"] >= 240
        assert box["height"] >= 240
        assert chart.locator(".yticks i").count() >= 3
        assert chart.locator(".xticks i").count() >= 3
    for box in ("#curves", "#final", "#differences", "#provenance"):
        assert page.locator(box).bounding_box()["width"] <= width


@pytest.mark.browser
def test_lines_end_where_the_numbers_say(visit: Callable[..., Any]) -> None:
    page = visit()
    field = page.locator(".chart .field").first.bounding_box()
    found = ends(page)
    x, y = zip(*found.values(), strict=True)
    assert set(x) == {max(x)}
    assert field["width"] - 12 < x[0] < field["width"]
    errors = [METHODS[list(METHODS)[method]] for method in found]
    slope, offset = np.polyfit(errors, y, 1)
    np.testing.assert_allclose(y, slope * np.array(errors) + offset, atol=0.2)
    assert slope < 0, "a smaller error lies lower, which is further down the page"
    optimum = float(page.locator(".field .optimum").first.get_attribute("y1"))
    assert optimum == pytest.approx(slope * 5.63 + offset, abs=0.5)
    assert page.locator(".chart").first.get_by_text("compared here").is_visible()
    limit = float(page.locator(".upright").first.get_attribute("x1"))
    assert limit == pytest.approx(8 + 0.75 * (field["width"] - 16), abs=0.5)


@pytest.mark.browser
def test_axes_bands_and_methods_can_be_chosen(visit: Callable[..., Any]) -> None:
    page = visit()
    line = page.locator(".chart .line").first
    shapes = {line.get_attribute("d")}
    for name in ("Queries", "Regret, log", "Median, quartiles"):
        page.locator(".toolbar").get_by_text(name, exact=True).click()
        shapes.add(line.get_attribute("d"))
    assert len(shapes) == 4
    assert page.locator(".chart .xlabel").first.inner_text() == "queries →"
    assert page.locator(".chart .ylabel").first.inner_text() == "↑ regret, %, both axes logarithmic"
    assert page.locator(".field .optimum").count() == 0, "a logarithmic axis has no zero"
    labels = [label.bounding_box() for label in page.locator(".chart").first.locator(".xticks i").all()]
    for one, other in itertools.combinations(labels, 2):
        assert one["x"] + one["width"] < other["x"] or other["x"] + other["width"] < one["x"]
    button = page.get_by_role("button", name="evolution")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert set(ends(page)) == {0, 2, 3, 4, 5}
    button.click()
    assert set(ends(page)) == {0, 1, 2, 3, 4, 5}


@pytest.mark.browser
def test_a_plot_can_be_read_with_mouse_and_keys(visit: Callable[..., Any]) -> None:
    page = visit()
    field = page.locator(".chart .field").first
    field.scroll_into_view_if_needed()
    box = field.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 1, box["y"] + 40)
    tip = page.locator("#tip")
    assert "12,000 s" in tip.inner_text()
    reading = [span.inner_text() for span in tip.locator(".reading span").all()]
    assert reading[:4] == ["local-search", "5.80 (5.70 – 5.90)", "evolution", "6.10 (6.00 – 6.20)"]
    page.mouse.move(5, 5)
    assert not tip.is_visible()
    field.focus()
    page.keyboard.press("ArrowLeft")
    last = tip.locator("b").inner_text()
    page.keyboard.press("ArrowLeft")
    assert tip.locator("b").inner_text() != last
    assert page.locator(".chart .cursor").count() == 1
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    assert "local-search 5.80" in field.get_attribute("aria-label")


@pytest.mark.browser
def test_tables_read_without_javascript(visit: Callable[..., Any]) -> None:
    page = visit(java_script_enabled=False)
    assert page.locator("#final tbody tr").count() == 7
    assert page.get_by_text("The curves need JavaScript").is_visible()
    assert not page.locator(".toolbar").is_visible()
    page.locator("summary").first.click()
    assert page.locator("details table").first.locator("tbody tr").count() == 15
    assert page.get_by_text(HOSTILE).first.is_visible()


@pytest.mark.browser
def test_colors_can_be_read(visit: Callable[..., Any]) -> None:
    """WCAG: 3 to 1 for lines on their ground, 4.5 to 1 for the letters of the colored matrix."""
    for scheme in ("light", "dark"):
        page = visit(color_scheme=scheme)
        pairs = page.evaluate(
            """() => {
            const canvas = document.createElement('canvas');
            const pen = canvas.getContext('2d', { willReadFrequently: true });
            const rgb = (color) => {
              pen.fillStyle = color;
              pen.fillRect(0, 0, 1, 1);
              return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
            };
            const ground = rgb(getComputedStyle(document.querySelector('.field')).backgroundColor);
            const lines = [...document.querySelectorAll('.chart:first-child .series')];
            const cells = [...document.querySelectorAll('.matrix td[title]')].filter((cell) => cell.textContent);
            return [
              lines.map((line) => [rgb(getComputedStyle(line).color), ground]),
              cells.map((cell) => [rgb(getComputedStyle(cell).color), rgb(getComputedStyle(cell).backgroundColor)]),
            ];
          }"""
        )
        assert len(pairs[0]) == 6
        assert len(pairs[1]) > 20
        assert min(contrast(*pair) for pair in pairs[0]) >= 3
        assert min(contrast(*pair) for pair in pairs[1]) >= 4.5


def contrast(one: list[int], other: list[int]) -> float:
    def luminance(color: list[int]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in color)]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.browser
def test_page_prints(visit: Callable[..., Any]) -> None:
    assert visit().pdf().startswith(b"%PDF")
