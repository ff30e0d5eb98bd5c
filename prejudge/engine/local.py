"""Jobs on this machine: one process per worker, each handed the next job as soon as it returns a result."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, cast

from prejudge.engine.base import LATER, OVERDUE, Engine, Job, Result
from prejudge.engine.orphans import end_with_parent
from prejudge.errors import InputError, PrejudgeError, check_integer

_BEGUN = "begun"
"""A worker that is timed sends it with each job that it takes up."""

_START_HINT = "; a script that starts workers needs its calls under if __name__ == '__main__':"
_LEFT_TO_THE_PARENT = {getattr(signal, name) for name in ("SIGINT", "SIGHUP", "SIGQUIT") if hasattr(signal, name)}


@dataclass(frozen=True)
class LocalEngine(Engine):
    """Processes of this machine.

    Attributes:
        workers: How many; with one and without a timeout, everything runs in this process and in order.
        timeout: Seconds after which the process of a job is killed; the next jobs get a new one.

    Raises:
        InputError: ``workers`` or ``timeout`` is not positive.
    """

    workers: int = 1
    timeout: float | None = None

    elsewhere = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "workers", check_integer("workers", self.workers))
        if self.timeout is not None and not 0 < self.timeout < math.inf:
            raise InputError(f"timeout must be a positive number of seconds, not {self.timeout}")

    @property
    def in_process(self) -> bool:  # type: ignore[override]
        return self.workers == 1 and self.timeout is None

    def run(
        self,
        function: Callable[[Job], Result],
        jobs: Iterable[Job],
        *,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> Generator[tuple[Job, Result], None, None]:
        return run_jobs(
            function, jobs, workers=self.workers, timeout=self.timeout, initializer=initializer, initargs=initargs
        )

    def threads(self, here: int) -> int:
        return max(1, here // self.workers)

    def describe(self) -> dict[str, Any]:
        return {"workers": self.workers}


def local_unless(engine: Engine | None, workers: int) -> Engine:
    """``engine``, or so many processes of this machine where there is none.

    Raises:
        InputError: Both were given, or ``workers`` is not positive.
    """
    if engine is None:
        return LocalEngine(workers)
    if workers != 1:
        raise InputError(f"give workers={workers} or an engine, not both; an engine has its own number of workers")
    return engine


def run_jobs(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    *,
    workers: int = 1,
    timeout: float | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
) -> Generator[tuple[Job, Result], None, None]:
    """Apply ``function`` to every job and yield ``(job, result)`` as the results come.

    ``jobs`` is read as workers become free, so it may be endless; :data:`~prejudge.engine.base.LATER` in it waits for
    the next result. At most one job per worker is under way. Leaving the loop early or Ctrl-C ends the workers at once;
    after a failure the jobs under way are finished and yielded before it is raised. A worker whose parent is killed
    ends at once.

    Args:
        function: Called once per job. With several workers it is pickled once per worker, jobs and results each time.
        jobs: The jobs.
        workers: Number of processes, started afresh ("spawn"); with one and no timeout, everything runs in this process
            and in order.
        timeout: Seconds after which a job's process is killed, and its result is
            :data:`~prejudge.engine.base.OVERDUE`.
        initializer: Called first in every worker, e.g. to divide the threads.
        initargs: Its arguments.

    Yields:
        Each job with its result, in the order of completion.

    Raises:
        PrejudgeError: A worker process died; the message names its job.
        Exception: Whatever ``function`` or ``initializer`` raises.
    """
    if workers <= 1 and timeout is None:
        if initializer is not None:
            initializer(*initargs)
        for job in jobs:
            if job is not LATER:  # the result before it has been dealt with
                yield job, function(job)
        return
    remaining = iter(jobs)
    team: list[_Worker[Job, Result]] = []
    busy: dict[Connection, _Worker[Job, Result]] = {}
    idle: list[_Worker[Job, Result]] = []
    failure: Exception | None = None
    try:
        while True:
            while failure is None and (idle or len(team) < workers):
                job = next(remaining, LATER)
                if job is LATER:
                    break
                if not idle:
                    idle.append(_start(team, (function, initializer, initargs, timeout is not None)))
                worker = idle.pop()
                worker.give(job)
                busy[worker.pipe] = worker
            if not busy:
                break
            for pipe in wait(list(busy), _next_deadline(busy.values(), timeout)):
                worker = busy[pipe]  # type: ignore[index]
                try:
                    finished, result = worker.job, worker.receive()
                    if result is LATER:  # it has only begun
                        continue
                except Exception as error:
                    failure = failure or error
                    del busy[worker.pipe]
                    continue
                # The next job goes out before the result is dealt with: the worker does not wait for the writer. After
                # a failure none does, but what the others are at is not thrown away.
                job = next(remaining, LATER) if failure is None else LATER
                if job is LATER:
                    idle.append(busy.pop(worker.pipe))
                else:
                    worker.give(job)
                yield finished, result
            for worker in [w for w in busy.values() if timeout is not None and w.seconds() >= timeout]:
                worker.stop()
                team.remove(worker)
                del busy[worker.pipe]
                yield worker.job, OVERDUE
        if failure is not None:
            raise failure
    finally:
        for worker in team:
            worker.stop()


def _next_deadline(busy: Iterable[_Worker[Any, Any]], timeout: float | None) -> float | None:
    """Seconds until the first of them has been at its job for too long."""
    if timeout is None:
        return None
    left = [timeout - worker.seconds() for worker in busy if worker.since is not None]
    return max(0.0, min(left)) if left else None


@dataclass
class _Worker(Generic[Job, Result]):
    """One process and our end of its pipe."""

    process: Any
    pipe: Connection
    job: Any = None
    done: int = 0
    since: float | None = None

    def give(self, job: Job) -> None:
        """Send the next job."""
        self.job, self.since = job, None
        with suppress(OSError):  # it has died: receiving says so
            self.pipe.send(job)

    def seconds(self) -> float:
        """Since it has begun with its job, if it says so; 0 before."""
        return 0.0 if self.since is None else time.monotonic() - self.since

    def receive(self) -> Result:
        """The result of the job, or the exception that it raised; LATER if it has just begun."""
        try:
            message = self.pipe.recv()
            if message == _BEGUN:
                self.since = time.monotonic()
                return cast(Result, LATER)
            error, result = message
        except (EOFError, OSError):
            self.process.join(10)
            raise PrejudgeError(self._obituary()) from None
        if error is not None:
            raise error
        self.done += 1
        return cast(Result, result)

    def _obituary(self) -> str:
        code = self.process.exitcode
        if code is not None and code < 0:
            cause = f"was killed by signal {-code}" + (" (out of memory?)" if -code == signal.SIGKILL else "")
        else:
            cause = f"ended with code {code}"
        text = f"a worker process {cause} while it ran {short(self.job)}; finished results are kept, run again to go on"
        return text + (_START_HINT if not self.done and code == 1 else "")

    def stop(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()


def _start(team: list[_Worker[Job, Result]], task: tuple[Any, ...]) -> _Worker[Job, Result]:
    """Start one more worker."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    kernel = threading.current_thread() is threading.main_thread()  # to which the end of a thread is that of a parent
    process = context.Process(target=_work, args=(theirs, os.getpid() if kernel else None), daemon=True)
    with _signals_blocked():
        process.start()
    theirs.close()
    worker: _Worker[Job, Result] = _Worker(process, ours)
    team.append(worker)
    with suppress(OSError):  # it has died: receiving says so
        ours.send(task)  # once it takes care to end with us: reading it may import torch
    return worker


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Signals of a terminal reach every process in it; workers started in here leave it to this one to end them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT_TO_THE_PARENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection, parent: int | None) -> None:
    """The life of a worker: the task, then jobs in, ``(exception or None, result)`` out, until the pipe closes."""
    for number in _LEFT_TO_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    if parent is not None:
        end_with_parent(parent)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    failure: Exception | None = None
    announce = False
    try:
        function, initializer, initargs, announce = pipe.recv()
        if initializer is not None:
            initializer(*initargs)
    except Exception as error:
        failure = error
    with suppress(EOFError, OSError):
        while True:
            job = pipe.recv()
            if announce:
                pipe.send(_BEGUN)
            answer: tuple[Exception | None, Any] = (failure, None)
            if failure is None:
                answer = attempt(function, job)
            try:
                pipe.send(answer)
            except OSError:
                return
            except Exception as error:  # it cannot be pickled
                pipe.send((PrejudgeError(f"a worker cannot send {short(answer[0] or answer[1])}: {error}"), None))


def attempt(function: Callable[[Job], Result], job: Job) -> tuple[Exception | None, Result | None]:
    """``(None, result)``, or ``(error, None)`` where the function raises one."""
    try:
        return None, function(job)
    except Exception as error:
        return error, None


def _end_with_the_parent() -> None:
    """Leave at once when the parent has been killed: a run that is started again must not find us at its files."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def short(value: object) -> str:
    """In one line, and not too long a one."""
    text = " ".join(str(value).split())
    return text if len(text) <= 120 else text[:117] + "..."
