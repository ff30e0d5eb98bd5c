"""``prejudge search te-nas``: prune a supernet without training it."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import App, Group, Parameter, validators

from prejudge.cli import output
from prejudge.cli.arguments import pairs
from prejudge.cli.options import MACHINE, THIS_PROCESS, DataOptions, EngineOptions, Positive
from prejudge.cli.progress import ClusterBar, ProgressBar
from prejudge.cli.recipe_option import Recipe
from prejudge.cli.search_answers import open_table, show_answers

app = App(
    name="te-nas",
    help_epilogue="Example: prejudge search te-nas --space nasbench201 --data digits --out te-nas.h5",
)

_PRUNING = Group("Pruning", sort_key=1)


@app.default
def te_nas(
    *,
    images: DataOptions,
    space: str = "nasbench201",
    out: Path | None = None,
    benchmark: str | None = None,
    seeds: Annotated[int, Parameter(validator=Positive)] = 1,
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    recipe: Recipe = None,
    convention: Annotated[str, Parameter(group=_PRUNING)] = "default",
    setting: Annotated[list[str] | None, Parameter(group=_PRUNING)] = None,
    classes: Annotated[int | None, Parameter(group=_PRUNING, validator=Positive)] = None,
    device: Annotated[str, Parameter(group=MACHINE)] = "cpu",
    machine: EngineOptions = THIS_PROCESS,
    as_json: output.Json = False,
) -> None:
    """Remove the operations of a supernet that matter least to its kernel's condition and its linear regions.

    No network is trained and no label is read.

    Args:
        images: Images; those of a NumPy file need no labels.
        space: nasbench201, darts or darts-s1 … darts-s4.
        out: Result file (HDF5); what was measured is kept beside it until it is written, and taken up again.
        benchmark: Table in which the answers are looked up.
        seeds: Runs, each from its own seed.
        seed: The first seed.
        recipe: YAML file that fills in what is left out here.
        convention: default (fast), or tenas: what the released code does, with the exact kernel.
        setting: Any other setting of the pruning: NAME=VALUE, e.g. kernel=exact, batch_size=32, repeats=5.
        classes: Outputs of the networks; the classes of the data if left out.
        device: cpu, cuda, cuda:1, mps …
        machine: Where the networks are measured; the round that is at work is shared out.
        as_json: Print JSON instead of text.
    """
    from prejudge.data.loading import load
    from prejudge.formats.lock import alone
    from prejudge.search import write_result
    from prejudge.search.pruning import convention as settings
    from prejudge.search.pruning import prune, search_result
    from prejudge.search.pruning.pruning_space import pruning_space
    from prejudge.spaces import space as find_space

    where = find_space(space)
    pruning_space(where)  # a space that cannot be pruned is said before anything is loaded
    protocol = settings(convention, **pairs(setting or []))
    table = open_table(benchmark, space)
    bar = ClusterBar("measuring", quiet=as_json)
    engine = machine.open(device, bar.watch)
    data = load(images.data, **images.places(), labels=False)
    results = []
    states = [None if out is None else out.with_name(f"{out.name}.{s}.state") for s in range(seed, seed + seeds)]
    with nullcontext() if out is None else alone(out), engine, bar:
        for number, state in enumerate(states):
            results.append(
                prune(
                    where,
                    data,
                    protocol=protocol,
                    seed=seed + number,
                    num_classes=classes,
                    engine=engine,
                    device=device,
                    state=state,
                    progress=partial(_progress, bar, number, len(states)),
                )
            )
        found = search_result(results)
        written = write_result(found, out) if out is not None else None
        for state in states:
            if state is not None:
                state.unlink(missing_ok=True)
    show_answers(found, table, written, as_json=as_json)
    reasons = dict.fromkeys(reason for r in results for s in r.steps for reason in s.failures)
    if reasons:
        output.say(f"note: some figures are missing: {'; '.join(reasons)}")
    if bar.summary:
        output.say(f"by node: {bar.summary}")


def _progress(bar: ProgressBar, run: int, runs: int, done: int, total: int, seconds: float) -> None:
    """Progress of one of several runs, as that of all."""
    bar(run * total + done, runs * total, seconds)
