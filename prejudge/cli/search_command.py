"""``prejudge search``: let a method look for an architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Group, Parameter, validators

from prejudge.cli import COMMANDS, output
from prejudge.cli.arguments import pairs
from prejudge.cli.options import MACHINE, Positive
from prejudge.cli.progress import ProgressBar
from prejudge.cli.recipe import Recipe
from prejudge.errors import InputError

app = App(
    name="search",
    help=COMMANDS["search"],
    help_epilogue="Example: prejudge search random --benchmark digits --queries 50 --seeds 20 --out random.h5",
)

_OBJECTIVE = Group("Objective", sort_key=1)
_BUDGET = Group("Budget of each run", sort_key=2)


@app.default
def search(
    method: str,
    /,
    *,
    benchmark: str,
    out: Path | None = None,
    space: str | None = None,
    option: list[str] | None = None,
    seeds: Annotated[int, Parameter(validator=Positive)] = 1,
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    recipe: Recipe = None,
    dataset: Annotated[str | None, Parameter(group=_OBJECTIVE)] = None,
    split: Annotated[Literal["valid", "test"] | None, Parameter(group=_OBJECTIVE)] = None,
    epochs: Annotated[int | None, Parameter(group=_OBJECTIVE)] = None,
    run_seed: Annotated[str | None, Parameter(group=_OBJECTIVE)] = None,
    queries: Annotated[int | None, Parameter(group=_BUDGET, validator=Positive)] = None,
    budget: Annotated[float | None, Parameter(group=_BUDGET)] = None,
    overshoot: Annotated[bool, Parameter(group=_BUDGET)] = False,
    workers: Annotated[int, Parameter(group=MACHINE, validator=Positive)] = 1,
    as_json: output.Json = False,
) -> None:
    """Search a benchmark table: as many runs as seeds, and what their answers are worth.

    Args:
        method: Name of the method (see: prejudge list searches), NAME(option=value) or FILE.py:NAME.
        benchmark: Name of an imported or embedded table, or its file; what it says is maximised.
        out: Result file (HDF5) with every step of every run.
        space: Search space; only checked against the table's.
        option: Option of the method: NAME=VALUE.
        seeds: Runs, each from its own seed.
        seed: The first seed.
        recipe: YAML file that fills in what is left out here.
        dataset: Dataset whose accuracy is maximised; needed where the table has several.
        split: Images whose accuracy is maximised; valid, or test where the table has no other, if left out.
        epochs: Training schedule; the table's shortest if left out.
        run_seed: random (each question draws one of the training runs), mean, or a run's seed; random where there are
            single runs, if left out.
        queries: Evaluations.
        budget: Simulated seconds, of training and validation; 12000 if neither is given.
        overshoot: Let the last evaluation end after the budget, as NATS-Bench's scripts do.
        workers: Processes.
        as_json: Print JSON instead of text.
    """
    from prejudge.benchmarks import benchmark as open_benchmark
    from prejudge.search import Budget, run_search, write_result
    from prejudge.search.summary import answers
    from prejudge.search.table_objective import open_objective

    table = open_benchmark(benchmark)
    if space is not None and space != table.space:
        raise InputError(f"table {table.name} is of {table.space}, not {space}")
    objective = open_objective(table, dataset, epochs, split, _run_seed(run_seed))
    seconds = 12_000.0 if queries is None and budget is None else budget
    with ProgressBar("searching", quiet=as_json) as bar:
        result = run_search(
            method,
            objective,
            Budget(queries, seconds, overshoot),
            seeds=range(seed, seed + seeds),
            options=pairs(option or []),
            workers=workers,
            progress=bar,
        )
    written = write_result(result, out) if out is not None else None
    found = answers(result, table)
    best = result.best()
    if as_json:
        output.print_json({"written": written, "best": best.answer, "runs": found.to_dict("records")})
        return
    facts = objective.describe()
    summary = [[c, found[c].mean(), found[c].std(ddof=0), found[c].min(), found[c].max()] for c in found.columns[2:]]
    output.print_table(
        f"{result.method} on {table.name}: {facts['dataset']} {facts['split']} accuracy, {facts['epochs']} epochs",
        [f"{len(found)} runs", "mean", "std", "min", "max"],
        summary,
        numeric=["mean", "std", "min", "max"],
    )
    print(f"best answer (seed {best.seed}): {best.answer}")
    if objective.note:
        output.say(f"note: {objective.note}")
    if facts["split"] == "test":
        output.say("note: the test accuracy itself was maximised, so it is no estimate of anything")
    if written is not None:
        output.say(f"wrote {written}")


def _run_seed(text: str | None) -> int | Literal["mean", "random"] | None:
    if text is None or text.isdigit():
        return None if text is None else int(text)
    if text not in ("mean", "random"):
        raise InputError(f"--run-seed is mean, random or the number of a training run's seed, not {text!r}")
    return text  # type: ignore[return-value]
