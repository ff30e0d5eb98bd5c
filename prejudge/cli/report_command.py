"""``prejudge report``: how well scores predict trained accuracies; how searches compare; what trainings came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from prejudge.cli import output, report_tables
from prejudge.cli.recipe_option import Recipe
from prejudge.errors import InputError

if TYPE_CHECKING:
    from prejudge.benchmarks import Metric, Table
    from prejudge.report import ReportData, SearchReportData, TrainingReportData

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
    output.check_file(out)
    to = _Output(out, format, as_json)
    if training:
        others: dict[str, object] = {"cache": cache, "benchmark": benchmark, "searches": searches, "metric": metric}
        others |= {"dataset": dataset, "split": split, "epochs": epochs, "stratum": stratum, "protocol": protocol}
        if given := [name for name, value in others.items() if value is not None]:
            raise InputError(f"--training goes with --out, --format and --title only; leave out {', '.join(given)}")
        _report_trainings(training, title, to)
        return
    if (cache is None) == (not searches):
        raise InputError("give a score cache, or --searches with result files of `prejudge search`: one of the two")
    if benchmark is None:
        raise InputError("give --benchmark: the table whose accuracies count (see: prejudge list benchmarks)")
    from prejudge.benchmarks import benchmark as open_benchmark
    from prejudge.benchmarks.table.selection import report_metrics

    table = open_benchmark(benchmark)
    metrics = report_metrics(table, metric=metric, dataset=dataset, split=split, epochs=epochs)
    if cache is not None:
        _report_scores(cache, table, metrics, stratum, protocol, title, to)
        return
    if stratum is not None or protocol is not None:
        raise InputError("--stratum and --protocol belong to a score cache; leave them out with --searches")
    named = any(v is not None for v in (metric, dataset, split, epochs))
    _report_searches(searches or [], table, metrics if named else None, title, to)


@dataclass(frozen=True)
class _Output:
    """The place and the form of a report."""

    file: Path | None
    format: str | None
    as_json: bool

    def write(self, data: ReportData | SearchReportData | TrainingReportData) -> Path | None:
        """Write the report where a file was named; the file."""
        from prejudge.report import write_report

        return write_report(data, self.file, self.format) if self.file is not None else None


def _report_scores(
    cache: Path,
    table: Table,
    metrics: Sequence[Metric],
    stratum: str | None,
    protocol: str | None,
    title: str | None,
    to: _Output,
) -> None:
    from prejudge.cache import ScoreCache
    from prejudge.pipeline import report_data
    from prejudge.report import compose

    with ScoreCache(cache, "r") as scores:
        data = report_data(scores, table, metrics=metrics, protocol=protocol, title=title)
    shown, written = data.rows(stratum=stratum), to.write(data)
    if to.as_json:
        output.print_json({"written": written, "warnings": data.warnings, "correlations": shown.to_dict("records")})
        return
    report_tables.print_tables(compose(data), stratum)
    hint = "--out report.html writes the full report; --stratum connected prints only connected cells"
    output.say_report(data.warnings, written, hint if stratum is None else "")


def _report_searches(
    files: Sequence[Path], table: Table, metrics: Sequence[Metric] | None, title: str | None, to: _Output
) -> None:
    from prejudge.report import compose
    from prejudge.search import read_result
    from prejudge.search.comparison import compare

    results = [read_result(file) for file in files]
    data = compare(results, table, sources=[str(file) for file in files], metrics=metrics, title=title)
    written = to.write(data)
    if to.as_json:
        content = {"written": written, "warnings": data.warnings, "optima": data.optima, "limits": data.limits}
        frames = {"final": data.final.to_dict("records"), "tests": data.tests.to_dict("records")}
        output.print_json(content | frames)
        return
    report_tables.print_tables(compose(data))
    output.say_report(data.warnings, written, "--out compare.html writes the full report, with curves")


def _report_trainings(folders: Sequence[Path], title: str | None, to: _Output) -> None:
    from prejudge.report import compose
    from prejudge.report.training.page import summary_frame
    from prejudge.train.training_folder import read_training, report_data

    data = report_data([read_training(folder) for folder in folders], title=title)
    written = to.write(data)
    if to.as_json:
        trainings = summary_frame(data).to_dict("records")
        output.print_json({"written": written, "warnings": list(data.warnings), "trainings": trainings})
        return
    report_tables.print_tables(compose(data))
    output.say_report(data.warnings, written, "--out training.html writes the full report, with curves")
