"""``prejudge demo``: the main job on a small scale, without any data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators

from prejudge.cli import output
from prejudge.cli.progress import ProgressBar
from prejudge.cli.report_tables import print_tables

app = App(
    name="demo",
    help_epilogue="Example: prejudge demo --out my-first-report",
)


@app.default
def demo(
    *,
    out: Path = Path("prejudge-demo"),
    archs: int = 150,
    workers: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 2,
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    as_json: output.Json = False,
) -> None:
    """Score a sample of NAS-Bench-201 on scikit-learn's digits, and report how well the scores predict.

    Everything that is needed comes with prejudge. Run again, it computes nothing twice.

    Args:
        out: Folder for the score cache and the report.
        archs: How many architectures.
        workers: Processes.
        seed: Of the sample, the initializations and the batch.
        as_json: Print JSON instead of text.
    """
    from prejudge.pipeline.demo import run_demo
    from prejudge.report import correlation_page

    if not as_json:
        output.say(f"{archs} untrained NAS-Bench-201 networks on scikit-learn's digits; about ten seconds on two cores")
    with ProgressBar("scoring", quiet=as_json) as bar:
        done = run_demo(out, architectures=archs, workers=workers, seed=seed, progress=bar)
    if as_json:
        output.print_json(
            {
                "cache": done.cache,
                "report": done.report,
                "computed": done.computed,
                "seconds": round(done.seconds, 2),
                "correlations": done.data.correlations.to_dict("records"),
            }
        )
        return
    print_tables(correlation_page(done.data))
    if done.computed:
        output.tell(f"scored {done.computed} untrained architectures in {done.seconds:.0f} s, kept in {done.cache}")
    else:
        output.tell(
            f"nothing to compute: all {done.architectures} architectures were in {done.cache} ({done.seconds:.1f} s)"
        )
    output.tell(f"open the report: {done.report}")
    for line in (
        "next:",
        f"  prejudge cache info {done.cache}",
        "  prejudge score nasbench201 --data cifar10 --download --archs random:500 --out scores.h5",
        "  prejudge bench import csv nas_bench_201.csv.gz --name nasbench201",
        "  prejudge report scores.h5 --benchmark nasbench201 --dataset cifar10 --out report.html",
    ):
        output.tell(line)
