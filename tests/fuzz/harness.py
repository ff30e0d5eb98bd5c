"""Hostile inputs against one reader: what it may do, and a child process in which it is made to do it.

A reader may return, or raise an error of prejudge whose text is one short line. Everything else is a finding: another
exception, more time or memory than allowed, a dead process, code that ran, a file written elsewhere. Targets stand in
the modules ``text_*.py`` and ``binary_*.py`` beside this one and register here when they are imported; ``explore.py``
runs the same ones under atheris.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import mmap
import os
import resource
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from prejudge.errors import PrejudgeError
from tests.fuzz.mutation import Generator, input_at

INPUTS = int(os.environ.get("PREJUDGE_FUZZ_INPUTS", "300"))
"""Inputs for each target; ``make fuzz`` runs 100,000."""

_ROOT = str(Path(__file__).resolve().parents[2])
FOLDER = Path(_ROOT) / "build" / "fuzz"
"""Where inputs that were findings are kept, and what each run found."""

LONGEST_MESSAGE = 500
SENTINEL = "executed"
"""A file of this name in the working folder means that an input was executed: let inputs try to make it."""

ATTEMPTS = (
    f"__import__('pathlib').Path('{SENTINEL}').touch()",
    f"open('{SENTINEL}', 'w')",
    f"__import__('os').system('touch {SENTINEL}')",
    f'!!python/object/apply:os.system ["touch {SENTINEL}"]',
    f"!!python/object/new:os.system [touch {SENTINEL}]",
    "!!python/name:os.system",
    f"$(touch {SENTINEL})",
    f"`touch {SENTINEL}`",
    f"; touch {SENTINEL}",
)
"""Texts that make :data:`SENTINEL` where somebody evaluates them."""

_WATCHDOG_SECONDS = 30.0
_FINDINGS_KEPT = 20
_OWN_FAULT = "the harness"
_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "socket.connect")


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        name: Kebab-case, unique: ``python tests/fuzz/explore.py NAME``.
        read: Reads one input, in a working folder of its own that it may write to (see :func:`text_target` and
            :func:`file_target`).
        seeds: Makes valid inputs; the first must be readable (it also loads what the reader imports lazily).
        tokens: Pieces that mean something to the reader.
        generate: Makes further inputs from random numbers.
        seconds: Of processor time for one input.
        megabytes: That the process may grow by.
        one_in: Of the inputs of a run this target is given one in so many (and its seeds); where one takes long.
    """

    name: str
    read: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    tokens: Sequence[bytes] = ()
    generate: Generator | None = None
    seconds: float = 2.0
    megabytes: int = 500
    one_in: int = 1


TARGETS: dict[str, Target] = {}
_MODULES: dict[str, str] = {}


def register(target: Target) -> Target:
    """Make a target known by its name."""
    if target.name in TARGETS:
        raise ValueError(f"two targets are called {target.name}")
    TARGETS[target.name] = target
    frame = sys._getframe(1)
    while frame.f_globals["__name__"] == __name__ and frame.f_back is not None:
        frame = frame.f_back
    _MODULES[target.name] = frame.f_globals["__name__"]
    return target


def targets_of(*modules: ModuleType) -> list[str]:
    """Names of the targets that these modules have registered."""
    names = {module.__name__ for module in modules}
    return [target for target, module in _MODULES.items() if module in names]


def text_target(
    name: str, read: Callable[[str], object], seeds: Sequence[str], tokens: Sequence[str] = (), **limits: Any
) -> Target:
    """A reader of one text, such as the command line passes it on: bytes that are not UTF-8 are lone surrogates."""
    return register(
        Target(
            name,
            lambda data: read(data.decode("utf-8", "surrogateescape")),
            lambda: [seed.encode("utf-8", "surrogateescape") for seed in seeds],
            tuple(token.encode("utf-8", "surrogateescape") for token in (*tokens, *ATTEMPTS)),
            **limits,
        )
    )


def file_target(
    name: str,
    file: str,
    read: Callable[[Path], object],
    seeds: Callable[[], list[bytes]],
    tokens: Sequence[bytes] = (),
    **limits: Any,
) -> Target:
    """A reader of a file, which is given each input under the name ``file`` in the working folder."""

    def write_and_read(data: bytes) -> object:
        path = Path(file)
        path.write_bytes(data)
        return read(path)

    return register(Target(name, write_and_read, seeds, (*tokens, *(a.encode() for a in ATTEMPTS)), **limits))


class Hang(BaseException):
    """The reader took more time than it may."""


class Forbidden(BaseException):
    """The reader did what no reader may do."""


