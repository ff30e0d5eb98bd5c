"""A search for inputs that cost a reader more than they should: seconds and bytes of memory for each byte of the input.

It starts from seeds and known bombs, and keeps what was dearest for its size: pieces are repeated, nested and numbered
until the input is large enough for a cost that grows faster than the input to show.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from prejudge.errors import PrejudgeError
from tests.fuzz.harness import FOLDER, Hang, Target, limit_memory
from tests.fuzz.mutation import input_at

SECONDS_ANYWAY, MICROSECONDS_PER_BYTE = 1.0, 20.0
MEGABYTES_ANYWAY, BYTES_PER_BYTE = 100, 1_200
"""The bounds of every reader that SECURITY.md states."""

_SIZES = (1 << 12, 1 << 14, 1 << 16, 1 << 18)
_KEPT = 24
_MERSENNE = 2**61 - 1  # two integers that differ by it have the same hash
_PAIRS = (
    (b"[", b"]"),
    (b"(", b")"),
    (b"{", b"}"),
    (b'{"a":', b"}"),
    (b"|", b"|"),
    (b'"', b'"'),
    (b"- ", b""),
    (b"", b""),
)


@dataclass(frozen=True)
class Cost:
    """What one input cost.

    Attributes:
        size: Of the input, in bytes.
        seconds: Of processor time.
        memory: Bytes that the process grew by, at most.
        made: How the input came about.
    """

    size: int
    seconds: float
    memory: int
    made: str

    @property
    def time_ratio(self) -> float:
        """Microseconds for each byte, beyond what every input may cost; over the bound it is a finding."""
        return max(0.0, self.seconds - SECONDS_ANYWAY) * 1e6 / max(self.size, 1)

    @property
    def memory_ratio(self) -> float:
        """Bytes for each byte, likewise."""
        return max(0, self.memory - MEGABYTES_ANYWAY * 2**20) / max(self.size, 1)

    @property
    def excessive(self) -> bool:
        return self.time_ratio > MICROSECONDS_PER_BYTE or self.memory_ratio > BYTES_PER_BYTE

    def __str__(self) -> str:
        return f"{self.size:,} bytes: {self.seconds:.2f} s, {self.memory / 2**20:.0f} MiB ({self.made})"


@dataclass(frozen=True)
class CostReport:
    """The dearest inputs of one target.

    Attributes:
        target: Its name.
        inputs: How many were tried.
        slowest: The most seconds for its size, bounds included.
        largest: The most memory for its size.
        per_byte: The most microseconds for each byte among inputs of 4 KiB and more.
        ended: Why the search ended before its time; empty if it did not.
    """

    target: str
    inputs: int
    slowest: Cost
    largest: Cost
    per_byte: float
    ended: str = ""

    @property
    def excessive(self) -> bool:
        return bool(self.ended) or self.slowest.excessive or self.largest.excessive

    def __str__(self) -> str:
        return (
            f"{self.target}: {self.inputs} inputs; {self.per_byte:.2f} µs a byte; slowest {self.slowest}; "
            f"largest {self.largest}{'; ' + self.ended if self.ended else ''}"
        )

    def save(self) -> None:
        """Keep the figures beside those of the fuzzing."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / f"{self.target}.cost.json").write_text(json.dumps(asdict(self), indent=1) + "\n")


def search(target: Target, inputs: int, *, seed: int = 0) -> CostReport:
    """Look for dear inputs of a target, in a child process."""
    seeds = target.seeds() + [data for name, data in bombs() if name == "" or name in target.name]
    reports, out = os.pipe()
    folder = tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            os.close(reports)
            os.chdir(folder)
            _search(target, seeds, inputs, random.Random(f"{target.name}/{seed}"), out)
        finally:
            os._exit(0)
    os.close(out)
    with os.fdopen(reports, "rb") as stream:
        lines = stream.read().splitlines()
    _, status = os.waitpid(child, 0)
    shutil.rmtree(folder, ignore_errors=True)
    tried, slowest, largest, per_byte = json.loads(lines[-1]) if lines else (0, _NOTHING, _NOTHING, 0.0)
    ended = f"the reader died of signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else ""
    found = CostReport(target.name, tried, Cost(**slowest), Cost(**largest), per_byte, ended)
    found.save()
    return found


