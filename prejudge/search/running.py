"""Running search methods: one seed or many, in this process or in several."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prejudge._version import __version__
from prejudge.engine import LATER, Engine, LocalEngine, Progress, local_unless
from prejudge.errors import InputError, check_integer
from prejudge.search.budget import Budget
from prejudge.search.driver import Evaluator, Request, SearchRun
from prejudge.search.finished import FinishedRuns
from prejudge.search.objectives.base import Evaluation, Objective
from prejudge.search.protocol import SearchCallback, SearchContext
from prejudge.search.records import RunRecords
from prejudge.search.registry import SearchMethod, read_method, register
from prejudge.search.result import SearchResult, Trajectory
from prejudge.spaces import space as find_space
from prejudge.spaces.base import Space

if TYPE_CHECKING:
    from prejudge.data.dataset import ImageDataset


def run(
    method: str,
    objective: Objective | None = None,
    budget: Budget | None = None,
    *,
    space: Space[Any] | str | None = None,
    data: ImageDataset | None = None,
    seeds: Sequence[int] = (0,),
    options: Mapping[str, Any] | None = None,
    macro: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    workers: int = 1,
    engine: Engine | None = None,
    device: Any = None,
    folder: str | Path | None = None,
    finished: str | Path | None = None,
    resume_from: str | Path | None = None,
    resume_epoch: int | None = None,
    progress: Progress | None = None,
    callbacks: Sequence[SearchCallback] = (),
) -> SearchResult:
    """Run a search method of any kind, once for each seed.

    Methods that ask what architectures are worth need ``objective`` and ``budget``; those that train a supernet, or
    prune one, need ``space`` and ``data`` instead.

    Args:
        method: ``NAME``, ``NAME(option=value, …)`` or ``FILE.py:NAME``.
        objective: What to maximize.
        budget: How much each run may ask.
        space: The search space or its name; that of the objective if left out.
        data: Training images.
        seeds: One run for each.
        options: Further options of the method.
        macro: Macro-architecture numbers of the networks; classes and channels follow the data.
        training: Numbers of the supernet's training, by the names of :class:`~prejudge.train.recipes.recipe.Recipe`.
        workers: Processes of this machine. They share the runs, and where there are fewer runs than workers the
            questions of each run that do not depend on each other. Results do not depend on their number.
        engine: Where the work takes place, in place of ``workers`` processes; e.g. :class:`~prejudge.engine.RayEngine`.
        device: Where networks are computed, for methods that take ``data``: ``"cpu"``, ``"cuda:1"``, or a
            :class:`~prejudge.train.device.DeviceConfig`, or a function that makes one where the run takes place.
        folder: Folder in which answers and checkpoints are kept as they come, so that calling again goes on after an
            interruption. Workers elsewhere need the same folder.
        finished: File in which runs are kept once they have ended, so that calling again computes the others alone; for
            searches of tables, whose single answers are not worth keeping. It is removed by the caller.
        resume_from: Folder of an earlier run whose supernet is taken, by methods that start from one.
        resume_epoch: Epoch of that run's kept checkpoint; its last one if left out.
        progress: Called with the number of runs done (of pruning: networks measured), of all, and the seconds so far.
        callbacks: Called with a :class:`~prejudge.search.protocol.SearchEvent` after every evaluation, epoch or round
            of runs that are driven by this process, as all are with one worker.

    Returns:
        The runs, in the order of ``seeds``.

    Raises:
        InputError: An unknown method, option or device, something that the method needs is missing, a budget smaller
            than one evaluation, or an architecture that the objective cannot evaluate.
        BusyError: Another process is running the same search with the same folder.
        PrejudgeError: A worker died, or the engine cannot be had.
    """
    chosen, given = read_method(method, options)
    context = chosen.context
    where = _space(chosen, objective, space)
    chosen.check_space(where)
    if context.needs == "objective":
        _check_query_search(chosen, objective, budget, {"data": data, "device": device, "training": training})
    elif data is None or objective is not None or budget is not None:
        raise InputError(f"{chosen.name} needs a space and data, and takes neither an objective nor a budget")
    if resume_from is not None and not chosen.continues:
        raise InputError(f"{chosen.name} does not start from the supernet of an earlier run; leave resume_from out")
    order = list(dict.fromkeys(check_integer("a seed", seed, least=0) for seed in seeds))
    if not order:
        raise InputError("a search needs at least one seed")
    numbers = {
        "space": where, "objective": objective, "budget": budget, "data": data, "macro": dict(macro or {}),
        "training": dict(training or {}), "device": device, "resume_epoch": resume_epoch,
        "resume_from": None if resume_from is None else Path(resume_from).absolute(),
    }  # fmt: skip
    job = RunJob(method, given, numbers, None if folder is None else Path(folder).absolute())
    engine = local_unless(engine, workers)
    described = context(**numbers).describe()
    plan = {
        "method": chosen.name, "source": chosen.source, "options": given, "space": where.name,
        "objective": described, "budget": None if budget is None else asdict(budget), "prejudge": __version__,
    }  # fmt: skip
    with FinishedRuns(None if finished is None else Path(finished), plan) as kept:
        runs = _Runs(job, order, engine, progress, tuple(callbacks), kept)
        trajectories = runs.results(objective if context.needs == "objective" else None)
    return SearchResult(
        method=chosen.name,
        options=given,
        space=where.name,
        objective=described,
        budget={} if budget is None else asdict(budget),
        trajectories=trajectories,
        provenance={"prejudge": __version__},
    )


def _space(method: SearchMethod, objective: Objective | None, space: Space[Any] | str | None) -> Space[Any]:
    given = find_space(space) if isinstance(space, str) else space
    if objective is None:
        if given is None:
            needed = "an objective" if method.context.needs == "objective" else "a space and data"
            raise InputError(f"{method.name} needs {needed}")
        return given
    if given is not None and given.name != objective.space.name:
        raise InputError(f"the objective is of {objective.space.name}, not {given.name}; leave the space out")
    return objective.space


def _check_query_search(
    method: SearchMethod, objective: Objective | None, budget: Budget | None, others: Mapping[str, Any]
) -> None:
    if objective is None:
        raise InputError(f"{method.name} needs an objective, such as a TableObjective")
    if budget is None:
        raise InputError(f"{method.name} needs a budget: Budget(queries=…) or Budget(seconds=…)")
    for name, value in others.items():
        if value is not None:
            raise InputError(f"{method.name} asks its objective, which has its own {name}; leave {name} out")


@dataclass
class RunJob:
    """Runs a method from a seed, in this process or in a worker.

    Attributes:
        method: As for :func:`run`.
        options: All options.
        numbers: What the contexts of all seeds have in common.
        folder: Where runs keep what they have found.
    """

    method: str
    options: dict[str, Any]
    numbers: dict[str, Any]
    folder: Path | None = None

    def __call__(self, seed: int) -> Trajectory:
        with ExitStack() as stack:
            return self.begin(seed, stack).complete()

    def begin(self, seed: int, stack: ExitStack, **services: Any) -> SearchRun:
        """A run that is ready to go; what it keeps is closed with the stack."""
        chosen, _ = register.read(self.method)
        context = chosen.context(seed=seed, method=chosen.name, options=self.options, **self.numbers, **services)
        stack.enter_context(context.active())
        if self.folder is not None:
            context.folder = self.folder / f"seed-{seed}"
            if context.is_writer:
                plan = self._plan(chosen, context)
                context.journal = stack.enter_context(RunRecords(self._path(chosen, seed), plan))
        return SearchRun(chosen, self.options, context)

    def _path(self, method: SearchMethod, seed: int) -> Path:
        assert self.folder is not None
        return self.folder / f"{method.name}-{seed}.jsonl"

    def _plan(self, method: SearchMethod, context: SearchContext) -> dict[str, Any]:
        budget = context.budget
        return {
            "method": method.name,
            **({"source": method.source} if method.source else {}),
            "options": self.options,
            "space": context.space.name,
            "objective": context.describe(),
            "budget": None if budget is None else asdict(budget),
            "macro": context.macro,
            "training": context.training,
            "seed": context.seed,
        }


@dataclass
class _Runs:
    """The runs of one search, and how they are shared out."""

    job: RunJob
    seeds: list[int]
    engine: Engine
    progress: Progress | None
    callbacks: tuple[SearchCallback, ...]
    kept: FinishedRuns
    start: float = field(default_factory=time.perf_counter)

    def results(self, objective: Objective | None) -> list[Trajectory]:
        """All trajectories, in the order of the seeds."""
        context = register.read(self.job.method)[0].context
        device = self.job.numbers["device"] if objective is None else objective.device
        if isinstance(device, str) and not self.engine.elsewhere:
            from prejudge.engine.device import find_device

            find_device(device)
        workers, alone = self.engine.workers, context.side_by_side == "work" or self.engine.in_process
        if not alone and objective is not None and objective.live and (workers is None or workers > len(self.seeds)):
            return self._questions_shared(objective, device)
        left = [seed for seed in self.seeds if seed not in self.kept.runs]
        with closing(self._one_by_one(left) if alone else self._seeds_shared(left, device)) as runs:
            for trajectory in runs:
                self.kept.add(trajectory)
                if context.side_by_side != "work":
                    self._tell(len(self.kept.runs), len(self.seeds))
        return [self.kept.runs[seed] for seed in self.seeds]

    def _one_by_one(self, seeds: list[int]) -> Generator[Trajectory]:
        with self.engine:
            for done, seed in enumerate(seeds):
                with ExitStack() as stack:
                    run = self.job.begin(
                        seed, stack, engine=self.engine, callbacks=self.callbacks, report=self._within(done)
                    )
                    found = run.complete()
                yield found

    def _seeds_shared(self, seeds: list[int], device: Any) -> Generator[Trajectory]:
        engine = self.engine
        if type(engine) is LocalEngine and seeds:
            engine = LocalEngine(min(engine.workers, len(seeds)))
        with closing(engine.run(self.job, seeds, **_setup(engine, device))) as results:
            for _, found in results:
                yield found

    def _questions_shared(self, objective: Objective, device: Any) -> list[Trajectory]:
        """All runs are driven by this process; the others answer their questions."""
        found: dict[int, Trajectory] = {}
        active: dict[int, tuple[SearchRun, ExitStack]] = {}
        waiting = deque(self.seeds)

        def requests() -> Iterator[Any]:
            while active or waiting:
                request = None
                for seed, (run, stack) in list(active.items()):
                    request = next(run.requests(), None)
                    if request is not None:
                        break
                    if run.ended:
                        found[seed] = run.trajectory()
                        stack.close()
                        del active[seed]
                        self._tell(len(found), len(self.seeds))
                if request is not None:
                    yield request
                elif waiting:
                    seed = waiting.popleft()
                    stack = everything.enter_context(ExitStack())
                    active[seed] = self.job.begin(seed, stack, callbacks=self.callbacks), stack
                elif active:
                    yield LATER

        with ExitStack() as everything:
            results = self.engine.run(Answering(objective), requests(), **_setup(self.engine, device))
            for request, evaluation in everything.enter_context(closing(results)):
                if request.seed in active:  # else its budget was spent while this one was under way
                    active[request.seed][0].supply(request, evaluation)
        return [found[seed] for seed in self.seeds]

    def _within(self, done: int) -> Callable[[int, int], None]:
        """The progress of one of several runs, as that of all."""
        return lambda part, total: self._tell(done * total + part, len(self.seeds) * total)

    def _tell(self, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(done, total, time.perf_counter() - self.start)


@dataclass
class Answering:
    """Answers the questions of runs in a worker."""

    objective: Objective

    def __call__(self, request: Request) -> Evaluation:
        return Evaluator(self.objective, request.seed)(request.step, *request.query)


def _setup(engine: Engine, device: Any) -> dict[str, Any]:
    """How workers divide the threads, and where they make sure of the device; searches of tables need no torch."""
    torch = sys.modules.get("torch")
    if torch is None or engine.in_process:
        return {}
    from prejudge.engine.worker import prepare

    threads = engine.threads(torch.get_num_threads())
    checked = device if engine.elsewhere and isinstance(device, str) else None
    return {"initializer": prepare, "initargs": (threads, checked)}
