"""Figures that papers publish, as recipes state them, beside those of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prejudge.errors import InputError, PrejudgeError, quoted, unknown

if TYPE_CHECKING:
    from prejudge.report import ReportPage

STATES = {
    "verified": "read in the paper, in a figure of it, or in the repository of its authors",
    "quoted": "as others quote it, or from memory: not checked against the paper",
}
"""The degrees to which a published figure has been checked."""

LEAST_RUNS = 10
"""Runs below which their mean gets no interval."""

_NORMAL = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""


@dataclass(frozen=True)
class PublishedFigure:
    """A figure of a paper.

    Attributes:
        what: The figure in words. With "error" in it, it is 100 minus the accuracy in per cent; with "top-5", of the
            five likeliest classes.
        value: The figure.
        source: Where it is published.
        status: One of :data:`STATES`.
        spread: Standard deviation as published; None where there is none.
        step: The step of the recipe whose result has the same figure; empty where none has.
        metric: Column of the step's table that has it, where the step is a search with a table.
    """

    what: str
    value: float
    source: str
    status: str
    spread: float | None = None
    step: str = ""
    metric: str = ""

    def __post_init__(self) -> None:
        if self.status not in STATES:
            raise unknown("status of a published figure", self.status, STATES)
        for name in ("value", "spread"):
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not is_number and not (name == "spread" and value is None):
                raise InputError(f"published: {name} must be a number, not {quoted(value)}")

    @property
    def published(self) -> str:
        """Value and spread as a text."""
        return f"{self.value:g}" + ("" if self.spread is None else f" ± {self.spread:g}")


@dataclass(frozen=True)
class FigureComparison:
    """A published figure beside that of a run.

    Attributes:
        figure: The published one.
        here: The run's; None where it has none.
        interval: Its 95 % interval: Wilson's for the images of a test, Student's for the mean of at least
            :data:`LEAST_RUNS` runs; None where there is none.
    """

    figure: PublishedFigure
    here: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def is_inside(self) -> bool | None:
        """Whether the interval or the figure comes within the published spread; None where neither is known."""
        if self.here is None or (self.interval is None and self.figure.spread is None):
            return None
        low, high = self.interval or (self.here, self.here)
        spread = self.figure.spread or 0.0
        return low - spread <= self.figure.value <= high + spread

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self.figure), "here": self.here, "interval": self.interval, "inside": self.is_inside}


def read_figures(content: Any) -> tuple[PublishedFigure, ...]:
    """The figures of a recipe's ``published``: one mapping, or a list of them.

    Raises:
        InputError: Something else is there, or a field is missing, unknown or of the wrong kind.
    """
    if content is None:
        return ()
    found = []
    for each in content if isinstance(content, list) else [content]:
        if not isinstance(each, Mapping):
            raise InputError(f"published: a figure has {', '.join(_names())}; it is not {quoted(each)}")
        for name in each:
            if name not in _names():
                raise unknown("field of a published figure", name, _names())
        missing = [name for name in ("what", "value", "source", "status") if name not in each]
        if missing:
            raise InputError(f"published: {quoted(each.get('what', 'a figure'))} has no {', '.join(missing)}")
        found.append(PublishedFigure(**each))
    return tuple(found)


def compare(figure: PublishedFigure, place: Path | None, benchmark: str = "") -> FigureComparison:
    """A published figure beside the one in a step's result.

    Args:
        figure: The published one.
        place: The step's result: the file of a test, the folder of a training, or the file of a search.
        benchmark: Table of the search, in which its recommendations are looked up.
    """
    if place is None:
        return FigureComparison(figure)
    try:
        if figure.metric:
            return _of_runs(figure, _looked_up(place, benchmark, figure.metric))
        content = json.loads((place / "test.json" if place.is_dir() else place).read_text(encoding="utf-8"))
        share = float(content["top5" if "top-5" in figure.what else "top1"]) / 100
        return _of_images(figure, share, int(content["images"]))
    except (OSError, ValueError, KeyError, TypeError, PrejudgeError):
        return FigureComparison(figure)


def _names() -> list[str]:
    return [field.name for field in fields(PublishedFigure)]


def _looked_up(place: Path, benchmark: str, metric: str) -> np.ndarray:
    """The accuracy of what every run of a search recommends, in per cent."""
    from prejudge.benchmarks import Metric
    from prejudge.benchmarks import benchmark as find
    from prejudge.search import read_result
    from prejudge.search.result_table import recommended_accuracies

    column = Metric.parse(metric)
    found = recommended_accuracies(read_result(place), find(benchmark), [column])[str(column)]
    return np.asarray(found, dtype=np.float64)


def _of_runs(figure: PublishedFigure, values: np.ndarray) -> FigureComparison:
    from scipy.stats import t

    values = 100 - values if "error" in figure.what else values
    here = float(values.mean())
    if not math.isfinite(here):
        return FigureComparison(figure)
    if len(values) < LEAST_RUNS:
        return FigureComparison(figure, here)
    half = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return FigureComparison(figure, here, (here - half, here + half))


def _of_images(figure: PublishedFigure, share: float, images: int) -> FigureComparison:
    share = 1 - share if "error" in figure.what else share
    z2 = _NORMAL**2 / images
    middle = (share + z2 / 2) / (1 + z2)
    half = _NORMAL / (1 + z2) * math.sqrt(share * (1 - share) / images + z2 / (4 * images))
    return FigureComparison(figure, 100 * share, (100 * (middle - half), 100 * (middle + half)))


def rows(found: Sequence[FigureComparison]) -> list[list[Any]]:
    """A row for each figure: what it is, as published, here, the interval, whether it is inside, status, source."""
    return [
        [
            each.figure.what,
            each.figure.published,
            "" if each.here is None else f"{each.here:.2f}",
            "" if each.interval is None else "{:.2f} to {:.2f}".format(*each.interval),
            {True: "yes", False: "no", None: ""}[each.is_inside],
            each.figure.status,
            each.figure.source,
        ]
        for each in found
    ]


COLUMNS = ("figure", "published", "here", "95 % interval", "inside", "status", "source")
"""The columns of :func:`rows`."""


def figures_page(title: str, found: Sequence[FigureComparison]) -> ReportPage:
    """The page of a run's figures beside those that its paper publishes.

    Args:
        title: Title of the recipe.
        found: At least one.
    """
    import pandas as pd

    from prejudge.report.blocks import DataTable, ReportPage, Section, Summary, TableCell, TableColumn, TableRow

    columns = tuple(
        TableColumn(heading.replace(" ", "_"), heading, layout="text" if heading == "source" else "number")
        for heading in COLUMNS[1:]
    )
    lines = tuple(TableRow(row[0], tuple(TableCell(text) for text in row[1:])) for row in rows(found))
    inside = [each.is_inside for each in found if each.is_inside is not None]
    table = DataTable("Published figures", COLUMNS[0], columns, lines, _RULE, printed=True)
    return ReportPage(
        kind="prejudge report of published figures",
        title=title,
        space="",
        lede=((f"{len(found)}", "published figures, beside those of this run."),),
        summaries=(Summary((("inside", f"{inside.count(True)} of {len(inside)}", "that were found here"),)),),
        sections=(Section("figures", "Figures", "Published and found here", (table,)),),
        records=pd.DataFrame([each.as_dict() for each in found]),
    )


_RULE = (
    "Inside: the 95 % interval of the figure here (of a test, by its images; of searches, by at least ten seeds), or "
    "the figure itself where it has none, comes within the published spread. Verified: "
    f"{STATES['verified']}. Quoted: {STATES['quoted']}."
)
