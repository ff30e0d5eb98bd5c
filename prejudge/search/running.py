"""Running search methods: one seed or many, in this process or in several."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prejudge import __version__
from prejudge.engine import run_jobs
from prejudge.errors import InputError, unknown
from prejudge.search.journal import Journal
from prejudge.search.objective import Objective
from prejudge.search.registry import register
from prejudge.search.result import SearchResult, Trajectory
from prejudge.search.run import Budget, BudgetSpent, Run

Progress = Callable[[int, int, float], None]
"""Called with the number of runs done, of all runs, and the seconds since the start."""


def run_search(
    method: str,
    objective: Objective,
    budget: Budget,
    *,
    seeds: Sequence[int] = (0,),
    options: Mapping[str, Any] | None = None,
    workers: int = 1,
    journal: Path | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Run a search method, once for each seed.

    Args:
        method: ``NAME``, ``NAME(option=value, …)`` or ``FILE.py:NAME``.
        objective: What to maximise.
        budget: How much each run may ask.
        seeds: One run for each.
        options: Further options of the method.
        workers: Processes; runs do not depend on their number.
        journal: Folder in which evaluations are kept as they come, so that calling again goes on after an interruption;
            for objectives that are slow to ask.
        progress: Called after every run.

    Returns:
        The runs, in the order of ``seeds``.

    Raises:
        InputError: An unknown method or option, a budget smaller than one evaluation, or an architecture that the
            objective cannot evaluate.
    """
    chosen, given = register.read(method)
    for option, value in (options or {}).items():
        if option not in chosen.options:
            raise unknown(f"option of {chosen.name}", option, chosen.options)
        given[option] = value
    order = list(dict.fromkeys(seeds))
    if not order or min(order) < 0:
        raise InputError("a search needs at least one seed, and seeds are not negative")
    one = _OneRun(method, given, objective, budget, journal)
    found: dict[int, Trajectory] = {}
    start = time.perf_counter()
    with closing(run_jobs(one, order, workers=min(workers, len(order)))) as results:
        for done, (seed, trajectory) in enumerate(results, start=1):
            found[seed] = trajectory
            if progress is not None:
                progress(done, len(order), time.perf_counter() - start)
    return SearchResult(
        method=chosen.name,
        options=given,
        space=objective.space.name,
        objective=objective.describe(),
        budget=asdict(budget),
        trajectories=[found[seed] for seed in order],
        provenance={"prejudge": __version__},
    )


@dataclass
class _OneRun:
    """Runs a method from a seed; it is sent to the workers once."""

    method: str
    options: dict[str, Any]
    objective: Objective
    budget: Budget
    journal: Path | None

    def __call__(self, seed: int) -> Trajectory:
        chosen, _ = register.read(self.method)
        start = time.perf_counter()
        with self._journal(chosen.name, seed) as journal:
            run = Run(self.objective, self.budget, seed, journal)
            with suppress(BudgetSpent):  # the usual end
                chosen(run, **self.options)
        return trajectory(run, time.perf_counter() - start - run.evaluating)

    def _journal(self, name: str, seed: int) -> Any:
        if self.journal is None:
            return nullcontext()
        self.journal.mkdir(parents=True, exist_ok=True)
        plan = {
            "method": name,
            "options": self.options,
            "space": self.objective.space.name,
            "objective": self.objective.describe(),
            "budget": asdict(self.budget),
            "seed": seed,
        }
        return Journal(self.journal / f"{name}-{seed}.jsonl", plan)


def trajectory(run: Run, overhead: float) -> Trajectory:
    """What a run has done, as plain values.

    Raises:
        InputError: Nothing that it evaluated has a value.
    """
    best = run.best
    if best is None:
        raise InputError(f"the search evaluated {len(run.steps)} architectures, and none has a value")
    schedules = run.objective.schedules
    own = schedules[-1] if schedules else 0  # what the objective takes where nothing is asked for
    return Trajectory(
        seed=run.seed,
        answer=str(best.arch if run.answer is None else run.answer),
        architectures=[str(s.arch) for s in run.steps],
        epochs=np.array([own if s.epochs is None else s.epochs for s in run.steps], dtype=np.int32),
        values=np.array([s.value for s in run.steps]),
        seconds=np.array([s.seconds for s in run.steps]),
        overhead=overhead,
        facts=run.facts,
    )
