"""``prejudge report``: how well scores predict trained accuracies; how searches compare; what trainings came to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from prejudge.cli import output
from prejudge.cli.recipe_option import Recipe
from prejudge.errors import InputError

app = App(
    name="report",
    help_epilogue=(
        "Example: prejudge report scores.h5 --benchmark digits --out report.html\n"
        "Example: prejudge report --searches random.h5 evolution.h5 --benchmark digits --out compare.html\n"
        "Example: prejudge report --training my-training --out training.html"
    ),
)


@app.default
def report(
    cache: Path | None = None,
    *,
    benchmark: str | None = None,
    searches: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    training: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
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
    """Correlate cached scores with trained accuracies, compare searches, or show trainings; print, and write a report.

    Without a metric: every test column at its longest schedule; of searches on several datasets each one's own.

    Args:
        cache: Score cache (HDF5).
        benchmark: Name of an imported or embedded table, or its file (see: prejudge list benchmarks).
        searches: Instead of a cache: result files of `prejudge search`, to be compared with each other.
        training: Instead of a cache: folders of `prejudge train`. No benchmark is needed.
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
    from prejudge.benchmarks.statistics.matched import default_metrics
    from prejudge.cli.metrics import choose

    if training:
        others: dict[str, object] = {"cache": cache, "benchmark": benchmark, "searches": searches, "metric": metric}
        others |= {"dataset": dataset, "split": split, "epochs": epochs, "stratum": stratum, "protocol": protocol}
        if given := [name for name, value in others.items() if value is not None]:
            raise InputError(f"--training goes with --out, --format and --title only; leave out {', '.join(given)}")
        from prejudge.cli.training_report import report_trainings

        report_trainings(training, out, format, title, as_json=as_json)
        return
    if (cache is None) == (not searches):
        raise InputError("give a score cache, or --searches with result files of `prejudge search`: one of the two")
    if benchmark is None:
        raise InputError("give --benchmark: the table whose accuracies count (see: prejudge list benchmarks)")
    table = open_benchmark(benchmark)
    candidates = (
        default_metrics(table)
        if split is None and epochs is None
        else [m for m in table.metrics() if m.seed == "mean" and m.quantity == "accuracy"]
    )
    metrics = choose(table, candidates, metric=metric, dataset=dataset, split=split, epochs=epochs)
    if cache is not None:
        from prejudge.cli.score_report import report_scores

        report_scores(cache, table, metrics, out, format, stratum, protocol, title, as_json=as_json)
        return
    if stratum is not None or protocol is not None:
        raise InputError("--stratum and --protocol belong to a score cache; leave them out with --searches")
    from prejudge.cli.search_report import report_searches

    named = any(v is not None for v in (metric, dataset, split, epochs))
    report_searches(searches or [], table, metrics if named else None, out, format, title, as_json=as_json)