_NOTHING = asdict(Cost(0, 0.0, 0, "nothing"))


@cache
def bombs() -> list[tuple[str, bytes]]:
    """Inputs that are dear for naive readers: ``(part of the target's name, content)``."""
    keys = [pickled_integer(k * _MERSENNE) for k in range(1, 20_000)]  # never in a dict here: that is what is dear
    shared = bytearray(100_000)
    doubling: Any = ["x"]
    for _ in range(24):
        doubling = [doubling, doubling]
    aliases = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join('*' + chr(97 + n) for _ in range(9))}]\n" for n in range(8)
    )
    table = "arch_str," + ",".join(f"c{n}_test_1ep" for n in range(20_000)) + "\n"
    return [
        ("pickle", b"\x80\x04}(" + b"".join(key + b"K\x01" for key in keys) + b"u."),
        ("pickle", b"\x80\x04\x8f(" + b"".join(keys) + b"\x90."),
        ("pickle", b"\x80\x04}(" + b"".join(key + b"\x85K\x01" for key in keys) + b"u."),
        ("pickle", b"\x80\x04}(U\x04archU\x01xU\x0blogmeasures}(" + b"".join(k + b"K\x01" for k in keys) + b"uu."),
        ("pickle", pickle.dumps([shared] * 8_000)),
        ("pickle", pickle.dumps({"arch": "x", "logmeasures": dict.fromkeys(range(8000), shared)})),
        ("pickle", pickle.dumps([bytes(shared)] * 8_000)),
        ("pickle", pickle.dumps(doubling)),
        ("pickle", b"\x80\x04" + b"".join(b"K\x01q%c0" % (n % 256) for n in range(50_000)) + b"N."),
        ("pickle", b"I" + b"1" * 4_000 + b"\n0" * 1 + (b"I" + b"1" * 4_000 + b"\n0") * 50 + b"N."),
        ("pickle", b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b"."),
        ("torch", b"\x80\x04}(" + b"".join(key + b"K\x01" for key in keys) + b"u."),
        ("recipe", aliases.encode()),
        ("recipe", b"a: " + b"[" * 50_000),
        ("recipe", b"".join(b"? a%d\n" % n for n in range(20_000))),
        ("recipe", b"a: " + b"x " * 60_000),
        ("recipe", b'a: "' + b"\\n" * 60_000 + b'"'),
        ("recipe", b"".join(b"k%d: &a%d 1\n" % (n, n) for n in range(10_000))),
        ("recipe", b"".join(b" " * (n % 80) + b"a:\n" for n in range(20_000))),
        ("csv", table.encode()),
        ("csv", b'arch_str,a_test_1ep\n0,"' + b'""' * 100_000),
        ("csv", b"arch_str,a_test_1ep\n" + b"0,1\n" * 60_000),
        ("json", b"[" * 100_000),
        ("json", b'{"a":' * 40_000),
        ("json", b"[" + b"9" * 200_000 + b"]"),
        ("json", json.dumps({str(k * _MERSENNE): {"a": 1} for k in range(20_000)}).encode()),
        ("journal", b"00000000 {}\n" * 20_000),
        ("journal", b"\n" * 200_000),
        ("records", b"\n" * 200_000),
        ("", b"9" * 200_000),
        ("", b"-" * 100_000),
        ("", b" " * 200_000 + b"x"),
        ("", b"1" + b"_1" * 60_000),
    ]


