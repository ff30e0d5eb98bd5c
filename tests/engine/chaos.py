"""A command is killed at random moments and started again, and what it leaves behind is looked at each time.

After every kill the files must be readable; whatever could be read once must still be there, and nothing that an
undisturbed run would not have written. A run that gets to its end must have written what the undisturbed one did.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

Rows = dict[Any, Any]
Read = Callable[[Path], Rows]
"""Rows that the output file, and what is beside it, hold; empty where there is nothing. Fails if they are damaged."""

Victim = Literal["driver", "worker", "all"]
ALONE = [
    "torch", "torch._dynamo", "torch.utils.tensorboard", "numpy", "pandas", "h5py", "sklearn.datasets", "filelock",
    "rich.progress", "yaml", "jinja2", "matplotlib.figure", "prejudge.cli.score_command",
    "prejudge.cli.bench_train", "prejudge.cli.bench_import", "prejudge.cli.search_command", "prejudge.cache.filler",
    "prejudge.benchmarks.training.trainer", "prejudge.search.objectives.training", "prejudge.data.loading",
    "prejudge.cli.cache_command", "prejudge.cli.search_images", "prejudge.search.pruning.measurement",
    "prejudge.cli.train_command", "prejudge.train.training", "prejudge.train.evaluation.evaluate",
    "prejudge.search.supernet.darts_pt.method", "prejudge.cli.run_command", "prejudge.pipeline.running",
    "prejudge.cli.test_command", "prejudge.cli.report_command", "prejudge.report.training",
    "prejudge.search.recommendation", "prejudge.spaces.nasbench201.network", "prejudge.train.training_folder",
    "prejudge.train.recipes.resolve",
    "prejudge.cli.report_tables", "prejudge.search.objectives.table",
    "prejudge.search.result_table", "prejudge.spaces.nasbench201.supernet",
    "prejudge.search.supernet.darts_pt.learner", "prejudge.cli.demo_command", "prejudge.pipeline.demo",
    "prejudge.cli.search_objective", "prejudge.search.query.random",
]  # fmt: skip
MOMENTS = ("any", "first second", "while it writes", "while a file is replaced")
ROUNDS = int(os.environ.get("PREJUDGE_CHAOS_ROUNDS", "10"))
"""Of each of the slow tests."""


class Running(Protocol):
    """A command that was started."""

    pid: int

    def ended(self, seconds: float) -> int | None:
        """The exit code, once it is there; None if it is not after so many seconds."""


class Forked:
    """A command in a process that has everything imported already; it starts no workers."""

    def __init__(self, words: Sequence[str]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(ALONE)
        self._process = context.Process(target=_run, args=(list(words),))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def ended(self, seconds: float) -> int | None:
        self._process.join(seconds)
        return self._process.exitcode


class Spawned:
    """A command as a shell starts it, at the head of a process group of its own."""

    def __init__(self, words: Sequence[str]) -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = [sys.executable, "-m", "prejudge", *words]
        self._process = subprocess.Popen(command, **quiet, start_new_session=True)  # type: ignore[call-overload]
        self.pid = self._process.pid

    def ended(self, seconds: float) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode  # type: ignore[no-any-return]


def _run(words: list[str]) -> None:
    from prejudge import cli

    os.setsid()
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    sys.exit(cli.run(words))


@dataclass
class Torment:
    """A command, and how it is killed.

    Attributes:
        words: The command, without ``--out``.
        folder: An empty folder.
        committed: Reads what the command keeps while it runs.
        finished: Reads what it has written in the end.
        name: What ``--out`` is called.
        start: How it is started.
        victims: Who may be killed.
        seed: Of the moments.
        kills: How often a run was killed so far.
        ends: How often a run came to its end before that.
        resumed: How often a run that was killed had kept something, but not all.
        all_rows: What an undisturbed run keeps; read from the output of one where it is not given.
    """

    words: list[str]
    folder: Path
    committed: Read
    finished: Read
    name: str = "out.h5"
    start: Callable[[Sequence[str]], Running] = Forked
    victims: tuple[Victim, ...] = ("driver",)
    seed: int = 0
    kills: int = 0
    ends: int = 0
    resumed: int = 0
    all_rows: Rows | None = None
    _known: Rows = field(default_factory=dict)
    _in_vain: int = 0

    def rounds(self, number: int) -> None:
        """Kill it so many times; at the end let it come to its own."""
        reference = self.folder / "reference" / self.name
        for _ in range(2):  # the first one warms up
            shutil.rmtree(reference.parent, ignore_errors=True)
            reference.parent.mkdir()
            began = time.monotonic()
            assert self._start(reference).ended(600) == 0
            seconds = time.monotonic() - began
        result = self.finished(reference)
        all_rows = self.committed(reference) if self.all_rows is None else self.all_rows
        assert all_rows and result
        out = self.folder / "tried" / self.name
        out.parent.mkdir()
        rng = np.random.default_rng(self.seed)
        for _ in range(number):
            before = _sizes(out.parent)
            running = self._start(out)
            match MOMENTS[int(rng.integers(len(MOMENTS)))]:
                case "any":  # longer and longer where nothing new was kept: on a busy machine it would never get on
                    code = running.ended(float(rng.uniform(0, 1.1 * seconds * (1 + self._in_vain / 2))))
                case "first second":
                    code = running.ended(float(rng.uniform(0, 1)))
                case "while it writes":
                    code = _wait_while(running, lambda: _sizes(out.parent) == before)  # noqa: B023 (called at once)
                    code = running.ended(float(rng.uniform(0, 0.1 * seconds))) if code is None else code
                case _:  # while a file takes the place of another one
                    code = _wait_while(running, lambda: not list(out.parent.rglob("*.part")))
                    code = running.ended(float(rng.uniform(0, 0.02))) if code is None else code
            if code is None:
                code = self._kill(running, rng)
            if code == 0:
                self._ended(out, result)
            else:
                self._left(out, all_rows)
        running = self._start(out)
        assert running.ended(600) == 0
        self._ended(out, result)
        _wait_for_orphans(running.pid)

    def __str__(self) -> str:
        return f"{self.kills} kills, {self.ends} ends, {self.resumed} left midway"

    def _start(self, out: Path) -> Running:
        return self.start([*self.words, "--out", str(out), "--json"])

    def _kill(self, running: Running, rng: np.random.Generator) -> int | None:
        victim = self.victims[int(rng.integers(len(self.victims)))]
        workers = _children(running.pid)
        with suppress(ProcessLookupError):
            if victim == "worker" and workers:
                os.kill(workers[int(rng.integers(len(workers)))], signal.SIGKILL)
            elif victim == "all":
                os.killpg(running.pid, signal.SIGKILL)
            else:
                os.kill(running.pid, signal.SIGKILL)
        code = running.ended(120)
        assert code is not None, "it goes on although a process of it was killed"
        self.kills += code != 0
        if rng.random() < 0.5:  # otherwise the next one may meet its orphans
            _wait_for_orphans(running.pid)
        return code

    def _left(self, out: Path, all_rows: Rows) -> None:
        found = self.committed(out)
        assert self._known.items() <= found.items(), "something that was there is lost"
        assert found.items() <= all_rows.items(), "something that does not belong here"
        self.resumed += 0 < len(found) < len(all_rows)
        self._in_vain = self._in_vain + 1 if found == self._known else 0
        self._known = found

    def _ended(self, out: Path, result: Rows) -> None:
        left = [path.name for path in out.parent.rglob("*.part")]
        assert not left, "files that were being written are left"
        found = self.finished(out)
        differs = {
            key: (found.get(key), result.get(key)) for key in found | result if found.get(key) != result.get(key)
        }
        assert not differs, "it has not ended as one that was left alone"
        self.ends += 1
        self._in_vain = 0
        shutil.rmtree(out.parent)
        out.parent.mkdir()
        self._known = {}


def _wait_while(running: Running, condition: Callable[[], bool]) -> int | None:
    code = None
    while code is None and condition():
        code = running.ended(0.002)
    return code


def _sizes(folder: Path) -> dict[Path, tuple[int, int]]:
    """Sizes and times of the files that are written."""
    sizes = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # it has just been replaced
            if path.is_file() and path.suffix != ".lock":
                sizes[path] = (path.stat().st_size, path.stat().st_mtime_ns)
    return sizes


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _wait_for_orphans(group: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(0.01)
    raise AssertionError("workers are still there a minute after their parent was killed")
