"""The Ray actor: one worker, which is sent the function once and then job after job."""

from __future__ import annotations

import pickle
import platform
from collections.abc import Callable
from typing import Any, NamedTuple

from prejudge._version import __version__
from prejudge.engine.local import attempt, short
from prejudge.errors import PrejudgeError


class Place(NamedTuple):
    """Where a worker is.

    Attributes:
        node: Ray's identity of the node.
        host: Name of the machine.
        version: Version of prejudge there.
    """

    node: str
    host: str
    version: str


class RayWorker:
    """One worker.

    Its answers are pickled ``(exception or None, result)``, so that what a job raises is an answer, too, and only the
    death of a worker is an error of Ray's.
    """

    def __init__(self) -> None:
        self._function: Callable[[Any], Any] = type(None)

    def begin(self, task: list[Any]) -> bytes:
        """Fetch the task, which is on each node once, and set up; answers with the :class:`Place`."""
        return _pickled(attempt(self._begin, task))

    def do(self, job: Any) -> bytes:
        """Answer with the result of a job."""
        return _pickled(attempt(self._function, job))

    def _begin(self, task: list[Any]) -> Place:
        import ray

        self._function, initializer, initargs = ray.get(task[0])
        if initializer is not None:
            initializer(*initargs)
        return Place(ray.get_runtime_context().get_node_id(), platform.node(), __version__)


def _pickled(answer: tuple[Exception | None, Any]) -> bytes:
    try:
        return pickle.dumps(answer)
    except Exception as error:
        what = answer[1] if answer[0] is None else answer[0]
        return pickle.dumps((PrejudgeError(f"a worker cannot send {short(what)}: {error}"), None))
