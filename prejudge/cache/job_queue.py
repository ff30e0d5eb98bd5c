"""The jobs of a fill with a timeout: what takes too long comes again, a proxy at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from prejudge.cache.scorer import Job
from prejudge.engine import LATER
from prejudge.proxies.score import Score


class JobQueue:
    """Jobs of which those that take too long come again, a proxy at a time.

    Attributes:
        total: Repeats of all jobs.
        finished: Jobs whose results have come.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._waiting = deque(jobs)
        self.total = sum(len(job.repeats) for job in jobs)
        self.finished = self._handed_out = 0

    def jobs(self) -> Iterator[Job]:
        """The next jobs, LATER while the last ones that are under way may come again."""
        while self._waiting or self.finished < self._handed_out:
            self._handed_out += bool(self._waiting)
            yield self._waiting.popleft() if self._waiting else LATER

    def given_up(self, job: Job, timeout: float | None) -> list[dict[str, Score]]:
        """The failed scores of a job of one proxy that took too long; none for one of several, which come again."""
        self.finished += 1
        if len(job.columns) > 1:
            self._waiting.extend(replace(job, columns=(column,)) for column in job.columns)
            self.total += len(job.repeats) * (len(job.columns) - 1)
            return []
        return [dict.fromkeys(job.columns, Score.failed(f"took longer than {timeout:g} s")) for _ in job.repeats]