def pickled_integer(number: int) -> bytes:
    content = number.to_bytes(number.bit_length() // 8 + 1, "little")
    return b"\x8a" + bytes([len(content)]) + content


def _search(target: Target, seeds: list[bytes], inputs: int, rng: random.Random, out: int) -> None:
    signal.signal(signal.SIGPROF, _ring)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
    measure(target, seeds[0], "loading")  # what the reader imports lazily
    limit_memory(8 * target.megabytes)
    slowest = largest = Cost(0, 0.0, 0, "nothing")
    per_byte = 0.0
    pool: list[tuple[float, float, bytes]] = []
    for number in range(inputs):
        data, made = _candidate(number, seeds, target, pool, rng)
        cost = measure(target, data, made)
        if (cost.time_ratio, cost.seconds) > (slowest.time_ratio, slowest.seconds):
            slowest = cost
        if (cost.memory_ratio, cost.memory) > (largest.memory_ratio, largest.memory):
            largest = cost
        if cost.size >= _SIZES[0]:
            per_byte = max(per_byte, cost.seconds * 1e6 / cost.size)
        pool.append((cost.seconds / (len(data) + 500), cost.memory / (len(data) + 2**16), data))
        if len(pool) > 4 * _KEPT:
            best = {id(p): p for key in (0, 1) for p in sorted(pool, key=lambda p: -p[key])[:_KEPT]}
            pool = list(best.values())
        os.write(out, json.dumps([number + 1, asdict(slowest), asdict(largest), per_byte]).encode() + b"\n")
        if slowest.excessive or largest.excessive:
            (FOLDER / target.name).mkdir(parents=True, exist_ok=True)
            (FOLDER / target.name / "dear").write_bytes(data)
            return


def measure(target: Target, data: bytes, made: str = "") -> Cost:
    """The cost of one input, in this process."""
    before = _resident()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    start = time.process_time()
    try:
        signal.setitimer(signal.ITIMER_PROF, 60.0)
        target.read(data)
    except (PrejudgeError, MemoryError, Hang):
        pass
    except Exception:  # what readers raise is the other search's business
        pass
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return Cost(len(data), time.process_time() - start, max(0, _resident("VmHWM") - before), made)


def _candidate(
    number: int, seeds: list[bytes], target: Target, pool: list[tuple[float, float, bytes]], rng: random.Random
) -> tuple[bytes, str]:
    if number < len(seeds):
        return seeds[number], f"seed {number}"
    if rng.random() < 0.3 or not pool:
        return input_at(number + len(seeds), seeds, target.tokens, target.generate), f"fuzz input {number}"
    data = rng.choice(pool)[2] if rng.random() < 0.6 else rng.choice(seeds)
    grow = rng.choice((_repeated, _repeated, _numbered, _nested, _spliced))
    return grow(data, target, rng)[: 1 << 20], grow.__name__.strip("_")


def _piece(data: bytes, target: Target, rng: random.Random) -> tuple[int, int]:
    lines = [n for n, byte in enumerate(data[:10_000]) if byte == 10]
    if len(lines) > 1 and rng.random() < 0.3:
        first = rng.randrange(len(lines) - 1)
        return lines[first] + 1, lines[first + 1] + 1
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 1, 2, 3, 5, 10, 30, 200)))


def _repeated(data: bytes, target: Target, rng: random.Random) -> bytes:
    start, end = _piece(data, target, rng)
    piece = data[start:end] or rng.choice(target.tokens or [b"x"])
    if rng.random() < 0.3 and target.tokens:
        piece = rng.choice(target.tokens)
    return data[:start] + piece * (rng.choice(_SIZES) // max(1, len(piece))) + data[end:]


def _numbered(data: bytes, target: Target, rng: random.Random) -> bytes:
    start, end = _piece(data, target, rng)
    piece, times = data[start:end], rng.choice(_SIZES) // (end - start + 6)
    step = rng.choice((1, 1, _MERSENNE))
    return data[:start] + b"".join(piece + str(n * step).encode() for n in range(times)) + data[end:]


def _nested(data: bytes, target: Target, rng: random.Random) -> bytes:
    opening, closing = rng.choice(_PAIRS)
    start, end = _piece(data, target, rng)
    depth = rng.choice(_SIZES) // (len(opening + closing) + 1)
    closing = closing if rng.random() < 0.7 else b""
    return data[:start] + opening * depth + data[start:end] + closing * depth + data[end:]


def _spliced(data: bytes, target: Target, rng: random.Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + data[rng.randrange(len(data) + 1) :] + data[place:]


def _resident(what: str = "VmRSS") -> int:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) * 1024
    except OSError:  # not Linux: memory is not watched
        pass
    return 0


def _ring(signum: int, frame: Any) -> None:
    raise Hang("the reader took too long")
