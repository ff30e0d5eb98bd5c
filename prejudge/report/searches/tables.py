"""The final table and the tests of a comparison for papers and scripts: CSV, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Iterator

from prejudge.report.columns import DASH
from prejudge.report.searches.columns import FinalTable, final_tables, p_text, signed
from prejudge.report.searches.data import SearchReportData
from prejudge.report.typesetting import PrintTable, latex_tables, markdown_tables


def to_csv(data: SearchReportData) -> str:
    """The final table in full precision, one row per objective, metric and method.

    Args:
        data: The comparison's content.

    Returns:
        CSV text with a header: every column of ``data.final``, then ``optimum`` and ``space``; a missing number is an
        empty field.
    """
    rows = data.final.assign(optimum=data.final["metric"].map(dict(data.optima)), space=data.space)
    return rows.to_csv(index=False, lineterminator="\n")


def to_markdown(data: SearchReportData) -> str:
    """The final tables and the tests as Markdown.

    Args:
        data: The comparison's content.

    Returns:
        Markdown text; best mean of the first metric first; in bold the best mean and what no test tells from it.
    """
    return markdown_tables(data.title, _print_tables(data))


def to_latex(data: SearchReportData) -> str:
    r"""The final tables and the tests as LaTeX.

    Args:
        data: The comparison's content.

    Returns:
        LaTeX text that needs ``\usepackage{booktabs}`` and nothing else; bold as in :func:`to_markdown`.
    """
    return latex_tables(_print_tables(data))


def _print_tables(data: SearchReportData) -> Iterator[PrintTable]:
    for table in final_tables(data):
        yield _final(data, table)
    for searched, metric in data.panels:
        tests = data.of(data.tests, searched, metric).to_dict("records")
        if tests:
            rows = tuple(
                (
                    f"{t['first']} − {t['second']}",
                    str(round(t["pairs"])),
                    signed(t["difference"]),
                    f"{100 * t['better']:.0f}" if t["better"] == t["better"] else DASH,
                    p_text(t["p"]),
                    p_text(t["p_holm"]),
                )
                for t in tests
            )
            yield PrintTable(
                f"{metric}: differences between searches of {searched}",
                "Mean differences over pairs of runs from equal seeds; better: share of the pairs, ties count half; "
                "p of Wilcoxon's signed-rank test, then with Holm's correction for all pairs of methods.",
                ("Pair", "Pairs", f"Difference {data.unit}".strip(), "Better %", "p", "p (Holm)"),
                (rows,),
            )


def _final(data: SearchReportData, table: FinalTable) -> PrintTable:
    optimum = ("Optimum of the table", *table.optima, *([DASH] * len(table.columns)))
    return PrintTable(
        f"{data.space}: what searches of {table.searched} found",
        "Mean ± standard deviation over runs; bold: the best mean, and whatever a paired test with Holm's correction "
        f"does not tell from it (level {data.level:g}).",
        (
            "Method",
            *(f"{m} {data.unit}".strip() for m in table.metrics),
            *(c.heading + (" (per run)" if c.kind == "seconds" else "") for c in table.columns),
        ),
        (tuple((r.method, *r.accuracies, *r.others) for r in table.rows), (optimum,)),
        frozenset((r.method, 1 + i) for r in table.rows for i, best in enumerate(r.best) if best),
    )
