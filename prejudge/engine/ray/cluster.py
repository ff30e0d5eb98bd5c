"""Jobs on a Ray cluster: one actor per worker, wherever in the cluster there is room."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from prejudge.engine.base import Engine, Job, Result
from prejudge.engine.ray.connection import connect, find_ray, leave
from prejudge.engine.ray.team import Need, Team
from prejudge.engine.ray.watch import Watch
from prejudge.errors import InputError, check_integer


@dataclass
class RayEngine(Engine):
    """A Ray cluster (Moritz et al., OSDI 2018, arXiv:1712.05889); needs the extra ``ray``.

    The function is put into the cluster once and fetched by each node once; arrays in it are shared by the workers of
    a node, and read-only. A job whose worker or node dies is given to another worker. Nodes may join and leave while it
    runs. Every node needs the same version of prejudge, and whatever files the function reads under the same path.

    Attributes:
        address: ``auto`` (``RAY_ADDRESS``, or the cluster of this machine), ``HOST:PORT`` of the head, ``ray://HOST:PORT``
            (from outside of the cluster), or ``local`` (a cluster of this machine alone, for this process).
        workers: At most so many; as many as fit in the cluster, nodes that join later included, if left out.
        threads_per_worker: CPUs that each worker reserves, and threads that it computes with.
        gpus_per_worker: GPUs that each worker reserves; with a fraction several share one.
        retries: How often a job is tried again after its worker died.
        patience: Seconds to wait for room for the first worker.
        watch: Called with the name of the node after each job.

    Raises:
        InputError: A number is out of its range.
    """

    address: str = "auto"
    workers: int | None = None
    threads_per_worker: int = 1
    gpus_per_worker: float = 0.0
    retries: int = 3
    patience: float = 300.0
    watch: Callable[[str], None] | None = None
    _ray: Any = field(default=None, init=False, repr=False)
    _cluster: Any = field(default=None, init=False, repr=False)
    _users: int = field(default=0, init=False, repr=False)
    _joined: bool = field(default=False, init=False, repr=False)

    in_process = False
    elsewhere = True

    def __post_init__(self) -> None:
        gpus = self.gpus_per_worker
        checks = (("workers", self.workers, 1), ("threads_per_worker", self.threads_per_worker, 1))
        for name, number, least in (*checks, ("retries", self.retries, 0)):
            if number is not None:
                setattr(self, name, check_integer(name, number, least))
        if not math.isfinite(gpus) or gpus < 0 or (gpus > 1 and gpus != int(gpus)):
            raise InputError(f"gpus_per_worker must be a fraction of one GPU or a whole number, not {gpus}")

    def run(
        self,
        function: Callable[[Job], Result],
        jobs: Iterable[Job],
        *,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> Generator[tuple[Job, Result], None, None]:
        with self:
            need = Need(self.workers, self.threads_per_worker, self.gpus_per_worker, self.retries, self.patience)
            team: Team[Job, Result] = Team(
                self._ray, need, (function, initializer, initargs), jobs, self.watch, self._cluster
            )
            try:
                yield from team.results()
            finally:
                team.stop()

    def threads(self, here: int) -> int:
        return self.threads_per_worker

    def describe(self) -> dict[str, Any]:
        with self:
            resources = self._ray.cluster_resources()
            kinds = sorted(name.partition(":")[2] for name in resources if name.startswith("accelerator_type:"))
            return {
                "engine": f"Ray {self._ray.__version__}",
                "workers": self.workers or "as many as fit",
                **({"gpus per worker": self.gpus_per_worker} if self.gpus_per_worker else {}),
                **({"accelerators": ", ".join(kinds)} if kinds else {}),
            }

    def __enter__(self) -> Self:
        if not self._users:
            self._ray = find_ray()
            self._joined = connect(self._ray, self.address)
            self._cluster = Watch(self._ray)
        self._users += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._users -= 1
        if not self._users:
            self._cluster.stop()
            if self._joined:
                self._joined = False
                leave(self._ray)
