"""From the plain values of trainings to what their page shows: every number formatted, every order decided."""

from __future__ import annotations

import base64
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.report.cell_drawing import draw_cells
from prejudge.report.columns import duration
from prejudge.report.rendering import script_json
from prejudge.report.training.columns import count, points, size
from prejudge.report.training.data import SERIES, TrainingRecord, TrainingReportData

MOST_CLASSES = 20
"""Classes that a confusion matrix is shown for; of more the most frequent mistakes are listed."""

_MISTAKES = 20
_DIGITS = 5  # of a value in a curve: more cannot be seen
_FEWEST_POINTS = 50


def facts(data: TrainingReportData) -> list[dict[str, str]]:
    """What a reader wants to know first of the training that is best on the test images."""
    best = max(data.trainings, key=lambda t: t.test.top1 if t.test is not None else -math.inf)
    several = len(data.trainings) > 1
    found = []
    if best.test is not None:
        of = f"{best.name}; " if several else ""
        found.append(
            {
                "label": "Test accuracy" if not several else "Best test accuracy",
                "value": f"{points(best.test.top1)} %",
                "detail": f"{of}top-5 {points(best.test.top5)} %, {count(best.test.images)} images",
            }
        )
    found.append(
        {
            "label": "Selected",
            "value": f"epoch {best.epoch}",
            "detail": f"of {best.epochs}: {best.selection}",
        }
    )
    macs = f"{size(best.macs)} multiply-adds an image" if math.isfinite(best.macs) else "parameters"
    found.append({"label": "Parameters", "value": size(best.params), "detail": macs})
    found.append(
        {
            "label": "Training",
            "value": duration(best.seconds),
            "detail": f"{count(best.images_per_second)} images/s, without evaluation",
        }
    )
    return found


def confusion(training: TrainingRecord) -> dict[str, Any] | None:
    """The confusion matrix with the shade of each cell, for few classes; else the most frequent mistakes."""
    matrix = training.confusion
    if matrix is None:
        return None
    of = matrix.sum(1) if training.by_class is None else training.by_class
    share = matrix / np.maximum(of, 1)[:, None]
    rows = [
        {
            "name": name,
            "accuracy": points(accuracy),
            "cells": [
                {
                    "text": count(int(matrix[i, j])) if matrix[i, j] else "",
                    "value": round(0.12 + 0.68 * float(share[i, j]), 3) if matrix[i, j] else 0.0,
                    "hit": i == j,
                    "title": f"{count(int(matrix[i, j]))} of {count(int(of[i]))} images of {name} "
                    f"taken for {training.classes[j]}",
                }
                for j in range(len(matrix))
            ],
        }
        for i, (name, accuracy) in enumerate(zip(training.classes, training.accuracies, strict=True))
    ]
    if len(matrix) <= MOST_CLASSES:
        return {"classes": list(training.classes), "rows": rows, "mistakes": [], "worst": []}
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MISTAKES]
    mistakes = [
        [training.classes[i], training.classes[j], count(int(wrong[i, j])), count(int(of[i]))]
        for i, j in (np.unravel_index(k, wrong.shape) for k in order)
        if wrong[i, j]
    ]
    accuracies = np.nan_to_num(np.array(training.accuracies), nan=np.inf)
    worst = [[training.classes[i], points(training.accuracies[i]), count(int(of[i]))] for i in np.argsort(accuracies)]
    return {"classes": [], "rows": [], "mistakes": mistakes, "worst": worst[:_MISTAKES]}


def picture(training: TrainingRecord) -> str:
    """The cells as an SVG data URL; empty where they are not known."""
    if not training.cells:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        drawn = draw_cells(training.cells, Path(folder) / "cells.svg").read_bytes()
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn).decode('ascii')}"


def payload(data: TrainingReportData, budget: int) -> dict[str, Any]:
    """What the page's script needs: the curves.

    Args:
        data: The report's content.
        budget: Most bytes of the answer as JSON; where the curves do not fit, each keeps every second epoch, and so on.
    """
    names = [training.name for training in data.trainings]
    longest = max(training.epochs for training in data.trainings)
    stride = 1
    while True:
        charts = [_loss_chart(data, stride), _accuracy_chart(data, stride), _rate_chart(data, stride)]
        content = {"trainings": names, "charts": [chart for chart in charts if chart["series"]]}
        if len(script_json(content)) <= budget or longest / stride < _FEWEST_POINTS:
            return content
        stride *= 2


def _loss_chart(data: TrainingReportData, stride: int) -> dict[str, Any]:
    series = [_series(t, n, "train", t.loss, stride) for n, t in enumerate(data.trainings)]
    return {"title": "Loss", "unit": "", "scale": "log", "series": _drawable(series)}


def _accuracy_chart(data: TrainingReportData, stride: int) -> dict[str, Any]:
    series = [
        _series(t, n, name, t.accuracy[name], stride)
        for n, t in enumerate(data.trainings)
        for name in SERIES
        if name in t.accuracy
    ]
    return {"title": "Accuracy", "unit": "%", "scale": "linear", "series": _drawable(series)}


def _rate_chart(data: TrainingReportData, stride: int) -> dict[str, Any]:
    series = [_series(t, n, "learning rate", t.learning_rate, stride) for n, t in enumerate(data.trainings)]
    return {"title": "Learning rate", "unit": "", "scale": "linear", "series": _drawable(series)}


def _series(training: TrainingRecord, number: int, images: str, values: np.ndarray, stride: int) -> dict[str, Any]:
    kept = np.unique([*range(0, len(values), stride), len(values) - 1]) if len(values) else np.zeros(0, dtype=int)
    return {
        "training": number,
        "images": images,
        "at": (kept + 1).tolist(),
        "values": [_rounded(float(values[k])) for k in kept],
        "selected": training.epoch,
    }


def _drawable(series: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in series if any(value is not None for value in one["values"])]


def _rounded(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
