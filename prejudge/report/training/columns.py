"""The numbers of trainings as a reader wants to see them, the same in every output format."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from prejudge.report.columns import DASH, duration
from prejudge.report.training.data import Tested, TrainingRecord, TrainingReportData


@dataclass(frozen=True)
class SummaryColumn:
    """One column of the summary.

    Attributes:
        key: Its name in CSV.
        heading: What stands above it.
        meaning: One sentence for the reader.
        value: The number, NaN where there is none.
        text: The number as it is shown.
        best: ``max`` or ``min`` of several trainings is in bold; empty: none.
    """

    key: str
    heading: str
    meaning: str
    value: Callable[[TrainingRecord], float]
    text: Callable[[float], str]
    best: str = ""


def points(value: float) -> str:
    """An accuracy in per cent."""
    return f"{value:.2f}" if math.isfinite(value) else DASH


def size(value: float) -> str:
    """Weights or operations: whole below 100,000, else in millions with three digits that count."""
    if not math.isfinite(value):
        return DASH
    shown = value / 1e6
    if shown < 0.1:
        return f"{round(value):,}"
    return f"{shown:,.0f} M" if shown >= 100 else f"{shown:.1f} M" if shown >= 10 else f"{shown:.2f} M"


def count(value: float) -> str:
    """A whole number."""
    return f"{round(value):,}" if math.isfinite(value) else DASH


def _loss(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else DASH


def _of(name: str, quantity: str) -> Callable[[TrainingRecord], float]:
    def value(training: TrainingRecord) -> float:
        tested: Tested | None = getattr(training, name)
        return math.nan if tested is None else float(getattr(tested, quantity))

    return value


COLUMNS = (
    SummaryColumn(
        "test_top1",
        "Test top-1 %",
        "Test images whose class comes first.",
        _of("test", "top1"),
        points,
        "max",
    ),
    SummaryColumn(
        "test_top5",
        "Test top-5 %",
        "Test images whose class is among the first five.",
        _of("test", "top5"),
        points,
        "max",
    ),
    SummaryColumn(
        "test_loss",
        "Test loss",
        "Mean cross-entropy of the test images.",
        _of("test", "loss"),
        _loss,
        "min",
    ),
    SummaryColumn(
        "last_test_top1",
        "Last epoch %",
        "Test images whose class comes first after the last epoch, whichever was selected.",
        _of("last_test", "top1"),
        points,
    ),
    SummaryColumn(
        "valid_top1",
        "Valid top-1 %",
        "Validation images whose class comes first.",
        _of("valid", "top1"),
        points,
    ),
    SummaryColumn("epoch", "Epoch", "The epoch whose network this is.", lambda t: float(t.epoch), count),
    SummaryColumn(
        "params",
        "Params",
        "Trainable weights of the network, without the auxiliary classifier.",
        lambda t: float(t.params),
        size,
    ),
    SummaryColumn("macs", "MACs", "Multiply-adds of one image.", lambda t: t.macs, size),
    SummaryColumn(
        "seconds",
        "Training",
        "Time of all training steps, without evaluation.",
        lambda t: t.seconds,
        duration,
    ),
    SummaryColumn(
        "images_per_second",
        "Images/s",
        "Images learned per second, by all processes together.",
        lambda t: t.images_per_second,
        count,
    ),
)
"""All columns that a summary can have."""


def summary_columns(data: TrainingReportData) -> list[SummaryColumn]:
    """The columns that the trainings have numbers for; that of the last epoch only where another one was selected."""
    known = [c for c in COLUMNS if any(math.isfinite(c.value(t)) for t in data.trainings)]
    selected = any(t.epoch != t.epochs for t in data.trainings)
    return [c for c in known if c.key != "last_test_top1" or selected]


def summary_rows(data: TrainingReportData) -> list[list[str]]:
    """The name of each training, and the cells of :func:`summary_columns`."""
    columns = summary_columns(data)
    return [[t.name, *(c.text(c.value(t)) for c in columns)] for t in data.trainings]


def best_cells(data: TrainingReportData) -> frozenset[tuple[str, int]]:
    """The best of several trainings in each column that is about quality: name, and number of the column from 1."""
    if len(data.trainings) < 2:
        return frozenset()
    found = set()
    for number, column in enumerate(summary_columns(data), start=1):
        values = [(column.value(t), t.name) for t in data.trainings if math.isfinite(column.value(t))]
        if column.best and values:
            best = (max if column.best == "max" else min)(value for value, _ in values)
            found |= {(name, number) for value, name in values if value == best}
    return frozenset(found)
