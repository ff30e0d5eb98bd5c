"""The correlation table for papers and scripts: CSV, Markdown and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prejudge.report.columns import DASH, columns, numbers, precision_column
from prejudge.report.data import ROLES, ReportData
from prejudge.report.typesetting import PrintTable, latex_tables, markdown_tables

if TYPE_CHECKING:
    import pandas as pd


def to_csv(data: ReportData, metric: str | None = None, stratum: str | None = None) -> str:
    """The correlations in full precision, one row per metric, stratum and proxy.

    Args:
        data: The report's content.
        metric: Text of the only metric to write; None writes all.
        stratum: Name of the only stratum to write; None writes all.

    Returns:
        CSV text with a header: every column of ``data.correlations``, then ``role`` and ``space``; a missing number
        is an empty field.

    Raises:
        InputError: There is no such metric or stratum.
    """
    rows = data.rows(metric, stratum)
    rows["role"] = [data.role(str(proxy)) for proxy in rows["proxy"]]
    rows["space"] = data.space
    return rows.to_csv(index=False, lineterminator="\n")


def to_markdown(data: ReportData, metric: str | None = None, stratum: str | None = None) -> str:
    """The correlation table as Markdown, one table per metric and stratum.

    Args:
        data: The report's content.
        metric: Text of the only metric to write; None writes all.
        stratum: Name of the only stratum to write; None writes all.

    Returns:
        Markdown text; proxies by descending Spearman, then baselines, then ensembles; the best of a column in bold.

    Raises:
        InputError: There is no such metric or stratum.
    """
    return markdown_tables(data.title, _print_tables(data, metric, stratum))


def to_latex(data: ReportData, metric: str | None = None, stratum: str | None = None) -> str:
    r"""The correlation table as LaTeX, one ``table`` environment per metric and stratum.

    Args:
        data: The report's content.
        metric: Text of the only metric to write; None writes all.
        stratum: Name of the only stratum to write; None writes all.

    Returns:
        LaTeX text that needs ``\usepackage{booktabs}`` and nothing else; groups divided by ``\midrule``, the
        best of a column in bold.

    Raises:
        InputError: There is no such metric or stratum.
    """
    return latex_tables(_print_tables(data, metric, stratum))


def _print_tables(data: ReportData, metric: str | None, stratum: str | None) -> Iterator[PrintTable]:
    data.rows(metric, stratum)  # an unknown name fails before anything is written
    for chosen_metric in [metric] if metric is not None else data.metrics:
        for chosen_stratum in [stratum] if stratum is not None else data.strata:
            rows = data.rows(chosen_metric, chosen_stratum)
            if len(rows):
                yield _print_table(data, rows, chosen_metric, chosen_stratum)


def _print_table(data: ReportData, rows: pd.DataFrame, metric: str, stratum: str) -> PrintTable:
    known = {column.key: column for column in columns(data)}
    precision = precision_column(data)
    wanted = [
        "n",
        "spearman",
        "kendall",
        "weighted_tau",
        "partial_spearman",
        precision.key if precision else "",
        "regret",
        "seconds",
    ]
    chosen = [known[key] for key in wanted if key in known]
    values = {column.key: numbers(rows, column.key) for column in chosen}
    low, high = numbers(rows, "spearman_low"), numbers(rows, "spearman_high")
    bootstrap = any(map(math.isfinite, low))
    names = [str(name) for name in rows["proxy"]]
    roles = [data.role(name) for name in names]

    cells = []
    for i, name in enumerate(names):
        row = [name]
        for column in chosen:
            text = _seconds(values["seconds"][i]) if column.key == "seconds" else column.text(values[column.key][i])
            if column.key == "spearman" and bootstrap and math.isfinite(low[i]):
                text += f" [{column.text(low[i])}, {column.text(high[i])}]"
            row.append(text)
        cells.append(tuple(row))

    spearman = [value if math.isfinite(value) else -math.inf for value in numbers(rows, "spearman")]
    order = sorted(range(len(names)), key=lambda i: (ROLES.index(roles[i]), -spearman[i], names[i]))
    groups = tuple(tuple(cells[i] for i in order if roles[i] == role) for role in ROLES if role in roles)
    best = frozenset(
        (names[i], 1 + j)
        for j, column in enumerate(chosen)
        if column.higher_is_better is not None
        and column.key != "seconds"
        and any(map(math.isfinite, values[column.key]))
        for i in _extreme(values[column.key], column.higher_is_better)
    )
    headings = ("Proxy", *("s/arch" if column.key == "seconds" else column.heading for column in chosen))
    ceilings = [value for value in numbers(rows, "noise_ceiling") if math.isfinite(value)]
    ceiling = sorted(ceilings)[len(ceilings) // 2] if ceilings else math.nan
    heading = f"{data.space}: {metric}, {stratum} architectures"
    return PrintTable(heading, _caption(ceiling, bootstrap), headings, groups, best)


def _extreme(values: list[float], highest: bool) -> list[int]:
    finite = [value for value in values if math.isfinite(value)]
    target = max(finite) if highest else min(finite)
    return [i for i, value in enumerate(values) if value == target]


def _caption(ceiling: float, bootstrap: bool) -> str:
    parts = ["Correlations are signed by each proxy's declared direction"]
    if bootstrap:
        parts.append("brackets are bootstrap intervals")
    if math.isfinite(ceiling):
        parts.append(f"the noise ceiling of ρ is {ceiling:.3f}")
    return "; ".join(parts) + "."


def _seconds(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else DASH
