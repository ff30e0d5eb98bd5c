"""The report on trainings: values that are checked, and a page that shows them."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from prejudge.errors import InputError
from prejudge.report import TrainingReportData, to_csv, to_html, to_latex, to_markdown, write_report
from prejudge.report.html import LIMIT
from prejudge.report.numbers import size
from prejudge.report.training import Tested, TrainingRecord
from prejudge.report.training.confusion import confusion_tables
from prejudge.report.training.page import summary_table, training_curves
from prejudge.spaces import space

HOSTILE = "<img src=x onerror=alert(1)>"
CELL = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"


def floats(text: str) -> list[float]:
    return np.frombuffer(base64.b64decode(text), "<f4").tolist()


def record(name: str = "first", epochs: int = 40, classes: int = 10, top1: float = 91.25) -> TrainingRecord:
    rng = np.random.default_rng(epochs)
    at = np.arange(epochs)
    confused = rng.integers(0, 4, (classes, classes)) + 60 * np.eye(classes, dtype=int)
    where = space("nasbench201")
    return TrainingRecord(
        name=name,
        architecture=CELL,
        loss=2.3 * np.exp(-at / 15) + 0.1,
        accuracy={"train": 90 - 80 * np.exp(-at / 9), "valid": 92 - 82 * np.exp(-at / 12)},
        learning_rate=0.05 * (1 + np.cos(np.pi * at / epochs)),
        selection="the network of the epoch that was best on validation images",
        epoch=epochs - 3,
        valid=Tested(91.0, 99.5, 0.31, 5000),
        test=Tested(top1, 99.61, 0.3012, 10000),
        last_test=Tested(91.0, 99.5, 0.31, 10000),
        params=3_349_300,
        macs=528.4e6,
        seconds=51_234.0,
        images_per_second=585.6,
        classes=tuple(f"class {i}" for i in range(classes)),
        confusion=confused,
        by_class=confused.sum(1) + 1,
        cells=where.graphs(where.parse(CELL)),
        protocol={"Recipe": "nasbench201", "Evil": HOSTILE},
        provenance={"Torch": "2.6"},
    )


@pytest.fixture(scope="module")
def data() -> TrainingReportData:
    return TrainingReportData("Training of a cell", "nasbench201", [record()], [HOSTILE])


def test_the_page_is_whole_and_says_everything(data: TrainingReportData) -> None:
    page = to_html(data)
    assert page == to_html(data)
    assert len(page.encode()) < LIMIT
    for text in ("91.25", "99.61", "0.3012", "3.35 M", "528 M", "14.2 h", "586", "epoch 37", CELL.replace("|", "|")):
        assert text in page
    assert HOSTILE not in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    curves = json.loads(page.split('id="payload">')[1].split("</script>")[0])["lines"]
    assert [chart["title"] for chart in curves["charts"]] == ["Loss", "Accuracy", "Learning rate"]
    shown = [curves["names"][one["name"]]["text"] for one in curves["charts"][1]["curves"][0]]
    assert shown == ["train", "valid"]
    assert floats(curves["charts"][0]["curves"][0][0]["at"]) == list(range(1, 41))
    assert floats(curves["charts"][0]["curves"][0][0]["value"]) == pytest.approx(record().loss, rel=1e-6)


def test_many_epochs_and_trainings_stay_small() -> None:
    long = TrainingReportData("t", "s", [record(f"run {k}", 4_000) for k in range(6)])
    assert len(to_html(long).encode()) < LIMIT
    kept = floats(training_curves(long, 40_000)["charts"][0]["curves"][0][0]["at"])
    assert len(kept) < 4_000
    assert (kept[0], kept[-1]) == (1, 4_000)


def test_classes_that_are_too_many_for_a_matrix_are_listed() -> None:
    worst, mistakes = confusion_tables(record(classes=50))
    assert (len(mistakes.rows), len(worst.rows)) == (20, 20)
    times = [int(row.cells[1].text) for row in mistakes.rows]
    assert times == sorted(times, reverse=True)
    assert all(row.name != row.cells[0].text for row in mistakes.rows)
    (few,) = confusion_tables(record())
    assert [cell.tone > 0 for cell in few.rows[3].cells].index(True) == 3
    assert few.rows[0].cells[-1].text == f"{record().accuracies[0]:.2f}"


def test_what_is_not_known_is_left_out() -> None:
    bare = dataclasses.replace(
        record(), valid=None, test=None, last_test=None, macs=float("nan"), confusion=None, classes=(), by_class=None,
        learning_rate=np.zeros(0), accuracy={}, cells={}, protocol={}, provenance={}, epoch=40,
    )  # fmt: skip
    data = TrainingReportData("bare", "s", [bare])
    assert [c.key for c in summary_table(data).columns] == ["epoch", "params", "seconds", "images_per_second"]
    page = to_html(data)
    assert "No protocol was recorded." in page
    assert 'id="confusion"' not in page
    assert "nan" not in re.sub(r"<script.*?</script>", "", page, flags=re.S).lower().replace("provenance", "")
    assert [chart["title"] for chart in training_curves(data, 10**6)["charts"]] == ["Loss"]


def test_tables_for_papers(tmp_path: Path) -> None:
    two = TrainingReportData("two", "s", [record(), record("second_one", top1=93.5)])
    assert not any(cell.bold for row in summary_table(two).rows for cell in row.cells), "single runs decide nothing"
    rows = to_csv(two).splitlines()
    assert rows[0].startswith("training,test_top1,test_top5,test_loss")
    assert rows[2].startswith("second_one,93.5,")
    assert "| 93.50 |" in to_markdown(two)
    assert r"second\_one" in to_latex(two)
    for name in ("r.html", "r.csv", "r.md", "r.tex"):
        assert write_report(two, tmp_path / name).stat().st_size > 100
    assert [size(v) for v in (254.0, 99_000.0, 240_000.0, 3.3493e6, 23.5e6, 528.4e6, float("nan"))] == [
        "254", "99,000", "0.24 M", "3.35 M", "23.5 M", "528 M", "–",
    ]  # fmt: skip


def test_wrong_values_are_refused() -> None:
    with pytest.raises(InputError, match="at least one training"):
        TrainingReportData("t", "s", [])
    with pytest.raises(InputError, match="two trainings are called 'first'"):
        TrainingReportData("t", "s", [record(), record()])
    with pytest.raises(InputError, match="40 epochs, but valid has 3 values"):
        dataclasses.replace(record(), accuracy={"valid": np.zeros(3)})
    with pytest.raises(InputError, match="confusion matrix"):
        dataclasses.replace(record(), classes=("a",))


@pytest.mark.browser
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_in_a_browser(visit_file: Callable[..., object], tmp_path: Path, width: int, count: int) -> None:
    trainings = [record(f"training {k}", top1=90.0 + k) for k in range(count)]
    path = write_report(TrainingReportData("A training", "nasbench201", trainings, [HOSTILE]), tmp_path / "t.html")
    page = visit_file(path, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width  # type: ignore[attr-defined]
    assert page.locator(".chart .line").count() == 4 * count  # type: ignore[attr-defined]
    field = page.locator(".field").nth(1)  # type: ignore[attr-defined]
    field.focus()
    field.press("ArrowLeft")
    assert "epoch 40" in page.locator("#tip").inner_text()  # type: ignore[attr-defined]
    assert page.locator("#tip .reading i").count() == 2 * count  # type: ignore[attr-defined]
    assert page.locator("#confusion .matrix").count() == count  # type: ignore[attr-defined]
    assert page.locator(".picture img").first.evaluate("image => image.naturalWidth") > 300  # type: ignore[attr-defined]
