"""Jobs on this machine: one process per worker, each handed the next job as soon as it returns a result."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from prejudge.errors import PrejudgeError

Job = TypeVar("Job")
Result = TypeVar("Result")

_START_HINT = "; a script that starts workers needs its calls under if __name__ == '__main__':"


def run_jobs(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    *,
    workers: int = 1,
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
) -> Generator[tuple[Job, Result], None, None]:
    """Apply ``function`` to every job and yield ``(job, result)`` as the results come.

    ``jobs`` is read as workers become free, so it may be endless; at most one job per worker is under way. Leaving the
    loop early or Ctrl-C ends the workers at once; after a failure the jobs under way are finished and yielded before it
    is raised. A worker whose parent is killed ends after its job.

    Args:
        function: Called once per job. With several workers it is pickled once per worker, jobs and results each time.
        jobs: The jobs.
        workers: Number of processes, started afresh ("spawn"); with one, everything runs in this process and in order.
        initializer: Called first in every worker, e.g. to divide the threads.
        initargs: Its arguments.

    Yields:
        Each job with its result, in the order of completion.

    Raises:
        PrejudgeError: A worker process died; the message names its job.
        Exception: Whatever ``function`` or ``initializer`` raises.
    """
    if workers <= 1:
        if initializer is not None:
            initializer(*initargs)
        for job in jobs:
            yield job, function(job)
        return
    remaining = iter(jobs)
    team: list[_Worker[Job, Result]] = []
    try:
        for _ in range(workers):
            if not _hand_out(remaining, team, (function, initializer, initargs)):
                break
        busy = {worker.pipe: worker for worker in team}
        failure: Exception | None = None
        while busy:
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                try:
                    finished, result = worker.job, worker.receive()
                except Exception as error:
                    failure = failure or error
                    del busy[worker.pipe]
                    continue
                # The next job goes out before the result is dealt with: the worker does not wait for the writer. After
                # a failure none does, but what the others are at is not thrown away.
                if failure is not None or not worker.give(remaining):
                    del busy[worker.pipe]
                yield finished, result
        if failure is not None:
            raise failure
    finally:
        for worker in team:
            worker.stop()


@dataclass
class _Worker(Generic[Job, Result]):
    """One process and our end of its pipe."""

    process: Any
    pipe: Connection
    job: Any = None
    done: int = 0

    def give(self, jobs: Iterator[Job]) -> bool:
        """Send the next job; False where there is none."""
        for self.job in jobs:
            with suppress(OSError):  # it has died: receiving says so
                self.pipe.send(self.job)
            return True
        return False

    def receive(self) -> Result:
        """The result of the job, or the exception that it raised."""
        try:
            error, result = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(10)
            raise PrejudgeError(self._obituary()) from None
        if error is not None:
            raise error
        self.done += 1
        return result

    def _obituary(self) -> str:
        code = self.process.exitcode
        if code is not None and code < 0:
            cause = f"was killed by signal {-code}" + (" (out of memory?)" if -code == signal.SIGKILL else "")
        else:
            cause = f"ended with code {code}"
        text = (
            f"a worker process {cause} while it ran {_short(self.job)}; finished results are kept, run again to go on"
        )
        return text + (_START_HINT if not self.done and code == 1 else "")

    def stop(self) -> None:
        self.pipe.close()
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _hand_out(jobs: Iterator[Job], team: list[_Worker[Job, Result]], task: tuple[Any, ...]) -> bool:
    """Start one more worker on the next job; False where there is none."""
    job = next(jobs, _Worker)  # any object that is no job
    if job is _Worker:
        return False
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, *task), daemon=True)
    with _interrupts_blocked():
        process.start()
    theirs.close()
    worker: _Worker[Job, Result] = _Worker(process, ours)
    team.append(worker)
    return worker.give(iter((job,)))  # type: ignore[arg-type]


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Ctrl-C reaches every process of the terminal; workers started in here leave it to this one to end them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(
    pipe: Connection,
    function: Callable[[Job], Result],
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
) -> None:
    """The life of a worker: jobs in, ``(exception or None, result)`` out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    failure: Exception | None = None
    try:
        if initializer is not None:
            initializer(*initargs)
    except Exception as error:
        failure = error
    with suppress(EOFError, OSError):
        while True:
            job = pipe.recv()
            answer: tuple[Exception | None, Any] = (failure, None)
            if failure is None:
                try:
                    answer = (None, function(job))
                except Exception as error:
                    answer = (error, None)
            try:
                pipe.send(answer)
            except OSError:
                return
            except Exception as error:  # it cannot be pickled
                pipe.send((PrejudgeError(f"a worker cannot send {_short(answer[0] or answer[1])}: {error}"), None))


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 120 else text[:117] + "..."
