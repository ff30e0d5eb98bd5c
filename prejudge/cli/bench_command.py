"""``prejudge bench``: tables of trained accuracies."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from prejudge.cli import COMMANDS, output
from prejudge.cli.notation_option import Notation

if TYPE_CHECKING:
    from prejudge.benchmarks import Metric

app = App(
    name="bench",
    help=COMMANDS["bench"],
    help_epilogue="Example: prejudge bench info digits",
)


app.command(
    "prejudge.cli.bench_import:app",
    name="import",
    help="Make a compact table of a published file of trained accuracies.",
)


@app.command(help_epilogue="Example: prejudge bench info digits")
def info(table: str, /, *, as_json: output.Json = False) -> None:
    """Say what a table holds: metrics, units, and where the numbers come from.

    Args:
        table: Name of an imported or embedded table, or its file.
        as_json: Print JSON instead of text.
    """
    from prejudge.benchmarks import benchmark

    opened = benchmark(table)
    content = opened.info()
    if as_json:
        output.print_json(content)
        return
    known, provenance = content.pop("metrics"), content.pop("provenance")
    units, aliases = content.pop("units"), content.pop("aliases")
    output.print_fields("", {label: value for label, value in content.items() if value not in ([], "")})
    groups: dict[tuple[str, str, int], list[Metric]] = {}
    for metric in opened.metrics():
        groups.setdefault((metric.dataset, metric.split, metric.epochs), []).append(metric)
    output.print_table(
        "written {dataset}_{split}_{epochs}ep[_seed{seed}][_{quantity}]; the mean and the accuracy need no name",
        ["dataset", "split", "epochs", "seeds", "quantities", "architectures"],
        [
            [
                *key,
                list(dict.fromkeys(m.seed for m in found)),
                list(dict.fromkeys(m.quantity for m in found)),
                max(known[str(m)] for m in found),
            ]
            for key, found in groups.items()
        ],
        numeric=["epochs", "architectures"],
    )
    output.print_fields("provenance", provenance)
    output.print_fields("units", units)
    if aliases:
        output.print_fields("other names of datasets", aliases)


@app.command(
    help_epilogue="Example: prejudge bench query digits '|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|'"
)
def query(
    table: str,
    arch: str,
    /,
    *,
    metric: str | None = None,
    dataset: str | None = None,
    split: str | None = None,
    epochs: int | None = None,
    seed: str | None = None,
    quantity: str = "accuracy",
    notation: Notation = None,
    as_json: output.Json = False,
) -> None:
    """Look up trained accuracies of one architecture: of one metric, or of every metric that fits.

    Args:
        table: Name of an imported or embedded table, or its file.
        arch: Architecture in any notation of its space: its text, index, hash, genotype …
        metric: Metric as `bench info` writes it, e.g. cifar10_test_200ep.
        dataset: Only metrics of this dataset.
        split: Only metrics of this split: valid, test.
        epochs: Only metrics of this schedule.
        seed: Only this training run; mean over the runs if left out.
        quantity: accuracy, loss, seconds … (see: prejudge bench info).
        as_json: Print JSON instead of text.
    """
    from prejudge.benchmarks import benchmark
    from prejudge.benchmarks.table.selection import select_metrics
    from prejudge.spaces import space as find_space

    opened = benchmark(table)
    asked: Any = arch if notation is None else find_space(opened.space).parse(arch, notation=notation)
    found = select_metrics(
        opened,
        [m for m in opened.metrics() if seed is not None or m.seed == "mean"] or opened.metrics(),
        metric=[metric] if metric else None,
        dataset=dataset,
        split=split,
        epochs=epochs,
        seed=seed,
        quantity=None if metric else quantity,
    )
    values = {str(m): opened.query_many([asked], m)[0].item() for m in found}
    if all(math.isnan(v) for v in values.values()):
        opened.query(asked, found[0])  # says what the table has instead
    unit = opened.index.units.get(found[0].quantity, "value")
    if as_json:
        answers = opened.answers_for(asked)
        parsed = answers if opened.index.listed else find_space(opened.space).parse(asked)
        output.print_json(
            {"table": opened.name, "architecture": str(parsed), "trained": str(answers), "unit": unit, "values": values}
        )
    elif metric:
        output.tell(values[str(found[0])])
    else:
        output.print_table("", ["metric", unit], values.items(), numeric=[unit])


@app.command(help_epilogue="Example: prejudge bench join nasbench201 latencies.csv --unit watch_latency=seconds")
def join(
    table: str,
    file: Path,
    /,
    *,
    out: Path | None = None,
    unit: list[str] | None = None,
    column: str | None = None,
    notation: Notation = None,
    as_json: output.Json = False,
) -> None:
    """Add latency, energy or other columns of a CSV file to a table, as extras.

    The file needs a column arch_str; columns named after latency or energy are taken, and those given with --unit.

    Args:
        table: Name of an imported table, or its file.
        file: CSV file (.csv or .csv.gz), like HW-NAS-Bench's: arch_str, edgegpu_latency, edgegpu_energy …
        out: Table file to write; the table itself is replaced if left out.
        column: Column of architectures, where it is not arch_str.
        unit: COLUMN=UNIT; latency is in milliseconds and energy in millijoules if left out.
        as_json: Print JSON instead of text.
    """
    from prejudge.benchmarks import benchmark, open_table
    from prejudge.benchmarks.importers.hardware import join_hardware
    from prejudge.cli.arguments import pairs

    opened = benchmark(table)
    units = {column: str(value) for column, value in pairs(unit or []).items()}
    written = join_hardware(opened, file, out, units=units, column=column, notation=notation)
    added = [e for e in open_table(written).extras if e not in opened.extras] if written.is_file() else []
    if as_json:
        output.print_json({"written": written, "added": added})
    else:
        output.tell(f"wrote {written}" + (f" with {', '.join(added)}" if added else ""))


app.command(
    "prejudge.cli.bench_train:app",
    name="train",
    help="Train architectures of a space and make a table of their accuracies.",
)
