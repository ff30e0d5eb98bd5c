"""``prejudge report``: how well the scores of a cache predict a table of trained accuracies."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cyclopts import App

from prejudge.cli import output
from prejudge.cli.correlation_table import print_correlations
from prejudge.cli.recipe import Recipe

app = App(
    name="report",
    help_epilogue="Example: prejudge report scores.h5 --benchmark digits --out report.html",
)


@app.default
def report(
    cache: Path,
    *,
    benchmark: str,
    out: Path | None = None,
    format: Literal["html", "csv", "md", "latex"] | None = None,
    metric: list[str] | None = None,
    dataset: str | None = None,
    split: str | None = None,
    epochs: int | None = None,
    stratum: str | None = None,
    protocol: str | None = None,
    title: str | None = None,
    recipe: Recipe = None,
    as_json: output.Json = False,
) -> None:
    """Correlate cached scores with trained accuracies; print the table and write the report.

    Without a metric: every test column at its longest schedule.

    Args:
        cache: Score cache (HDF5).
        benchmark: Name of an imported or embedded table, or its file (see: prejudge list benchmarks).
        out: Report to write: .html, .csv, .md or .tex; only the table is printed if left out.
        format: Format of the report, where the file's ending does not say it.
        metric: Metric as `bench info` writes it, e.g. cifar10_test_200ep; may be given several times.
        dataset: Only metrics of this dataset.
        split: Only metrics of this split: valid, test.
        epochs: Only metrics of this schedule.
        stratum: Architectures to print: all, connected or "top 10 %"; the report has every stratum.
        protocol: Digest (or its beginning) of a protocol, where the cache has several.
        title: Heading of the report.
        recipe: YAML file that fills in what is left out here.
        as_json: Print JSON instead of text.
    """
    from prejudge.benchmarks import benchmark as open_benchmark
    from prejudge.benchmarks.matched import default_metrics
    from prejudge.benchmarks.reporting import report_data
    from prejudge.cache import ScoreCache
    from prejudge.cli.metrics import choose
    from prejudge.report import write_report

    with ScoreCache(cache, "r") as scores:
        table = open_benchmark(benchmark)
        default = split is None and epochs is None
        candidates = (
            default_metrics(table)
            if default
            else [m for m in table.metrics() if m.seed == "mean" and m.quantity == "accuracy"]
        )
        metrics = choose(table, candidates, metric=metric, dataset=dataset, split=split, epochs=epochs)
        data = report_data(scores, table, metrics=metrics, protocol=protocol, title=title)
    shown = data.rows(stratum=stratum)
    written = write_report(data, out, format) if out is not None else None
    if as_json:
        output.print_json({"written": written, "notes": data.notes, "correlations": shown.to_dict("records")})
        return
    print_correlations(shown, strata=[stratum or data.strata[0]])
    for note in data.notes:
        output.say(f"note: {note}")
    if written is not None:
        output.say(f"wrote {written}")
    elif stratum is None:
        output.say("next: --out report.html writes the full report; --stratum connected prints only connected cells")
