"""From the values of a comparison of searches to its page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from prejudge.report import numbers
from prejudge.report.blocks import (
    Block,
    Charts,
    DataTable,
    Definitions,
    Group,
    Paragraph,
    ReportPage,
    Section,
    Summary,
    TableCell,
    TableColumn,
    TableRow,
    origin_sections,
)
from prejudge.report.searches.curves import SCALES, curves
from prejudge.report.searches.data import FEWEST_RUNS, SearchReportData

OPTIMUM = "Optimum of the table"


def search_page(data: SearchReportData) -> ReportPage:
    """Compose the report on searches."""
    methods, metrics = len(data.methods), len(data.optima)
    runs = int(data.final.drop_duplicates(["searched", "method"])["runs"].sum())
    described = (Definitions(data.descriptions),)
    return ReportPage(
        kind="prejudge report of searches",
        title=data.title,
        space=data.space,
        lede=(
            (f"{methods}", "method," if methods == 1 else "methods,"),
            (f"{runs:,}", "run; searched on" if runs == 1 else "runs; searched on"),
            (", ".join(data.searched), "; judged by"),
            (f"{metrics}", f"{'metric' if metrics == 1 else 'metrics'} of trained accuracy."),
        ),
        summaries=(_summary(data),),
        sections=(
            _curve_section(data),
            _final_section(data),
            _difference_section(data),
            *origin_sections(data.protocol, data.provenance),
            *([Section("methods", "", "Methods", described)] if data.descriptions else []),
        ),
        records=data.final.assign(optimum=data.final["metric"].map(dict(data.optima)), space=data.space),
        warnings=tuple(data.warnings),
        closing="Accuracies are looked up in the table; no search was run for this page.",
    )


def final_tables(data: SearchReportData) -> list[DataTable]:
    """Tables of what the searches found, one for each objective, best first by the first metric."""
    return [_final_table(data, searched) for searched in data.searched]


def difference_tables(data: SearchReportData) -> list[DataTable]:
    """Every pair of methods with its test, a table for each objective and metric that has tests."""
    return [_pair_table(data, *panel) for panel in data.panels if len(data.of(data.tests, *panel))]


def _summary(data: SearchReportData) -> Summary:
    """Per panel the best method, and how far it is from the optimum."""
    figures = []
    for searched, metric in data.panels:
        alone = [m for _, m in data.panels].count(metric) == 1
        label = metric if alone else f"{metric}, searched on {searched}"
        best = data.best(searched, metric)
        if best is None:
            figures.append((label, numbers.DASH, "no architecture has this accuracy in the table"))
            continue
        equals = len(data.undecided(searched, metric)) - 1
        also = f"; {equals} {'other does' if equals == 1 else 'others do'} not differ significantly" if equals else ""
        optimum = data.optima[metric]
        short = f"{numbers.points(optimum - best['mean'])} below the optimum of {numbers.points(optimum)}"
        value = f"{numbers.points(best['mean'])} {data.unit}".strip()
        figures.append((label, value, f"{best['method']}, {short}{also}"))
    return Summary(tuple(figures))


def _curve_section(data: SearchReportData) -> Section:
    share = f"{100 * data.confidence:g} %"
    axes = [data.costs if axis == "seconds" else "Queries" for axis in data.axes]
    segments = {
        "Budget": axes,
        "What to draw": ["Regret" if data.perfect is None else "Error", SCALES[1]],
        "Line and band": [f"Mean, {share}", "Median, quartiles"],
    }
    block: Block = Paragraph("There is no curve to draw: no evaluation cost anything.")
    if axes:
        block = Charts("lines", lambda budget: curves(data, budget), segments)
    return Section(
        "curves",
        "Curves",
        "How good is the best architecture so far?",
        (block,),
        (
            "Each line follows the architecture that a search would recommend if it had to stop at this budget: the "
            f"best by what it maximized, shown by its trained accuracy in the table. The band is the {share} interval "
            f"of the mean over runs (from {FEWEST_RUNS} runs on), or the middle half of the runs around their median. "
            "The dashed line is the best architecture of the table. A line begins where every run has evaluated an "
            "architecture. Point at a plot (or focus it and use the arrow keys) to read it; click a name to hide its "
            "line.",
        ),
        "The curves need JavaScript; the table below says where they end." if axes else "",
    )


def _final_section(data: SearchReportData) -> Section:
    tables = final_tables(data)
    blocks: list[Block] = [*tables]
    if len(tables) > 1:
        blocks = [Group(f"Searched on {s}", (t,)) for s, t in zip(data.searched, tables, strict=True)]
    return Section(
        "final",
        "Final table",
        "What did they find, and what did it cost?",
        (*blocks, Definitions(tables[0].legend, legend=True)),
        (
            f"Mean ± standard deviation over runs of the accuracy of what was found, in {data.unit}; below it the "
            f"{100 * data.confidence:g} % interval of the mean, from {FEWEST_RUNS} runs on. In bold: the best mean, "
            "and those that do not differ significantly from it in the paired test below; nothing where all are "
            f"alike, or of fewer than {FEWEST_RUNS} runs.",
        ),
        group_width=2000,
    )


def _final_table(data: SearchReportData, searched: str) -> DataTable:
    metrics = [m for s, m in data.panels if s == searched]
    panels = {m: {str(r["method"]): r for r in data.of(data.final, searched, m).to_dict("records")} for m in metrics}
    best = {m: data.leading(searched, m) for m in metrics}
    others = _other_columns(data)

    def row(method: str) -> TableRow:
        found = [panels[m].get(method) for m in metrics]
        accuracies = [_accuracy(r, bold=method in best[m]) for m, r in zip(metrics, found, strict=True)]
        cost = [c.cell(max(float(r[c.key]) for r in found if r)) for c in others]
        return TableRow(method, (*accuracies, *cost))

    def mean(method: str) -> float:
        found = float(panels[metrics[0]][method]["mean"])
        return found if math.isfinite(found) else -math.inf

    order = sorted(panels[metrics[0]], key=lambda method: (-mean(method), method))
    optima = (*(TableCell(numbers.points(data.optima[m])) for m in metrics), *[TableCell(numbers.DASH)] * len(others))
    return DataTable(
        f"{data.space}: what searches of {searched} found",
        "Method",
        (*(TableColumn(m, f"{m} {data.unit}".strip(), text=numbers.points) for m in metrics), *others),
        (*map(row, order), TableRow(OPTIMUM, optima, "optimum")),
        "Mean ± standard deviation over runs; bold: the best mean, and the means that do not differ significantly from "
        f"it (paired test with Holm's correction, level {data.level:g}), of {FEWEST_RUNS} runs and more.",
        groups=("", "optimum"),
        printed=True,
    )


def _other_columns(data: SearchReportData) -> list[TableColumn]:
    """The columns beside the accuracies that ``data`` has numbers for."""
    known = [
        TableColumn("runs", "Runs", "Runs, each from its own seed."),
        TableColumn("missing", "Missing", "Runs whose architecture has no such accuracy in the table: left out."),
        TableColumn("queries", "Queries per run", "Evaluations per run, on average."),
        TableColumn("seconds", f"{data.costs} per run", "What the evaluations of a run cost together, on average.",
                    numbers.budget),
        TableColumn("overhead", "Overhead per run", "Wall-clock time of the method itself, without evaluations.",
                    numbers.duration),
    ]  # fmt: skip
    final = {c.key: [float(v) for v in data.final[c.key]] if c.key in data.final else [] for c in known}
    return [
        c for c in known if any(map(math.isfinite, final[c.key])) and (c.key != "missing" or max(final["missing"]) > 0)
    ]


def _accuracy(row: Mapping[Any, Any] | None, *, bold: bool) -> TableCell:
    """Mean ± deviation over runs, with the interval of the mean; no deviation where there is but one."""
    if row is None:
        return TableCell(numbers.DASH)
    low, high = row.get("low", math.nan), row.get("high", math.nan)
    interval = f"{numbers.points(low)} – {numbers.points(high)}" if math.isfinite(low) and math.isfinite(high) else ""
    several = row["runs"] - row.get("missing", 0) > 1 and math.isfinite(row["std"])
    text = numbers.points(row["mean"]) + (f" ± {numbers.points(row['std'])}" if several else "")
    return TableCell(text, numbers.finite(row["mean"]), interval, bold=bold)


def _difference_section(data: SearchReportData) -> Section:
    pairs = difference_tables(data)
    panels = [panel for panel in data.panels if len(data.of(data.tests, *panel))]
    several = len(data.searched) > 1
    groups: tuple[Block, ...] = tuple(
        Group(metric, (_matrix(data, searched, metric), table), f"searched on {searched}" if several else "")
        for (searched, metric), table in zip(panels, pairs, strict=True)
    )
    return Section(
        "differences",
        "Differences",
        "Which differences are more than luck?",
        groups or (Paragraph("There is one method: nothing to compare it with."),),
        (
            "Mean difference, row less column, over pairs of runs from equal seeds. Blue: the row is better, orange: "
            "it is worse, by Wilcoxon's signed-rank test with Holm's correction for all pairs of methods of a table "
            f"(p < {data.level:g}). Grey differences may be luck. A small difference between many runs can be certain "
            "and still not matter: look at its size.",
        )
        if groups
        else (),
        group_width=540 if len(data.methods) > 4 else 340,
    )


def _matrix(data: SearchReportData, searched: str, metric: str) -> DataTable:
    rows = data.of(data.final, searched, metric).sort_values("mean", ascending=False, na_position="last")
    methods = [str(method) for method in rows["method"]]
    tests = {(t["first"], t["second"]): t for t in data.of(data.tests, searched, metric).to_dict("records")}
    largest = max((abs(t["difference"]) for t in tests.values() if math.isfinite(t["difference"])), default=0.0)

    def cell(row: str, column: str) -> TableCell:
        test = tests.get((row, column)) or tests.get((column, row))
        if test is None:
            return TableCell("", kind="self")
        difference = float(test["difference"]) * (1 if test["first"] == row else -1)
        share = abs(difference) / largest if largest and math.isfinite(difference) else 0.0
        decided = bool(test["p_holm"] < data.level)
        return TableCell(
            numbers.signed(difference),
            title=f"{row} less {column}: {numbers.signed(difference)} {data.unit} over {round(test['pairs'])} pairs, "
            f"p {numbers.p_value(test['p_holm'])} (Holm)",
            # Pale enough for dark letters, and for light ones on a dark page.
            tone=round(math.copysign(0.15 + 0.45 * share, difference), 3) if decided else 0.0,
            kind="" if decided else "open",
        )

    return DataTable(
        f"Differences in {metric}",
        "",
        tuple(TableColumn(method, method) for method in methods),
        tuple(TableRow(a, tuple(cell(a, b) for b in methods)) for a in methods),
        layout="matrix",
    )


def _pair_table(data: SearchReportData, searched: str, metric: str) -> DataTable:
    columns = (
        TableColumn("pairs", "Pairs of runs"),
        TableColumn("difference", f"Difference {data.unit}".strip(), text=numbers.signed),
        TableColumn("better", "First better %", text=lambda share: numbers.fixed(100 * share, 0)),
        TableColumn("p", "p", text=numbers.p_value),
        TableColumn("p_holm", "p (Holm)", text=numbers.p_value),
    )
    rows = tuple(
        TableRow(f"{test['first']} − {test['second']}", tuple(c.cell(float(test[c.key])) for c in columns))
        for test in data.of(data.tests, searched, metric).to_dict("records")
    )
    return DataTable(
        f"{metric}: differences between searches of {searched}",
        "Pair",
        columns,
        rows,
        "Mean differences over pairs of runs from equal seeds; better: share of the pairs, ties count half; p of "
        "Wilcoxon's signed-rank test, then with Holm's correction for all pairs of methods.",
        printed=True,
        folded="All pairs with their p-values",
    )
