"""Confusion matrices: for few classes the matrix, for many the classes and mistakes that stand out."""

from __future__ import annotations

import numpy as np

from prejudge.report import numbers
from prejudge.report.blocks import DataTable, TableCell, TableColumn, TableRow
from prejudge.report.training.data import TrainingRecord

MOST_CLASSES = 20
"""Classes that a confusion matrix is shown for; of more the most frequent mistakes are listed."""

_LISTED = 20
_RIGHT = TableColumn("right", "right, %", text=numbers.points)
_WORST = (TableColumn("accuracy", "Right %", text=numbers.points), TableColumn("images", "Images"))
_MISTAKES = (TableColumn("other", "Taken for"), TableColumn("times", "Times"), TableColumn("images", "Of"))


def confusion_tables(training: TrainingRecord) -> tuple[DataTable, ...]:
    """The confusion matrix, or of many classes the worst ones and the most frequent mistakes; nothing where unknown."""
    if training.confusion is None:
        return ()
    images = training.confusion.sum(1) if training.by_class is None else training.by_class
    if len(training.classes) <= MOST_CLASSES:
        return (_matrix(training, training.confusion, images),)
    return _worst(training, images), _mistakes(training, training.confusion, images)


def _matrix(training: TrainingRecord, confusion: np.ndarray, images: np.ndarray) -> DataTable:
    classes = training.classes
    shares = confusion / np.maximum(images, 1)[:, None]

    def cell(i: int, j: int) -> TableCell:
        times, tone = int(confusion[i, j]), round(0.12 + 0.68 * float(shares[i, j]), 3)
        return TableCell(
            numbers.count(times) if times else "",
            title=f"{numbers.count(times)} of {numbers.count(int(images[i]))} images of {classes[i]} taken for "
            f"{classes[j]}",
            tone=0.0 if not times else tone if i == j else -tone,
        )

    rows = tuple(
        TableRow(name, (*(cell(i, j) for j in range(len(classes))), _RIGHT.cell(right, kind="plain")))
        for i, (name, right) in enumerate(zip(classes, training.accuracies, strict=True))
    )
    columns = (*(TableColumn(name, name) for name in classes), _RIGHT)
    return DataTable(f"Confusion matrix of {training.name}", "", columns, rows, layout="matrix")


def _worst(training: TrainingRecord, images: np.ndarray) -> DataTable:
    order = np.argsort(np.nan_to_num(np.array(training.accuracies), nan=np.inf))[:_LISTED]
    rows = tuple(
        TableRow(training.classes[i], (_WORST[0].cell(training.accuracies[i]), _WORST[1].cell(int(images[i]))))
        for i in order
    )
    return DataTable(f"Classes that {training.name} confuses most", "Class", _WORST, rows)


def _mistakes(training: TrainingRecord, confusion: np.ndarray, images: np.ndarray) -> DataTable:
    wrong = confusion - np.diag(np.diag(confusion))
    rows = []
    for k in np.argsort(-wrong, axis=None, kind="stable")[:_LISTED]:
        i, j = np.unravel_index(k, wrong.shape)
        if wrong[i, j]:
            cells = (_MISTAKES[1].cell(int(wrong[i, j])), _MISTAKES[2].cell(int(images[i])))
            rows.append(TableRow(training.classes[i], (TableCell(training.classes[j]), *cells)))
    return DataTable(f"Most frequent mistakes of {training.name}", "Class", _MISTAKES, tuple(rows))
