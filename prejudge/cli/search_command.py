"""``prejudge search``: let a method look for an architecture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Group, Parameter, validators

from prejudge.cli import COMMANDS, output
from prejudge.cli.arguments import pairs
from prejudge.cli.options import (
    MACHINE,
    OWN_TRAINING,
    PUBLISHED,
    DataOptions,
    NetworkOptions,
    Positive,
    TrainingOptions,
    use_threads,
)
from prejudge.cli.progress import ProgressBar
from prejudge.cli.recipe import Recipe
from prejudge.errors import InputError

if TYPE_CHECKING:
    from prejudge.benchmarks import Table
    from prejudge.search import Objective, SearchResult

app = App(
    name="search",
    help=COMMANDS["search"],
    help_epilogue=(
        "Example: prejudge search evolution --benchmark digits --queries 50 --seeds 20 --out evolution.h5\n"
        "Example: prejudge search evolution --space darts --data digits --proxy synflow --queries 30 --cells 3\n"
        "Example: prejudge search te-nas --space nasbench201 --data digits"
    ),
)

app.command(
    "prejudge.cli.search_pruning:app",
    name="te-nas",
    help="TE-NAS: prune a supernet by its kernel's condition and its linear regions.",
)

_TABLE = Group("Maximise what a table says", sort_key=1)
_LIVE = Group("Maximise what networks reach: a training of each, or a proxy", sort_key=1)
_BUDGET = Group("Budget of each run", sort_key=0)


@app.default
def search(
    method: str,
    *,
    out: Path | None = None,
    space: str | None = None,
    option: list[str] | None = None,
    seeds: Annotated[int, Parameter(validator=Positive)] = 1,
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    recipe: Recipe = None,
    queries: Annotated[int | None, Parameter(group=_BUDGET, validator=Positive)] = None,
    budget: Annotated[float | None, Parameter(group=_BUDGET)] = None,
    overshoot: Annotated[bool, Parameter(group=_BUDGET)] = False,
    benchmark: Annotated[str | None, Parameter(group=_TABLE)] = None,
    dataset: Annotated[str | None, Parameter(group=_TABLE)] = None,
    split: Annotated[Literal["valid", "test"] | None, Parameter(group=_TABLE)] = None,
    run_seed: Annotated[str | None, Parameter(group=_TABLE)] = None,
    images: Annotated[DataOptions | None, Parameter(group=_LIVE)] = None,
    proxy: Annotated[str | None, Parameter(group=_LIVE)] = None,
    train_share: Annotated[float, Parameter(group=_LIVE)] = 0.5,
    network: NetworkOptions = PUBLISHED,
    training: TrainingOptions = OWN_TRAINING,
    device: Annotated[str, Parameter(group=MACHINE)] = "cpu",
    workers: Annotated[int, Parameter(group=MACHINE, validator=Positive)] = 1,
    threads: Annotated[int | None, Parameter(group=MACHINE, validator=Positive)] = None,
    as_json: output.Json = False,
) -> None:
    """Search a benchmark table (--benchmark), or networks that are trained or scored on the way (--space, --data).

    Args:
        method: Name of the method (see: prejudge list searches), NAME(option=value) or FILE.py:NAME.
        out: Result file (HDF5) with every step of every run. Live evaluations are kept beside it, and go on from there.
        space: Search space; that of the table if left out.
        option: Option of the method: NAME=VALUE.
        seeds: Runs, each from its own seed.
        seed: The first seed.
        recipe: YAML file that fills in what is left out here.
        queries: Evaluations.
        budget: Seconds: simulated ones of a table (12000 if neither is given), or real ones.
        overshoot: Let the last evaluation end after the budget, as NATS-Bench's scripts do.
        benchmark: Name of an imported or embedded table, or its file.
        dataset: Dataset whose accuracy is maximised; needed where the table has several.
        split: Images whose accuracy is maximised; valid, or test where the table has no other, if left out.
        run_seed: random (each question draws one of the training runs), mean, or a run's seed; random where there are
            single runs, if left out.
        images: Images to train on, or to score on.
        proxy: Maximise a training-free score instead of training: NAME, NAME(option=value) or FILE.py:NAME.
        train_share: Share of the training images that is learned; the others validate.
        network: Macro numbers of the networks.
        training: Numbers of the training of each network; by default HNAS's, with 10 epochs. Of a table only --epochs:
            its shortest schedule if left out.
        device: cpu, cuda, cuda:1, mps …
        workers: Processes.
        threads: Threads of all processes together.
        as_json: Print JSON instead of text.
    """
    from prejudge.search import Budget, run_search, write_result

    use_threads(threads)
    table, objective = _objective(
        benchmark, space, images,
        in_table=(dataset, training.epochs, split, _run_seed(run_seed)),
        live=(proxy, train_share, network, training, device),
    )  # fmt: skip
    seconds = 12_000.0 if table is not None and queries is None and budget is None else budget
    with ProgressBar("searching", quiet=as_json) as bar:
        result = run_search(
            method,
            objective,
            Budget(queries, seconds, overshoot),
            seeds=range(seed, seed + seeds),
            options=pairs(option or []),
            workers=workers,
            journal=out.with_name(f"{out.name}.journal") if out is not None and table is None else None,
            progress=bar,
        )
    written = write_result(result, out) if out is not None else None
    _show(result, table, objective, written, as_json)


def _objective(
    benchmark: str | None,
    space: str | None,
    images: DataOptions | None,
    *,
    in_table: tuple[str | None, int | None, str | None, int | Literal["mean", "random"] | None],
    live: tuple[str | None, float, NetworkOptions, TrainingOptions, str],
) -> tuple[Table | None, Objective]:
    if (benchmark is None) == (images is None):
        raise InputError("say what to maximise: --benchmark TABLE, or --space SPACE --data IMAGES")
    if benchmark is not None:
        from prejudge.benchmarks import benchmark as open_benchmark
        from prejudge.search.table_objective import open_objective

        table = open_benchmark(benchmark)
        if space is not None and space != table.space:
            raise InputError(f"table {table.name} is of {table.space}, not {space}")
        return table, open_objective(table, *in_table)
    assert images is not None
    if space is None:
        raise InputError("--data needs --space, too")
    return None, _live_objective(space, images, *live)


def _live_objective(
    space: str,
    images: DataOptions,
    proxy: str | None,
    train_share: float,
    network: NetworkOptions,
    training: TrainingOptions,
    device: str,
) -> Objective:
    from prejudge.search.live_objective import HNAS_TRAINING, ProxyObjective, TrainingObjective
    from prejudge.spaces import space as find_space
    from prejudge.train.data import load
    from prejudge.train.splits import split_in_two

    where = find_space(space)
    skeleton = network.overrides(where)
    data = load(images.data, **images.places())
    if proxy is not None:
        batch: dict[str, Any] = {} if training.batch_size is None else {"batch_size": training.batch_size}
        return ProxyObjective(where, data, proxy, skeleton=skeleton, device=device, **batch)
    drops = {} if "drop_path" in where.default_skeleton else {"drop_path": 0.0}
    numbers = replace(HNAS_TRAINING, **(drops | training.given()))
    return TrainingObjective(where, *split_in_two(data, train_share), numbers, skeleton=skeleton, device=device)


def _show(result: SearchResult, table: Table | None, objective: Objective, written: Path | None, as_json: bool) -> None:
    from prejudge.search.summary import answers, outcomes

    found = answers(result, table) if table is not None else outcomes(result)
    best = result.best()
    if as_json:
        output.print_json({"written": written, "best": best.answer, "runs": found.to_dict("records")})
        return
    numbers = found.drop(columns=["seed", "answer"])
    output.print_table(
        f"{result.method} in {result.space}" + (f", table {table.name}" if table is not None else ""),
        [f"{len(found)} runs", "mean", "std", "min", "max"],
        [[c, numbers[c].mean(), numbers[c].std(ddof=0), numbers[c].min(), numbers[c].max()] for c in numbers.columns],
        numeric=["mean", "std", "min", "max"],
    )
    print(f"best answer (seed {best.seed}): {best.answer}")
    what = objective.describe()
    if what.get("note"):
        output.say(f"note: {what['note']}")
    if what.get("split") == "test":
        output.say("note: the test accuracy itself was maximised, so it is no estimate of anything")
    if written is not None:
        output.say(f"wrote {written}")


def _run_seed(text: str | None) -> int | Literal["mean", "random"] | None:
    if text is None or text.isdigit():
        return None if text is None else int(text)
    if text not in ("mean", "random"):
        raise InputError(f"--run-seed is mean, random or the number of a training run's seed, not {text!r}")
    return text  # type: ignore[return-value]
