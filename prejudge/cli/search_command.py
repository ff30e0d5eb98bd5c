"""``prejudge search``: let a method look for an architecture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Group, Parameter, validators

from prejudge.cli import COMMANDS, output, search_supernet
from prejudge.cli.arguments import pairs
from prejudge.cli.options import (
    MACHINE,
    OWN_TRAINING,
    PUBLISHED,
    THIS_PROCESS,
    DataOptions,
    EngineOptions,
    NetworkOptions,
    Positive,
    TrainingOptions,
)
from prejudge.cli.progress import ClusterBar
from prejudge.cli.recipe_option import Recipe
from prejudge.cli.search_images import search_images
from prejudge.cli.search_objective import A_TRAINING, LIVE, NO_TABLE, LiveOptions, TableOptions
from prejudge.errors import InputError

if TYPE_CHECKING:
    from prejudge.benchmarks import Table
    from prejudge.search import Budget, Objective, SearchResult

app = App(
    name="search",
    help=COMMANDS["search"],
    help_epilogue=(
        "Example: prejudge search evolution --benchmark digits --queries 50 --seeds 20 --out evolution.h5\n"
        "Example: prejudge search evolution --space darts --data digits --proxy synflow --queries 30 --cells 3\n"
        "Example: prejudge search te-nas --space nasbench201 --data digits\n"
        "Example: prejudge search darts --space nasbench201 --data digits --channels 4 --cells 1 --epochs 2"
    ),
)

app.command(
    "prejudge.cli.search_te_nas:app",
    name="te-nas",
    help="TE-NAS: prune a supernet by its kernel's condition and its linear regions.",
)

for _supernet_search in search_supernet.COMMANDS:
    app.command(_supernet_search)

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
    looked_up: TableOptions = NO_TABLE,
    images: Annotated[DataOptions | None, Parameter(group=LIVE)] = None,
    live: LiveOptions = A_TRAINING,
    network: NetworkOptions = PUBLISHED,
    training: TrainingOptions = OWN_TRAINING,
    device: Annotated[str, Parameter(group=MACHINE)] = "cpu",
    machine: EngineOptions = THIS_PROCESS,
    as_json: output.Json = False,
) -> None:
    """Search a benchmark table (--benchmark), or networks that are trained or scored on the way (--space, --data).

    A method of your own that trains or prunes supernets takes --space and --data as well.

    Args:
        method: Name of the method (see: prejudge list searches), NAME(option=value) or FILE.py:NAME.
        out: Result file (HDF5) with every step of every run. Live evaluations, and finished runs on a table, are kept
            beside it, and go on from there.
        space: Search space; that of the table if left out.
        option: Option of the method: NAME=VALUE.
        seeds: Runs, each from its own seed.
        seed: The first seed.
        recipe: YAML file that fills in what is left out here.
        queries: Evaluations.
        budget: Seconds: simulated ones of a table, or real ones. If neither is given, of a table 12000, or what about
            200 of its trainings cost if that is less.
        overshoot: Let the last evaluation end after the budget, as NATS-Bench's scripts do.
        looked_up: Which accuracies of a table.
        images: Images to train on, or to score on.
        live: How networks are judged on the way.
        network: Macro-architecture of the networks.
        training: Numbers of the training of each network; by default HNAS's, with 10 epochs. Of a table only --epochs:
            its shortest schedule if left out.
        device: cpu, cuda, cuda:1, mps …
        machine: Where the runs take place.
        as_json: Print JSON instead of text.
    """
    from prejudge.search import run, write_result
    from prejudge.search.finished import discard
    from prejudge.search.registry import read_method

    chosen, options = read_method(method, pairs(option or []))
    if chosen.context.needs == "data":
        if images is None or space is None or (looked_up.benchmark, queries, budget) != (None, None, None):
            raise InputError(f"{chosen.name} needs --space and --data, and takes neither a benchmark nor a budget")
        search_images(
            method,
            space,
            images,
            out=out,
            benchmark=None,
            options=options,
            seeds=range(seed, seed + seeds),
            macro=network.given(),
            training=training.given(),
            device=device,
            machine=machine,
            as_json=as_json,
        )
        return
    kept = output.run_folder(out)
    bar = ClusterBar("searching", quiet=as_json)
    engine = machine.open(device, bar.watch)
    if (looked_up.benchmark is None) == (images is None):
        raise InputError("say what to maximize: --benchmark TABLE, or --space SPACE --data IMAGES")
    table, objective = None, None
    if images is None:
        table, objective = looked_up.open(space, training.given().get("epochs"))
    elif space is None:
        raise InputError("--data needs --space, too")
    else:
        objective = live.open(space, images, network, training, device)
    finished = None if kept is None or table is None else kept / f"{chosen.name}.jsonl"
    limits = _budget(objective, queries, budget, overshoot)
    with bar:
        result = run(
            method,
            objective,
            limits,
            seeds=range(seed, seed + seeds),
            options=options,
            folder=kept if table is None else None,
            finished=finished,
            engine=engine,
            progress=bar,
        )
    written = write_result(result, out) if out is not None else None
    if finished is not None:
        discard(finished)
    _show(result, table, objective, written, as_json)


def _budget(objective: Objective, queries: int | None, seconds: float | None, overshoot: bool) -> Budget:
    """The budget of each run: what was given, or what is usual for the table, which is said."""
    from prejudge.search import Budget
    from prejudge.search.objectives.table import USUAL_TRAININGS, TableObjective

    if queries is not None or seconds is not None or not isinstance(objective, TableObjective):
        return Budget(queries, seconds, overshoot)
    seconds = objective.usual_seconds() or None
    queries = None if seconds else USUAL_TRAININGS
    text = f"{seconds:g} simulated seconds" if seconds else f"{queries} queries"
    output.say(f"note: each run may spend {text}; --budget SECONDS or --queries N for another budget")
    return Budget(queries, seconds, overshoot)


def _show(result: SearchResult, table: Table | None, objective: Objective, written: Path | None, as_json: bool) -> None:
    from prejudge.search.result_table import outcomes, recommended_accuracies

    found = recommended_accuracies(result, table) if table is not None else outcomes(result)
    best = result.best_run
    if as_json:
        output.print_json({"written": written, "best": best.recommendation, "runs": found.to_dict("records")})
        return
    numbers = found.drop(columns=["seed", "recommendation"])
    output.print_table(
        f"{result.method} in {result.space}" + (f", table {table.name}" if table is not None else ""),
        [f"{len(found)} runs", "mean", "std", "min", "max"],
        [[c, numbers[c].mean(), numbers[c].std(ddof=0), numbers[c].min(), numbers[c].max()] for c in numbers.columns],
        numeric=["mean", "std", "min", "max"],
    )
    output.tell(f"recommended (seed {best.seed}): {best.recommendation}")
    what = objective.describe()
    if what.get("note"):
        output.say(f"note: {what['note']}")
    if what.get("split") == "test":
        output.say("note: the test accuracy itself was maximized, so it is not an estimate of anything")
    if written is not None:
        output.say(f"wrote {written}")