@dataclass(frozen=True)
class Finding:
    """What a reader did wrong.

    Attributes:
        what: Kind and place, equal for findings of the same cause.
        detail: The traceback, or the offending message.
        number: Of the input, see :func:`~tests.fuzz.mutation.input_at`.
        file: Where the input is kept.
        times: How many inputs did it.
    """

    what: str
    detail: str
    number: int
    file: str = ""
    times: int = 1

    def __str__(self) -> str:
        return f"{self.what} ({self.times}x; input {self.number}, {self.file})\n{self.detail}"


def check(target: Target, data: bytes) -> None:
    """Let a target read one input; raises AssertionError, or what the reader raised, where that is a finding."""
    try:
        target.read(data)
    except PrejudgeError as error:
        message = str(error)
        if not message.strip() or len(message.splitlines()) != 1:
            raise AssertionError(f"message of {len(message.splitlines())} lines: {message[:600]!r}") from error
        if len(message) > LONGEST_MESSAGE:
            raise AssertionError(f"message of {len(message)} characters: {message[:600]!r}") from error
    if os.path.exists(SENTINEL):  # noqa: PTH110  (once for each input)
        os.remove(SENTINEL)  # noqa: PTH107
        raise AssertionError("the input was executed")


@dataclass
class FuzzResult:
    """What came of a run.

    Attributes:
        target: Its name.
        inputs: How many were read.
        seconds: Wall-clock time.
        findings: One for each cause.
    """

    target: str
    inputs: int
    seconds: float = 0.0
    findings: dict[str, Finding] = field(default_factory=dict)

    def add(self, target: Target, finding: Finding, data: bytes) -> None:
        """Count a finding; the first of its cause is kept with its input."""
        known = self.findings.get(finding.what)
        if known is None:
            folder = FOLDER / target.name
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / hashlib.sha256(data).hexdigest()[:16]
            file.write_bytes(data)
            known = Finding(finding.what, finding.detail, finding.number, str(file), 0)
        self.findings[finding.what] = Finding(
            known.what, known.detail, known.number, known.file, known.times + finding.times
        )

    def save(self) -> None:
        """Keep the figures beside the inputs."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        content = {"target": self.target, "inputs": self.inputs, "seconds": round(self.seconds, 1)}
        found = [{"what": f.what, "times": f.times, "input": f.file} for f in self.findings.values()]
        (FOLDER / f"{self.target}.json").write_text(json.dumps(content | {"findings": found}, indent=1) + "\n")


def fuzz(target: Target, inputs: int = INPUTS, *, seed: int = 0) -> FuzzResult:
    """Let a target read many inputs in child processes, a new one after each death; see :class:`FuzzResult`."""
    seeds, begin = target.seeds(), time.monotonic()
    inputs = max(inputs // target.one_in, min(inputs, len(seeds)))
    outcome = FuzzResult(target.name, inputs)

    def data_at(number: int) -> bytes:
        return input_at(number, seeds, target.tokens, target.generate, seed)

    with _own_folder():
        target.read(seeds[0])
    number = 0
    while number < inputs and len(outcome.findings) < _FINDINGS_KEPT:
        number, findings = _in_child(target, data_at, number, inputs)
        for finding in findings:
            outcome.add(target, finding, data_at(finding.number))
    outcome.inputs, outcome.seconds = number, time.monotonic() - begin
    outcome.save()
    return outcome


def _in_child(target: Target, data_at: Callable[[int], bytes], first: int, end: int) -> tuple[int, list[Finding]]:
    """Read inputs from ``first`` on until all are read or the child is dead: the next number, and what was found."""
    place = mmap.mmap(-1, 8)
    place[:] = struct.pack("q", first)
    reports, out = os.pipe()
    folder = tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reports)
            os.chdir(folder)
            _read_all(target, data_at, first, end, place, out)
            status = 0
        except BaseException as error:
            os.write(out, json.dumps([_OWN_FAULT, _shortened(error), -1]).encode() + b"\n")
        finally:
            os._exit(status)
    os.close(out)
    try:
        lines, hung = _listen(reports, place)
        if hung:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    finally:
        os.close(reports)
        shutil.rmtree(folder, ignore_errors=True)
    findings = [Finding(*json.loads(line)) for line in lines]
    if findings and findings[-1].what == _OWN_FAULT:
        raise RuntimeError(f"{target.name}: {findings[-1].detail}")
    at = struct.unpack("q", place[:])[0]
    if at >= end and status == 0:
        return end, findings
    if not findings or findings[-1].number != at:
        how = f"no sign of life for {_WATCHDOG_SECONDS:g} s" if hung else f"dead: {_how(status)}"
        findings.append(Finding(how, "", at))
    return at + 1, findings


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit status {os.waitstatus_to_exitcode(status)}"


def _listen(reports: int, place: mmap.mmap) -> tuple[list[bytes], bool]:
    """What a child reports until its end, and whether it had to be given up."""
    received, last, since = b"", b"", time.monotonic()
    while True:
        ready, _, _ = select.select([reports], [], [], 1.0)
        if ready:
            part = os.read(reports, 1 << 16)
            if not part:
                return received.splitlines(), False
            received += part
        if place[:] != last:
            last, since = place[:], time.monotonic()
        elif time.monotonic() - since > _WATCHDOG_SECONDS:
            return received[: received.rfind(b"\n") + 1].splitlines(), True


def _read_all(
    target: Target, data_at: Callable[[int], bytes], first: int, end: int, place: mmap.mmap, out: int
) -> None:
    folder = str(Path.cwd())
    signal.signal(signal.SIGPROF, _ring)
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # what a reader prints is of no interest
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
    watch = _Watch(folder)
    sys.addaudithook(watch)
    limit_memory(target.megabytes)
    for number in range(first, end):
        data = data_at(number)
        place[:] = struct.pack("q", number)
        finding, fatal = _one(target, data, number, watch)
        if finding is not None:
            os.write(out, json.dumps([finding.what, finding.detail, number]).encode() + b"\n")
        if fatal:
            return
    place[:] = struct.pack("q", end)


def _one(target: Target, data: bytes, number: int, watch: _Watch) -> tuple[Finding | None, bool]:
    """The finding, if one, and whether the child had better end."""
    watch.seen, watch.on = "", True
    try:
        signal.setitimer(signal.ITIMER_PROF, target.seconds)
        try:
            check(target, data)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            watch.on = False
    except BaseException as error:
        what = watch.seen or f"{type(error).__name__} {_place_of(error)}"
        return Finding(what, _shortened(error), number), isinstance(error, MemoryError | Hang)
    return (Finding(watch.seen, "", number), False) if watch.seen else (None, False)


def limit_memory(megabytes: int) -> None:
    """Let this process grow by so much address space and no more, where the system can say what it has."""
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


class _Watch:
    """An audit hook that refuses what no reader may do: other programs, the network, files elsewhere, ``eval``."""

    def __init__(self, folder: str) -> None:
        self.on = False
        self.seen = ""
        self._allowed = (os.path.join(os.path.realpath(folder), ""), os.path.join(os.devnull, ""))  # noqa: PTH118

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            path, _mode, flags = args
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if not writes or not isinstance(path, str | bytes):
                return
            where = os.path.realpath(os.fsdecode(path))
            # A lock opens its folder itself: a nameless file in it (O_TMPFILE) shows whether there are locks.
            if os.path.join(where, "").startswith(self._allowed):  # noqa: PTH118
                return
            event = f"open {where} for writing"
        elif event == "exec":
            if not _is_ours(sys._getframe(1).f_code.co_filename):
                return  # data classes and type hints are made so
            event = "eval or exec of a text"
        elif event not in _FORBIDDEN:
            return
        self.seen, self.on = f"forbidden: {event}", False
        raise Forbidden(event)


def _is_ours(file: str) -> bool:
    return "site-packages" not in file and file.startswith(_ROOT)


def _ring(signum: int, frame: Any) -> None:
    raise Hang("the reader took too long")


def _place_of(error: BaseException) -> str:
    """The last line of the package that the error came through, or the message's kind for a bad message."""
    if isinstance(error, AssertionError) and error.__cause__ is not None:
        return f"({str(error).partition(':')[0].partition(' of ')[0]}) {_place_of(error.__cause__)}"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f"{os.sep}prejudge{os.sep}" in f.filename] or frames
    return f"at {'/'.join(Path(ours[-1].filename).parts[-3:])}:{ours[-1].lineno}" if ours else ""


def _shortened(error: BaseException) -> str:
    try:
        lines = "".join(traceback.format_exception(error, limit=-6)).splitlines()
        text = "\n".join(line[:400] for line in lines[-40:])
    except (MemoryError, RecursionError):
        text = type(error).__name__
    return text.encode("utf-8", "replace").decode()[:3000]


@contextmanager
def _own_folder() -> Iterator[None]:
    """A new working folder, removed afterwards."""
    before, folder = Path.cwd(), tempfile.mkdtemp(prefix="fuzz-")
    try:
        os.chdir(folder)
        yield
    finally:
        os.chdir(before)
        shutil.rmtree(folder, ignore_errors=True)


def report(outcome: FuzzResult) -> str:
    """All findings, for an assertion's message."""
    return f"{outcome.target}: {len(outcome.findings)} findings in {outcome.inputs} inputs\n\n" + "\n\n".join(
        str(finding) for finding in outcome.findings.values()
    )
