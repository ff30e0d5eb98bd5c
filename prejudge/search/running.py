"""Running search methods: one seed or many, in this process or in several."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prejudge._version import __version__
from prejudge.engine import Engine, LocalEngine, local_unless
from prejudge.errors import BusyError, InputError, unknown
from prejudge.search.journal import Journal
from prejudge.search.objectives.base import Objective
from prejudge.search.registry import register
from prejudge.search.result import SearchResult, Trajectory
from prejudge.search.run import Budget, BudgetSpent, Run

if TYPE_CHECKING:
    from filelock import BaseFileLock

ORPHAN_SECONDS = 10.0
"""How long a run waits for the workers of a process that was killed to let go of its journal."""

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
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Run a search method, once for each seed.

    Args:
        method: ``NAME``, ``NAME(option=value, …)`` or ``FILE.py:NAME``.
        objective: What to maximize.
        budget: How much each run may ask.
        seeds: One run for each.
        options: Further options of the method.
        workers: Processes of this machine; runs do not depend on their number.
        journal: Folder in which evaluations are kept as they come, so that calling again goes on after an interruption;
            for objectives that are slow to ask. Each run writes its own; workers elsewhere need the same folder.
        engine: Where the runs take place, in place of ``workers`` processes; e.g.
            :class:`~prejudge.engine.RayEngine`.
        progress: Called after every run.

    Returns:
        The runs, in the order of ``seeds``.

    Raises:
        InputError: An unknown method, option or device, a budget smaller than one evaluation, or an architecture that
            the objective cannot evaluate.
        BusyError: Another process is running the same search with the same journal.
        PrejudgeError: A worker died, or the engine cannot be had.
    """
    chosen, given = register.read(method)
    for option, value in (options or {}).items():
        if option not in chosen.options:
            raise unknown(f"option of {chosen.name}", option, chosen.options)
        given[option] = value
    order = list(dict.fromkeys(seeds))
    if not order or min(order) < 0:
        raise InputError("a search needs at least one seed, and seeds are not negative")
    engine = LocalEngine(min(max(1, workers), len(order))) if engine is None else local_unless(engine, workers)
    if objective.device is not None and not engine.elsewhere:
        from prejudge.engine.device import find_device

        find_device(objective.device)
    one = _OneRun(method, given, objective, budget, None if journal is None else journal.absolute())
    found: dict[int, Trajectory] = {}
    start = time.perf_counter()
    with closing(engine.run(one, order, **_setup(engine, objective.device))) as results:
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


def _setup(engine: Engine, device: str | None) -> dict[str, Any]:
    """How workers divide the threads, and where they make sure of the device; searches of tables need no torch."""
    torch = sys.modules.get("torch")
    if torch is None or engine.in_process:
        return {}
    from prejudge.engine.worker import prepare

    threads = engine.threads(torch.get_num_threads())
    return {"initializer": prepare, "initargs": (threads, device if engine.elsewhere else None)}


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

    @contextmanager
    def _journal(self, name: str, seed: int) -> Iterator[Journal | None]:
        if self.journal is None:
            yield None
            return
        self.journal.mkdir(parents=True, exist_ok=True)
        plan = {
            "method": name,
            "options": self.options,
            "space": self.objective.space.name,
            "objective": self.objective.describe(),
            "budget": asdict(self.budget),
            "seed": seed,
        }
        path = self.journal / f"{name}-{seed}.jsonl"
        lock = own_lock(path)
        try:
            with Journal(path, plan) as journal:
                yield journal
        finally:
            lock.release()


def own_lock(path: Path) -> BaseFileLock:
    """The writer lock of what a run keeps; workers whose parent was killed get a moment to follow it.

    Raises:
        BusyError: Another process runs the same search.
    """
    from prejudge.formats.lock import writer_lock

    deadline = time.monotonic() + ORPHAN_SECONDS
    while True:
        try:
            return writer_lock(path)
        except BusyError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


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
