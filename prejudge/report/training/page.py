"""From the values of trainings to their page."""

from __future__ import annotations

import base64
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prejudge.report import numbers
from prejudge.report.blocks import (
    Block,
    Charts,
    DataTable,
    Definitions,
    Group,
    Paragraph,
    Picture,
    ReportPage,
    Section,
    Summary,
    TableColumn,
    TableRow,
    origin_sections,
)
from prejudge.report.cell_drawing import draw_cells
from prejudge.report.curves import Curve, LineChart, line_content
from prejudge.report.training.confusion import confusion_tables
from prejudge.report.training.data import SERIES, TrainingRecord, TrainingReportData

if TYPE_CHECKING:
    import pandas as pd


def _of(images: str, quantity: str) -> Callable[[TrainingRecord], float]:
    def value(training: TrainingRecord) -> float:
        tested = getattr(training, images)
        return math.nan if tested is None else float(getattr(tested, quantity))

    return value


_COLUMNS: dict[TableColumn, Callable[[TrainingRecord], float]] = {
    TableColumn("test_top1", "Test top-1 %", "Test images whose class comes first.",
                numbers.points, "high"): _of("test", "top1"),
    TableColumn("test_top5", "Test top-5 %", "Test images whose class is among the first five.",
                numbers.points, "high"): _of("test", "top5"),
    TableColumn("test_loss", "Test loss", "Mean cross-entropy of the test images.",
                numbers.loss, "low"): _of("test", "loss"),
    TableColumn("last_test_top1", "Last epoch %",
                "Test images whose class comes first after the last epoch, whichever was selected.",
                numbers.points): _of("last_test", "top1"),
    TableColumn("valid_top1", "Valid top-1 %", "Validation images whose class comes first.",
                numbers.points): _of("valid", "top1"),
    TableColumn("epoch", "Epoch", "The epoch whose network this is."): lambda t: float(t.epoch),
    TableColumn("params", "Params", "Trainable weights of the network, without the auxiliary classifier.",
                numbers.size): lambda t: float(t.params),
    TableColumn("macs", "MACs", "Multiply-adds of one image.", numbers.size): lambda t: t.macs,
    TableColumn("seconds", "Training", "Time of all training steps, without evaluation.",
                numbers.duration): lambda t: t.seconds,
    TableColumn("images_per_second", "Images/s", "Images learned per second, by all processes together."):
        lambda t: t.images_per_second,
}  # fmt: skip
"""All columns that a summary can have, and where their numbers come from (NaN where there is none)."""


def training_page(data: TrainingReportData) -> ReportPage:
    """Compose the report on trainings."""
    several = len(data.trainings) > 1
    first = data.trainings[0]
    names = ", ".join(training.name for training in data.trainings)
    origins = [
        section
        for number, t in enumerate(data.trainings, 1)
        for section in origin_sections(t.protocol, t.provenance, t.name if several else "", number)
    ]
    return ReportPage(
        kind=f"prejudge report of {'trainings' if several else 'a training'}",
        title=data.title,
        space=data.space,
        lede=((f"{len(data.trainings)}", f"trainings: {names}."),)
        if several
        else ((f"{first.epochs}", f"epochs; the result is {first.selection}."),),
        summaries=(_summary(data),),
        sections=(
            _summary_section(data),
            _curve_section(data),
            *_confusion_sections(data),
            Section("cells", "Architecture", "Which architecture?", _architectures(data)),
            *origins,
        ),
        records=summary_frame(data),
        warnings=tuple(data.warnings),
        closing="All figures are those of the training's folder; nothing was computed for this page.",
    )


def summary_frame(data: TrainingReportData) -> pd.DataFrame:
    """One row per training: ``training``, every column of the summary, ``selection`` and ``architecture``."""
    import pandas as pd

    rows = [
        {"training": t.name}
        | {column.key: value(t) for column, value in _COLUMNS.items()}
        | {"selection": t.selection, "architecture": t.architecture}
        for t in data.trainings
    ]
    return pd.DataFrame(rows)


def summary_table(data: TrainingReportData) -> DataTable:
    """The summary of the trainings: columns with numbers; that of the last epoch only where another was selected."""
    found = {column: [value(t) for t in data.trainings] for column, value in _COLUMNS.items()}
    selected = any(t.epoch != t.epochs for t in data.trainings)
    shown = {
        column: values
        for column, values in found.items()
        if any(map(math.isfinite, values)) and (column.key != "last_test_top1" or selected)
    }
    rows = tuple(
        TableRow(t.name, tuple(c.cell(values[k]) for c, values in shown.items()), note=t.selection)
        for k, t in enumerate(data.trainings)
    )
    return DataTable(
        f"{data.space}: trainings",
        "Training",
        tuple(shown),
        rows,
        "The network is " + "; ".join(dict.fromkeys(t.selection for t in data.trainings)) + ".",
        printed=True,
    )


