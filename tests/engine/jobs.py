"""Functions that tests run as jobs; in a module that workers can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from prejudge.errors import InputError


def square(number: int) -> int:
    return number * number


def slow_square(number: int) -> int:
    time.sleep(0.02)
    return number * number


def whoami(_: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def fail_at_five(number: int) -> int:
    if number == 5:
        raise InputError("five is not allowed")
    return number


def refuse() -> None:
    raise InputError("cannot set up")


def unsendable(number: int) -> object:
    return lambda: number


class Dies:
    """Kills its worker at one job, the first so many times that it is given out; notes every start of a job."""

    def __init__(self, folder: Path, at: int, times: int) -> None:
        self.folder, self.at, self.times = folder, at, times

    def __call__(self, number: int) -> int:
        starts = len(list(self.folder.glob(f"{number}-*")))
        (self.folder / f"{number}-{starts}").touch()
        if number == self.at and starts < self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        return number


class Shared:
    """A function with a large array, and a note for each process that was sent it."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.values = folder, np.arange(size)

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        (self.folder / f"{os.getpid()}-{time.monotonic_ns()}").touch()

    def __call__(self, number: int) -> tuple[int, int]:
        time.sleep(0.01)
        return os.getpid(), int(self.values[number])


class Mapped(Shared):
    """Where the bytes of the array are in the memory that processes share: file, place in it, whether writable."""

    def __call__(self, number: int) -> tuple[int, tuple[str, int, bool]]:  # type: ignore[override]
        time.sleep(0.05)
        address = self.values.ctypes.data
        for line in Path("/proc/self/maps").read_text().splitlines():
            span, _, offset, _, _, *file = line.split(maxsplit=5)
            first, last = (int(end, 16) for end in span.split("-"))
            if first <= address < last:
                place = address - first + int(offset, 16)
                return os.getpid(), (" ".join(file), place, self.values.flags.writeable)
        raise AssertionError("an address that is not mapped")


def set_environment(name: str, value: str) -> None:
    os.environ[name] = value


def read_environment(name: str) -> str | None:
    return os.environ.get(name)
