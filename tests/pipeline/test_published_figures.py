"""Figures of papers beside those of a run: what is read, intervals against scipy's, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, t

import prejudge
from prejudge.errors import InputError
from prejudge.pipeline.published_figures import PublishedFigure, compare, figures_page, read_figures, rows
from prejudge.report import to_markdown
from prejudge.search import Budget, write_result
from prejudge.search.objectives import TableObjective

ERROR = PublishedFigure("CIFAR-10 test error, %", 2.61, "a paper", "verified", spread=0.08, step="test")


@pytest.mark.parametrize(
    ("what", "expected"), [("test error, %", 2.5), ("test accuracy, %", 97.5), ("top-5 error, %", 0.25)]
)
def test_a_test_has_the_interval_of_wilson(what: str, expected: float, tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text(json.dumps({"top1": 97.5, "top5": 99.75, "images": 400}))
    found = compare(replace(ERROR, what=what), tmp_path)  # the folder of a training, too
    assert found.here == pytest.approx(expected)
    oracle = binomtest(round(4 * expected), 400).proportion_ci(method="wilson")
    assert found.interval == pytest.approx((100 * oracle.low, 100 * oracle.high), rel=1e-6)
    assert compare(replace(ERROR, what=what), tmp_path / "test.json") == found


def test_inside_is_within_the_published_spread(tmp_path: Path) -> None:
    file = tmp_path / "test.json"
    for top1, images, inside in ((97.4, 10_000, True), (96.5, 10_000, False), (97.0, 400, True)):
        file.write_text(json.dumps({"top1": top1, "images": images}))
        assert compare(ERROR, file).is_inside is inside
    assert [row[4] for row in rows([compare(ERROR, file), compare(ERROR, None)])] == ["yes", ""]
    assert rows([compare(replace(ERROR, spread=None), None)])[0][:4] == ["CIFAR-10 test error, %", "2.61", "", ""]


def test_the_page_has_what_is_printed(tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text(json.dumps({"top1": 97.4, "images": 10_000}))
    found = [compare(ERROR, tmp_path), compare(replace(ERROR, step=""), None)]
    page = to_markdown(figures_page("a recipe", found))
    assert all(f"| {' | '.join(row)} |" in page for row in rows(found))
    assert "2.61 ± 0.08 | 2.60 | 2.31 to 2.93 | yes | verified | a paper" in page


def test_searches_have_the_interval_of_their_seeds(tmp_path: Path) -> None:
    figure = PublishedFigure("error, %", 4.0, "a paper", "quoted", step="search", metric="digits_test_7ep")
    table = prejudge.benchmark("digits")
    for seeds in (4, 12):
        result = prejudge.search.run(
            "random",
            TableObjective(table, "digits", 7),
            Budget(queries=2),
            seeds=range(seeds),
        )
        write_result(result, tmp_path / "found.h5")
        found = compare(figure, tmp_path / "found.h5", "digits")
        archs = [run.recommendation for run in result.trajectories]
        values = 100 - table.query_many(archs, "digits_test_7ep")
        assert found.here == pytest.approx(values.mean())
        if seeds < 10:
            assert found.interval is None and found.is_inside is None
            continue
        half = t.ppf(0.975, seeds - 1) * np.std(values, ddof=1) / np.sqrt(seeds)
        assert found.interval == pytest.approx((values.mean() - half, values.mean() + half))


def test_what_is_not_there_has_no_figure(tmp_path: Path) -> None:
    for content in ("", "[]", '{"top1": "x"}'):
        (tmp_path / "test.json").write_text(content)
        assert compare(ERROR, tmp_path / "test.json").here is None
    assert compare(replace(ERROR, metric="cifar10_test_200ep"), tmp_path / "gone.h5", "digits").here is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (3, "it is not 3"),
        ({"what": "error", "value": 3}, "'error' has no source, status"),
        ({"what": "error", "value": "3", "source": "x", "status": "quoted"}, "value must be a number, not '3'"),
        ({"what": "error", "value": 3, "source": "x", "status": "sure"}, "unknown status of a published figure 'sure'"),
        ({"what": "error", "value": 3, "origin": "x"}, "unknown field of a published figure 'origin'"),
    ],
)
def test_a_figure_that_cannot_be_read_is_refused(wrong: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_figures([wrong])
    assert read_figures(None) == ()
