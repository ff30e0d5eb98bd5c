"""The engine protocol: it runs one function on many jobs, and streams the results to the caller."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

Progress = Callable[[int, int, float], None]
"""Called with how much is done, how much there is in all, and the seconds since the start."""

LATER: Any = type("Later", (), {"__repr__": lambda _: "LATER"})()
"""In place of a job: there is none now, but there may be one after the next result."""


OVERDUE: Any = type("Overdue", (), {"__repr__": lambda _: "OVERDUE"})()
"""In place of a result: the job took longer than the engine's timeout, and was given up."""


class Engine(ABC):
    """Where independent jobs run. A context manager: inside the block a connection that it needs is kept.

    Every engine gives the same results, to the last bit where its workers compute with equally many threads on equal
    machines.

    Attributes:
        workers: Number of workers; None where as many are used as there is room for.
        in_process: Whether the jobs run in this very process, so that function and jobs need not be sent.
        elsewhere: Whether they may run on other machines, whose devices and files are not those of this one.
        timeout: Seconds after which a job is given up, with :data:`OVERDUE` as its result; None for never.
    """

    workers: int | None
    in_process: bool
    elsewhere: bool
    timeout: float | None = None

    @abstractmethod
    def run(
        self,
        function: Callable[[Job], Result],
        jobs: Iterable[Job],
        *,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> Generator[tuple[Job, Result], None, None]:
        """Apply ``function`` to every job and yield ``(job, result)`` as the results come.

        ``jobs`` is read as workers become free, so it may be endless, and it may depend on the results so far: it gives
        :data:`LATER` where it has to wait for the next one. At most one job per worker is under way. Leaving the loop
        early or Ctrl-C ends the workers at once; after a failure the jobs under way are finished and yielded before it
        is raised.

        Args:
            function: Called once per job; sent to every worker once.
            jobs: The jobs.
            initializer: Called first in every worker, e.g. to set its threads.
            initargs: Its arguments.

        Yields:
            Each job with its result, in the order of completion; with one local worker in the order of the jobs.

        Raises:
            PrejudgeError: A worker died with its job (more often than the engine tries again), or cannot be had.
            Exception: Whatever ``function`` or ``initializer`` raises.
        """

    @abstractmethod
    def threads(self, here: int) -> int:
        """Threads that each worker should compute with, where this process has so many."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Plain values for the provenance of the results: the workers, and the machines where they are others."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
