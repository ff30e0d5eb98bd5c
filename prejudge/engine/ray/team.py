"""The workers of one run on a Ray cluster: hired as room comes, replaced when they die, given one job at a time."""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple

from prejudge._version import __version__
from prejudge.engine.base import LATER, Job, Result
from prejudge.engine.local import short
from prejudge.engine.ray.watch import Watch
from prejudge.engine.ray.worker import Place, RayWorker
from prejudge.errors import PrejudgeError

WAIT_SECONDS = 2.0
"""Seconds between two looks at the cluster while no worker answers."""


class Need(NamedTuple):
    """The demands of a run on the cluster; as the attributes of :class:`~prejudge.engine.RayEngine`."""

    workers: int | None
    cpus: int
    gpus: float
    retries: int
    patience: float

    def __str__(self) -> str:
        return _resources(self.cpus, self.gpus) if self.gpus else _plural(self.cpus, "CPU")

    def room(self, nodes: Iterable[dict[str, Any]]) -> int:
        """The number of workers that fit on the nodes that are up, as :func:`ray.nodes` describes them."""
        return sum(self._room_on(node.get("Resources") or {}) for node in nodes if node.get("Alive"))

    def _room_on(self, resources: dict[str, float]) -> int:
        by_cpu = int(resources.get("CPU", 0) // self.cpus)
        if not self.gpus:
            return by_cpu
        gpus = int(resources.get("GPU", 0))
        by_gpu = gpus * int(1 / self.gpus + 1e-6) if self.gpus <= 1 else int(gpus // self.gpus)
        return min(by_cpu, by_gpu)


class _Ticket(NamedTuple):
    """A job that is to be done, and how many workers have died with it."""

    job: Any
    deaths: int = 0


@dataclass
class _Member:
    """An actor; without a ticket while it starts."""

    actor: Any
    node: str = ""
    ticket: _Ticket | None = None


class Team(Generic[Job, Result]):
    """The workers of one run.

    Args:
        ray: The package, connected.
        need: What to ask of the cluster.
        task: Function, initializer and its arguments; put into the cluster once.
        jobs: Read as workers become free.
        watch: Called with the node's name after each job.
        cluster: The eye on the cluster.
    """

    def __init__(
        self,
        ray: Any,
        need: Need,
        task: tuple[Any, ...],
        jobs: Iterable[Job],
        watch: Callable[[str], None] | None,
        cluster: Watch,
    ) -> None:
        self._ray, self._need, self._watch = ray, need, watch
        self._task = [ray.put(task)]  # in a list, so that a worker fetches it itself, once
        self._hire = ray.remote(RayWorker).options(
            num_cpus=need.cpus, num_gpus=need.gpus, max_restarts=0, max_task_retries=0
        )
        self._jobs = iter(jobs)
        self._waiting: deque[_Ticket] = deque()
        self._pending: dict[Any, _Member] = {}
        self._idle: list[_Member] = []
        self._later = False
        self._failed_starts = 0
        self._failure: Exception | None = None
        self._nodes: dict[str, str] = {}
        self._cluster = cluster
        self._sign_of_life = time.monotonic()

    def results(self) -> Generator[tuple[Job, Result], None, None]:
        """Jobs with their results, as they come; raises what :meth:`Engine.run` says."""
        self._grow()
        while any(member.ticket for member in self._pending.values()) or (self._waiting and self._failure is None):
            for ref in self._finished():
                done = self._take(ref, self._pending.pop(ref))
                if done is not None:
                    yield done
            self._grow()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End all workers; where the head is lost, they have ended or will."""
        if self._cluster.silent:
            return
        for member in [*self._pending.values(), *self._idle]:
            self._dismiss(member)
        self._pending.clear()
        self._idle.clear()

    # -- the cluster --------------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        """Start workers as long as there is room and a job for each of them that no idle one can take."""
        if self._failure is not None:
            return
        while self._idle and (ticket := self._waiting.popleft() if self._waiting else self._draw()) is not None:
            self._hand(self._idle.pop(), ticket)
        while not self._idle and len(self._pending) < self._wanted():
            starting = sum(member.ticket is None for member in self._pending.values())
            if starting >= len(self._waiting):
                ticket = self._draw()
                if ticket is None:
                    return
                self._waiting.append(ticket)
            actor = self._hire.remote()
            self._pending[actor.begin.remote(self._task)] = _Member(actor)

    def _wanted(self) -> int:
        return self._need.workers or max(1, self._need.room(self._cluster.nodes))

    def _finished(self) -> list[Any]:
        done, _ = self._ray.wait(list(self._pending), num_returns=1, timeout=min(WAIT_SECONDS, self._need.patience))
        self._cluster.check()
        now = time.monotonic()
        if done or any(member.ticket for member in self._pending.values()):
            self._sign_of_life = now
        elif now - self._sign_of_life > self._need.patience:
            raise PrejudgeError(
                f"the Ray cluster has had no room for a worker with {self._need} for {self._need.patience:.0f} s; "
                f"its nodes have {self._all()}"
            )
        return list(done)

    def _all(self) -> str:
        """The resources of all nodes that are up, together."""
        up = [node.get("Resources") or {} for node in self._cluster.nodes if node.get("Alive")]
        return _resources(sum(node.get("CPU", 0) for node in up), sum(node.get("GPU", 0) for node in up))

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def _draw(self) -> _Ticket | None:
        for job in self._jobs:
            self._later = job is LATER
            return None if self._later else _Ticket(job)
        self._later = False
        return None

    def _give(self, member: _Member) -> None:
        """Give a worker its next job; where there is none, leave to go, or to wait if there may be one later."""
        member.ticket = ticket = None
        if self._failure is None:
            ticket = self._waiting.popleft() if self._waiting else self._draw()
        if ticket is not None:
            self._hand(member, ticket)
        elif self._later and self._failure is None:
            self._idle.append(member)
        else:
            self._dismiss(member)

    def _hand(self, member: _Member, ticket: _Ticket) -> None:
        member.ticket = ticket
        self._pending[member.actor.do.remote(ticket.job)] = member

    def _take(self, ref: Any, member: _Member) -> tuple[Job, Result] | None:
        """Deal with an answer; returns a job with its result if it was that."""
        ticket = member.ticket
        try:
            error, found = pickle.loads(self._ray.get(ref))
            if error is None and ticket is None:
                self._welcome(member, found)
        except self._ray.exceptions.RayError as death:
            self._bury(member, death)
            return None
        except Exception as unreadable:
            error = unreadable
        if error is not None:
            self._failure = self._failure or error
            self._dismiss(member)
            return None
        # The next job goes out before the result is dealt with: the worker does not wait for the writer.
        self._give(member)
        if ticket is None:
            return None
        if self._watch is not None:
            self._watch(self._nodes[member.node])
        return ticket.job, found

    def _welcome(self, member: _Member, place: Place) -> None:
        """A worker has started: name its node."""
        if place.version != __version__:
            raise PrejudgeError(
                f"node {place.host} has prejudge {place.version}, this is {__version__}: install the same everywhere"
            )
        self._failed_starts = 0
        member.node = place.node
        if place.node not in self._nodes:
            namesakes = sum(name.partition(" ")[0] == place.host for name in self._nodes.values())
            self._nodes[place.node] = f"{place.host} ({namesakes + 1})" if namesakes else place.host

    def _bury(self, member: _Member, death: Exception) -> None:
        """A worker has died: its job goes to another one, unless it has cost too many."""
        self._dismiss(member)
        cause = short((str(death).strip().splitlines() or [type(death).__name__])[-1])
        if member.ticket is None:
            self._failed_starts += 1
            if self._failed_starts > self._need.retries:
                self._failure = self._failure or PrejudgeError(f"no worker can start on the Ray cluster: {cause}")
            return
        ticket = member.ticket._replace(deaths=member.ticket.deaths + 1)
        if ticket.deaths <= self._need.retries:
            self._waiting.appendleft(ticket)
            return
        self._failure = self._failure or PrejudgeError(
            f"{ticket.deaths} workers died while they ran {short(ticket.job)}; finished results are kept, run again to "
            f"go on ({cause})"
        )

    def _dismiss(self, member: _Member) -> None:
        with suppress(Exception):  # it may be dead already
            self._ray.kill(member.actor)


def _resources(cpus: float, gpus: float) -> str:
    return f"{_plural(cpus, 'CPU')} and {_plural(gpus, 'GPU')}"


def _plural(number: float, what: str) -> str:
    return f"{number:g} {what}{'s' * (number != 1)}"
