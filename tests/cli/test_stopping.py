"""Signals end a command within five seconds, in one line, with the exit code that shells expect; its workers too."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from prejudge.engine.journal import read_journal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="process groups and /proc of Linux")

SEARCH = ["search", "random", "--benchmark", "digits", "--queries", "2000", "--seeds", "100000"]
SLOW_CLEANING = """
import os, sys, time
from prejudge import cli
from prejudge.cli import stopping

class App:
    def __call__(self, words, **options):
        print("begun", flush=True)
        try:
            {work}
        finally:
            {cleaning}

cli.build_app = App
stopping.SECONDS = 1.0
cli.main([])
"""
ONE_LINE = "kept, run the same command again to go on where it stopped\n"


BEGUN: list[int] = []
"""The process groups of the running test."""


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """A test that fails leaves no search of 100,000 seeds behind."""
    yield
    while BEGUN:
        with suppress(ProcessLookupError):
            os.killpg(BEGUN.pop(), signal.SIGKILL)


def begin(words: list[str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    BEGUN.append(process.pid)
    return process


def members(group: int) -> list[int]:
    """The running processes of a group."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(place.name))
    return found


def wait_until(condition: object, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.02)
    return bool(met)


@pytest.mark.parametrize(
    ("signals", "code", "workers"),
    [("INT", 130, 1), ("INT INT", 130, 2), ("TERM", 143, 2), ("HUP", 129, 2), ("QUIT", 131, 2)],
)
def test_signals_end_a_command_and_its_workers(signals: str, code: int, workers: int, tmp_path: Path) -> None:
    words = [*SEARCH, "--workers", str(workers), "--out", str(tmp_path / "out.h5"), "--json"]
    process = begin(["-W", "ignore", "-m", "prejudge", *words])
    journal = tmp_path / "out.h5.run" / "random.jsonl"
    assert wait_until(journal.exists, 60)
    those = 5 if workers > 1 else 2  # the command, its witness, workers and their tracker
    assert wait_until(lambda: len(members(process.pid)) >= those, 60)
    start = time.monotonic()
    for name in signals.split():
        os.killpg(process.pid, getattr(signal, f"SIG{name}"))
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - start < 5
    assert (process.returncode, out) == (code, "")
    assert err.startswith("prejudge: ") and err.endswith(ONE_LINE) and err.count("\n") == 1, err
    assert wait_until(lambda: not members(process.pid), 5), "a worker is left"
    kept = read_journal(journal)
    assert kept is not None and kept.records


@pytest.mark.parametrize(
    ("work", "cleaning"),
    [
        ("import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)", "pass"),  # which no signal interrupts
        ("time.sleep(60)", "time.sleep(60)"),
    ],
    ids=["in a long operation", "while it cleans up for long"],
)
def test_what_does_not_end_is_ended(work: str, cleaning: str) -> None:
    process = begin(["-c", SLOW_CLEANING.format(work=work, cleaning=cleaning)])
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    start = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - start < 5
    assert process.returncode == 143
    assert err.startswith("prejudge: terminated") and err.endswith(ONE_LINE) and err.count("\n") == 1


def test_an_error_while_it_cleans_up_does_not_hide_the_signal() -> None:
    process = begin(["-c", SLOW_CLEANING.format(work="time.sleep(60)", cleaning="raise OSError(5, 'I/O error')")])
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 129 and err.endswith(ONE_LINE) and err.count("\n") == 1


def test_a_step_of_a_recipe_ends_the_run_in_one_line(tmp_path: Path) -> None:
    recipe = tmp_path / "long.yaml"
    recipe.write_text("search:\n  method: random\n  benchmark: digits\n  queries: 2000\n  seeds: 100000\n")
    out = tmp_path / "out"
    process = begin(["-W", "ignore", "-m", "prejudge", "run", str(recipe), "--out", str(out), "--json"])
    assert wait_until(lambda: (out / "search").exists(), 60)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert err.startswith("1/1 search\nprejudge: terminated") and err.endswith(ONE_LINE) and err.count("\n") == 2


def test_a_closed_terminal_ends_the_command() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "prejudge", *SEARCH, "--workers", "2"])
    BEGUN.append(pid)
    assert wait_until(lambda: len(members(pid)) >= 5, 60)
    os.close(terminal)
    assert wait_until(lambda: pid not in members(pid), 5)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 129
    assert wait_until(lambda: not members(pid), 5), "a worker is left"


def test_nohup_is_heeded() -> None:
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    process = begin(["-c", ignoring + SLOW_CLEANING.format(work="time.sleep(1)", cleaning="pass")])
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize(("redirect", "code"), [("", 0), ("2>&1", 141)])
def test_nobody_reads_on(redirect: str, code: int) -> None:
    """As with ``| head -1``. Where nobody reads the progress either, the command has not done all that it was asked."""
    lines = "[print('x' * 1000, flush=True) or time.sleep(0.01) for _ in range(500)]"
    script = SLOW_CLEANING.format(work=lines, cleaning="pass")
    shell = f'set -o pipefail; "{sys.executable}" -c "$SCRIPT" {redirect} | head -1'
    process = subprocess.run(
        ["/bin/bash", "-c", shell], env=os.environ | {"SCRIPT": script}, capture_output=True, text=True, timeout=60
    )
    assert (process.returncode, process.stdout, process.stderr) == (code, "begun\n", "")


@pytest.mark.parametrize(
    ("crash", "words"),
    [("import ctypes; ctypes.string_at(0)", "Segmentation fault"), ("os.abort()", "Aborted")],
)
def test_a_crash_is_said_in_one_line(crash: str, words: str) -> None:
    process = begin(["-c", SLOW_CLEANING.format(work=crash, cleaning="pass")])
    out, err = process.communicate(timeout=60)
    assert out == "begun\n" and process.returncode in (-signal.SIGSEGV, -signal.SIGABRT)
    assert err.startswith(f"prejudge: crashed ({words}) in ") and "with --workers 2" in err and err.count("\n") == 1


def test_a_kill_is_not_taken_for_a_crash() -> None:
    process = begin(["-c", SLOW_CLEANING.format(work="os.kill(os.getpid(), 9)", cleaning="pass")])
    assert process.communicate(timeout=60) == ("begun\n", "") and process.returncode == -9


def test_a_child_by_fork_ends_alone() -> None:
    """As the workers of a DataLoader: a signal that it gets is not its parent's."""
    work = "pid = os.fork() or time.sleep(60); time.sleep(0.3); os.kill(pid, 15); os.wait(); time.sleep(1.5)"
    process = begin(["-c", SLOW_CLEANING.format(work=work, cleaning="pass")])
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "begun\n", "")