def _summary(data: TrainingReportData) -> Summary:
    """The training that is best on the test images."""
    best = max(data.trainings, key=lambda t: t.test.top1 if t.test is not None else -math.inf)
    several = len(data.trainings) > 1
    figures = []
    if best.test is not None:
        detail = f"top-5 {numbers.points(best.test.top5)} %, {numbers.count(best.test.images)} images"
        figures.append(
            (
                "Best test accuracy" if several else "Test accuracy",
                f"{numbers.points(best.test.top1)} %",
                f"{best.name}; {detail}" if several else detail,
            )
        )
    macs = f"{numbers.size(best.macs)} multiply-adds an image" if math.isfinite(best.macs) else "parameters"
    speed = f"{numbers.count(best.images_per_second)} images/s, without evaluation"
    figures += [
        ("Selected", f"epoch {best.epoch}", f"of {best.epochs}: {best.selection}"),
        ("Parameters", numbers.size(best.params), macs),
        ("Training", numbers.duration(best.seconds), speed),
    ]
    return Summary(tuple(figures))


def _summary_section(data: TrainingReportData) -> Section:
    table = summary_table(data)
    single = " Each is one run: small differences may be luck, so none is in bold." if len(data.trainings) > 1 else ""
    return Section(
        "summary",
        "Summary",
        "What came out, and what did it cost?",
        (table, Definitions(table.legend, legend=True)),
        (f"The result is the network of one epoch; how that was chosen stands below each name.{single}",),
    )


def _curve_section(data: TrainingReportData) -> Section:
    return Section(
        "curves",
        "Curves",
        "How did it go?",
        (Charts("lines", lambda budget: training_curves(data, budget)),),
        (
            "After each epoch. Loss and accuracy of the training images were measured while they were learned, "
            "augmented and with dropped paths; those of other images without. The vertical line is the epoch whose "
            "network is the result. Point at a plot (or focus it and use the arrow keys) to read it; click a name to "
            "hide its line.",
        ),
        "The curves need JavaScript; the table above says where they end.",
    )


def _confusion_sections(data: TrainingReportData) -> list[Section]:
    found = [(t.name, tables) for t in data.trainings if (tables := confusion_tables(t))]
    if not found:
        return []
    several = len(data.trainings) > 1
    groups = tuple(Group(name if several else "", tables) for name, tables in found)
    text = (
        "Test images of each class (rows) by the class that the network takes them for (columns); the shade is the "
        "share of the row."
    )
    return [Section("confusion", "Confusion", "What is taken for what?", groups, (text,), group_width=560)]


def _architectures(data: TrainingReportData) -> tuple[Block, ...]:
    """Each architecture once: the names of its trainings, its cells and its text."""
    names: dict[str, list[str]] = {}
    for training in data.trainings:
        names.setdefault(training.architecture, []).append(training.name)
    first = {training.architecture: training for training in reversed(data.trainings)}
    found: list[Block] = []
    for text, of in names.items():
        drawn = _picture(first[text], ", ".join(of))
        blocks: tuple[Block, ...] = (*drawn, Paragraph(text, code=True))
        found += [Group(", ".join(of), blocks)] if len(data.trainings) > 1 else blocks
    return tuple(found)


def _picture(training: TrainingRecord, names: str) -> tuple[Picture, ...]:
    """The cells as an SVG data URL; nothing where they are not known."""
    if not training.cells:
        return ()
    with tempfile.TemporaryDirectory() as folder:
        drawn = draw_cells(training.cells, Path(folder) / "cells.svg").read_bytes()
    url = f"data:image/svg+xml;base64,{base64.b64encode(drawn).decode('ascii')}"
    return (Picture(url, f"The cells of {names}"),)


def training_curves(data: TrainingReportData, budget: int) -> dict[str, Any]:
    """Content of the line charts, in at most ``budget`` bytes where the curves can be thinned so far.

    One training: a color for each kind of images. Several: a color for each training, a dash for each kind.
    """
    several = len(data.trainings) > 1
    kinds = [*SERIES, "learning rate"]
    names = [
        {
            "text": f"{t.name}, {kind}" if several else kind,
            "color": k if several else number % len(SERIES),
            "dash": number % len(SERIES) if several else 0,
            "unnamed": kind == "learning rate",
        }
        for k, t in enumerate(data.trainings)
        for number, kind in enumerate(kinds)
    ]
    charts = []
    for title, about, wanted in (
        ("Loss", {"unit": "", "log": True}, "loss"),
        ("Accuracy", {"unit": "%", "decimals": 2}, "accuracy"),
        ("Learning rate", {"unit": ""}, "learning rate"),
    ):
        curves = []
        for k, t in enumerate(data.trainings):
            for number, kind in enumerate(kinds):
                values = _series(t, kind, wanted)
                if np.isfinite(values).any():
                    curves.append(Curve(k * len(kinds) + number, np.arange(1, t.epochs + 1), {"value": values}))
        if curves:
            shown = {data.trainings[c.name // len(kinds)].epoch for c in curves}
            marks = [{"axis": 0, "at": epoch, "text": ""} for epoch in sorted(shown)]
            charts.append(LineChart(title, {"note": "", "label": title.lower(), "marks": marks, **about}, [curves]))
    common = {
        "names": names,
        "axes": [{"label": "epochs", "before": "epoch ", "whole": True}],
        "scales": [{"label": "", "log": False, "caption": ""}],
        "bands": [["value"]],
        "steps": False,
    }
    return line_content(common, charts, budget)


def _series(training: TrainingRecord, kind: str, chart: str) -> np.ndarray:
    """The numbers of one kind of images in one chart; empty where it has none."""
    none = np.zeros(0)
    if chart == "accuracy":
        return np.asarray(training.accuracy.get(kind, none))
    if chart == "loss":
        return np.asarray(training.loss) if kind == "train" else none
    return np.asarray(training.learning_rate) if kind == chart else none
