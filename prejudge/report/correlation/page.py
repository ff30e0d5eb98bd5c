"""From the values of a correlation report to its page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from prejudge.report import numbers
from prejudge.report.blocks import (
    Bar,
    Charts,
    DataTable,
    Definitions,
    Paragraph,
    ReportPage,
    Section,
    Summary,
    TableCell,
    TableColumn,
    TableRow,
    origin_sections,
)
from prejudge.report.correlation.data import ROLES, ReportData
from prejudge.report.correlation.points import embed_points
from prejudge.report.correlation.table import correlation_tables

MOST_FAILURE_GROUPS = 200
MOST_EXAMPLES = 3
MOST_TEXT = 400  # characters of one reason or one example

_POINTS_BUDGET = (100_000, 1_300_000)
_FAILURES = (
    TableColumn("reason", "Reason", layout="text"),
    TableColumn("architectures", "Architectures"),
    TableColumn("scores", "Scores"),
    TableColumn("examples", "For example", layout="code"),
)
_COSTS = (
    TableColumn("bar", "Share", layout="bar", printed=False),
    TableColumn("seconds", "s/arch", text=numbers.significant),
    TableColumn("thousand", "per 1,000", text=numbers.duration),
)


def correlation_page(data: ReportData, metric: str | None = None, stratum: str | None = None) -> ReportPage:
    """Compose the report on scores.

    Args:
        data: Its content.
        metric: Text of the only metric to show; None shows all.
        stratum: Name of the only stratum to show; None shows all.

    Raises:
        InputError: There is no such metric or stratum.
    """
    records = data.rows(metric, stratum)
    records["role"] = [data.role(str(proxy)) for proxy in records["proxy"]]
    records["space"] = data.space
    metrics = [metric] if metric is not None else data.metrics
    strata = [stratum] if stratum is not None else data.strata
    tables = list(correlation_tables(data, metrics, strata))
    failed = 0 if data.failures is None else len(data.failures)
    return ReportPage(
        kind="prejudge report",
        title=data.title,
        space=data.space,
        lede=_lede(data, failed),
        summaries=tuple(_summary(table) for table in tables),
        sections=(
            _correlation_section(tables),
            _scatter_section(data, tables),
            _agreement_section(data),
            _cost_section(data),
            _failure_section(data, failed),
            *origin_sections(data.protocol, data.provenance),
        ),
        records=records,
        warnings=tuple(data.warnings),
        closing="Correlations are signed by each score's declared direction, never by what the data preferred.",
        choices={"Metric": metrics, "Architectures": strata} if tables else {},
    )


def _lede(data: ReportData, failed: int) -> tuple[tuple[str, str], ...]:
    metrics = len(data.metrics)
    connected = None if data.connected is None else int(data.connected.sum())
    some = connected is not None and connected != len(data.scores)
    return (
        (f"{len(data.scores):,}", "architectures," if some else "architectures;"),
        *([(f"{connected:,}", "of them connected;")] if some else []),
        (f"{len(data.scores.columns)}", "scores each;"),
        (f"{metrics}", f"{'metric' if metrics == 1 else 'metrics'} of trained accuracy;"),
        (f"{failed:,}" if failed else "no", f"{'score' if failed <= 1 else 'scores'} failed."),
    )


def _summary(table: DataTable) -> Summary:
    """The best proxy, baseline and ensemble, and the noise ceiling."""
    figures = []
    for role in ROLES:
        row = next((row for row in table.rows if row.group == role and row.cells[0].value is not None), None)
        bar = row.cells[0].bar if row is not None else None
        if row is None or bar is None:
            nothing = "no proxy has a value" if role == "proxy" else f"no {role} in the table"
            figures.append((f"Best {role} ρ", numbers.DASH, nothing))
            continue
        rho, low, high = (_two_digits(value) for value in (bar.value, bar.low, bar.high))
        why = row.cells[1].title  # of Spearman's correlation
        interval = f" [{low}, {high}]" if numbers.DASH not in (low, high) else f", {why}" if why else ""
        figures.append((f"Best {role} ρ", rho, f"{row.name}{interval}"))
    bars = [row.cells[0].bar for row in table.rows]
    known = sorted(bar.mark for bar in bars if bar is not None and bar.mark is not None)
    detail = "how far retraining agrees with the table" if known else "not known for this metric"
    ceiling = ("Noise ceiling", _two_digits(known[len(known) // 2] if known else None), detail)
    return Summary((*figures, ceiling), table.when)


def _two_digits(value: float | None) -> str:
    return numbers.fixed(math.nan if value is None else value, 2)


def _correlation_section(tables: list[DataTable]) -> Section:
    if not tables:
        nothing = (Paragraph("There is no correlation to show: no metric was compared."),)
        return Section("correlation", "Correlation", "How well does each score predict?", nothing)
    metric, stratum = tables[0].when
    return Section(
        "correlation",
        "Correlation",
        "How well does each score predict?",
        (*tables, Definitions(tables[0].legend, legend=True)),
        (
            "Each row ranks the architectures by a score of the untrained network and compares that ranking with the "
            "one by trained accuracy. ρ = 1 is the same order, 0 is chance, below 0 is worse than chance. The "
            "whisker is the interval that resampling the architectures gives: where two whiskers overlap widely, do "
            "not call one score better. In bold: the best, and all whose intervals overlap with its own. The dashed "
            "line is the noise ceiling, what accuracy itself reaches when the training is repeated. A score is worth "
            "its price only if it beats the baselines, which merely count. Click a heading to sort.",
        ),
        f"JavaScript is off: this is the table of {metric} over {stratum} architectures; prejudge report --format csv "
        "writes all of them.",
        context=(0, 1),
    )


def _scatter_section(data: ReportData, tables: list[DataTable]) -> Section:
    rho = [[table.when, {row.name: row.cells[0].value for row in table.rows}] for table in tables]

    def content(budget: int) -> Mapping[str, Any]:
        least, most = _POINTS_BUDGET
        spent = len(json.dumps(rho))
        return {"unit": data.unit, "rho": rho, "points": embed_points(data, max(least, min(most, budget - spent)))}

    return Section(
        "scatter",
        "Scatter",
        "Score against accuracy",
        (Charts("scatter", content, {"What to draw": ("All", "Best half", "Ranks")}),) if tables else (),
        (
            "One dot is one architecture: its score to the right, its trained accuracy upwards. A good score climbs "
            "steadily from bottom left to top right (or falls, where a low score is meant to be better: marked ↓). "
            "Blue dots are connected cells, orange rings cells whose output does not depend on the image. Axes are "
            "logarithmic where scores span decades. “Best half” looks only at the better half by accuracy, where the "
            "choice is hard; “Ranks” shows what ρ measures. Point at a dot to name its architecture and find it in "
            "every plot; click a plot to enlarge it.",
        ),
        "The scatter plots need JavaScript.",
        context=(0,) if tables else "",
    )


def _agreement_section(data: ReportData) -> Section:
    text = (
        "Rank correlation between every two scores, each turned so that higher means better. Strong blue: they order "
        "architectures in the same way, so the second adds little. Pale: they see different things, so combining them "
        "may help. Orange: they contradict each other. Similar scores stand side by side."
    )
    if data.agreement is None or data.agreement.empty:
        nothing = (Paragraph("The correlations between scores were not computed."),)
        return Section("agreement", "Agreement", "Which scores say the same?", nothing)
    names = [str(name) for name in data.agreement["proxy"].unique()]
    pairs = {(str(r["proxy"]), str(r["other"])): r for r in data.agreement.to_dict("records")}
    table = DataTable(
        "Rank correlation between proxies",
        "",
        tuple(TableColumn(name, name) for name in names),
        tuple(TableRow(a, tuple(_agreement_cell(a, b, pairs[a, b]) for b in names)) for a in names),
        layout="matrix",
    )
    return Section("agreement", "Agreement", "Which scores say the same?", (table,), (text,))


def _agreement_cell(proxy: str, other: str, pair: Mapping[Any, Any]) -> TableCell:
    value, count = float(pair["spearman"]), int(pair["n"])
    text = numbers.fixed(value, 2 if abs(value) < 0.995 else 0).replace("0.", ".", 1)
    return TableCell(
        text,
        title=f"{proxy} and {other}: {text} over {count:,} architectures",
        tone=round(value, 3) if math.isfinite(value) else 0.0,
        kind="self" if proxy == other else "",
    )


def _cost_section(data: ReportData) -> Section:
    known = [(str(name), float(value)) for name, value in data.seconds.items() if math.isfinite(value) and value >= 0]
    known.sort(key=lambda item: (-item[1], item[0]))
    if not known:
        return Section("cost", "Cost", "What does a score cost?", (Paragraph("No times were recorded."),))
    rows = tuple(
        TableRow(
            name,
            (TableCell("", value, bar=Bar(value, dot=False)), _COSTS[1].cell(value), _COSTS[2].cell(1000 * value)),
            data.role(name),
        )
        for name, value in known
    )
    table = DataTable("Cost of the proxies", "Proxy", _COSTS, rows, groups=ROLES, axis=(0.0, known[0][1] or 1.0))
    text = (
        "Seconds per architecture when this score is computed alone, on the machine named under provenance. Scores "
        "computed together share their passes and cost less than the sum. The bars start at zero and share one linear "
        "scale."
    )
    return Section("cost", "Cost", "What does a score cost?", (table,), (text,))


def _failure_section(data: ReportData, failed: int) -> Section:
    """Failed scores grouped by proxy and reason, most frequent first, with example architectures."""
    if data.failures is None or not failed:
        return Section("failures", "Failures", "Failures", (Paragraph("No score failed."),))
    frame = data.failures.assign(proxy=data.failures["proxy"].astype(str), reason=data.failures["reason"].astype(str))
    rows = []
    for (proxy, reason), group in frame.groupby(["proxy", "reason"], sort=True):
        architectures = list(dict.fromkeys(str(text) for text in group["architecture"]))
        cells = (
            TableCell(_shorten(str(reason)) or "no reason given"),
            _FAILURES[1].cell(len(architectures)),
            _FAILURES[2].cell(len(group)),
            TableCell("\n".join(map(_shorten, architectures[:MOST_EXAMPLES]))),
        )
        rows.append((-len(group), TableRow(str(proxy), cells)))
    rows.sort(key=lambda item: item[0])
    shown = tuple(row for _, row in rows[:MOST_FAILURE_GROUPS])
    table = DataTable("Failed scores", "Proxy", _FAILURES, shown)
    hidden = len(rows) - len(shown)
    text = (
        "A score that cannot be computed is reported as failed with its reason and left out of the statistics; it is "
        "never replaced by a number."
    )
    more = (Paragraph(f"{hidden:,} rarer groups are not listed."),) if hidden else ()
    return Section("failures", "Failures", "Failures", (table, *more), (text,), context=f"{failed:,}")


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"
