"""``prejudge bench import``: a compact table of a published file of trained accuracies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from prejudge.cli import output
from prejudge.cli.notation_option import Notation
from prejudge.cli.progress import ProgressBar

Kind = Literal["csv", "npz", "nasbench201", "nats-bench", "nasbench101", "nasbench301"]

app = App(
    name="import",
    help_epilogue=(
        "Example: prejudge bench import nasbench201 NAS-Bench-201-v1_1-096897.pth\n"
        "Example: prejudge bench import nasbench101 nasbench_only108.tfrecord\n"
        "Example: prejudge bench import csv nas_bench_201.csv.gz --name nasbench201"
    ),
)


@app.default
def import_file(
    kind: Kind,
    file: Path,
    /,
    *,
    out: Path | None = None,
    name: str | None = None,
    space: str = "nasbench201",
    column: str | None = None,
    notation: Notation = None,
    fractions: Annotated[bool | None, Parameter(negative="--percent")] = None,
    curves: Annotated[list[int] | None, Parameter(consume_multiple=True)] = None,
    unpublished: bool = False,
    partial: bool = False,
    as_json: output.Json = False,
) -> None:
    """Make a compact table of a published file of trained accuracies.

    Args:
        kind: What the file is. nasbench201: NAS-Bench-201-v1_0/v1_1-*.pth. nats-bench: NATS-tss-v1_0-* or
            NATS-sss-v1_0-*, the .pickle.pbz2 file or the folder that ends in -simple. nasbench101:
            nasbench_only108.tfrecord or nasbench_full.tfrecord. nasbench301: a folder of result JSON files. csv, npz: a
            column or array arch_str, others {dataset}_{split}_{epochs}ep.
        file: The published file or folder; nothing in it is ever executed.
        out: Table file to write; among your own benchmarks, where its name is enough to use it, if left out.
        name: Name of the table; that of --out, or of the benchmark, if left out.
        space: Search space of a csv or npz file.
        column: Column or array of architectures in a csv or npz file, where it is not arch_str; e.g. net_str, index.
        fractions: Accuracies of a csv, npz or nasbench301 file are fractions, or (--percent) per cent although none is
            above 1; per cent if left out, and columns that look like fractions are refused.
        curves: Of nasbench201 and nats-bench: schedules whose learning curves are kept too, e.g. --curves 12; those of
            200 epochs need gigabytes of memory.
        unpublished: Take the file although its digest is not the published one.
        partial: Take a file or folder of nasbench201 or nats-bench although results that it lists are missing: NaN.
        as_json: Print JSON instead of text.
    """
    from prejudge.benchmarks import import_table, open_table

    is_file = out is None or output.check_file(out)
    if kind in ("nasbench201", "nats-bench") and not as_json:
        from prejudge.benchmarks.importers.nasbench201.importer import plan

        planned = plan(file, curves=tuple(curves or ()))
        output.say(f"reading {planned.bytes / 1e6:,.0f} MB; this takes up to {planned.memory / 1e6:,.0f} MB of memory")
    with ProgressBar("importing", quiet=as_json) as bar:
        found = import_table(
            kind,
            file,
            out,
            name=name,
            space=space,
            column=column,
            notation=notation,
            fractions=fractions,
            curves=curves or (),
            check_published=not unpublished,
            partial=partial,
            progress=bar,
        )
    if as_json:
        content = {"written": found.path, "already_there": found.already_there, "remark": found.remark}
        output.print_json(content | ({"metrics": open_table(found.path).metrics()} if is_file else {}))
        return
    if found.already_there:
        output.tell(f"you already have it: {found.path} was made of this file")
    else:
        output.tell(f"wrote {found.path}")
    if found.remark:
        output.say(f"note: {found.remark}")
    if is_file:
        output.say(f"next: prejudge bench info {found.path if out else open_table(found.path).name}")
