from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prejudge.engine import LATER, run_jobs
from prejudge.errors import InputError, PrejudgeError
from tests.engine.jobs import fail_at_five, refuse, square, whoami


def hang_when_zero(number: int) -> int:
    time.sleep(120 if number == 0 else 0.01)
    return number


class ZeroIsLast:
    """Job 0 ends when all others have left a note."""

    def __init__(self, folder: Path, others: int) -> None:
        self.folder = folder
        self.others = others

    def __call__(self, number: int) -> int:
        while number == 0 and len(list(self.folder.iterdir())) < self.others:
            time.sleep(0.01)
        (self.folder / str(number)).touch()
        return number


def die_at_five(number: int) -> int:
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def leave_at_once(number: int) -> int:
    os._exit(1)


def unpicklable(number: int) -> object:
    return threading.Lock()


class Table:
    """A function with its data: pickled once per worker."""

    def __init__(self, size: int) -> None:
        self.values = list(range(size))

    def __call__(self, job: int) -> int:
        return self.values[job]


def note(folder: str, text: str) -> None:
    (Path(folder) / f"{os.getpid()}").write_text(text)


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_every_job_gives_its_result_once(workers: int) -> None:
    results = list(run_jobs(square, range(20), workers=workers))
    assert sorted(results) == [(i, i * i) for i in range(20)]


def test_one_worker_keeps_the_order_and_stays_in_this_process() -> None:
    assert [result for _, result in run_jobs(whoami, range(3), workers=1)] == [os.getpid()] * 3
    assert [job for job, _ in run_jobs(square, [3, 1, 2])] == [3, 1, 2]


def test_several_workers_are_other_processes() -> None:
    pids = {result for _, result in run_jobs(whoami, range(12), workers=2)}
    assert len(pids) == 2 and os.getpid() not in pids


def test_no_jobs_and_fewer_jobs_than_workers() -> None:
    assert list(run_jobs(square, [], workers=4)) == []
    assert list(run_jobs(square, [7], workers=4)) == [(7, 49)]


def test_results_stream_in_order_of_completion(tmp_path: Path) -> None:
    jobs = [job for job, _ in run_jobs(ZeroIsLast(tmp_path, others=9), range(10), workers=2)]
    assert jobs[-1] == 0 and sorted(jobs) == list(range(10))


def test_jobs_are_read_as_needed() -> None:
    read = 0

    def endless() -> Iterator[int]:
        nonlocal read
        while True:
            read += 1
            yield read

    results = run_jobs(square, endless(), workers=2)
    for _, _ in itertools.islice(results, 10):
        assert read <= 13
    results.close()
    assert read <= 13


def test_functions_may_carry_data() -> None:
    assert sorted(run_jobs(Table(50_000), [1, 49_999], workers=2)) == [(1, 1), (49_999, 49_999)]


def test_the_initializer_runs_in_every_worker(tmp_path: Path) -> None:
    list(run_jobs(whoami, range(6), workers=2, initializer=note, initargs=(str(tmp_path), "ready")))
    assert {p.read_text() for p in tmp_path.iterdir()} == {"ready"} and len(list(tmp_path.iterdir())) == 2
    list(run_jobs(square, [1], workers=1, initializer=note, initargs=(str(tmp_path), "here")))
    assert (tmp_path / str(os.getpid())).read_text() == "here"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_reaches_the_caller(workers: int) -> None:
    seen = []
    with pytest.raises(InputError, match="five is not allowed"):
        for job, _ in run_jobs(fail_at_five, range(100), workers=workers):
            seen.append(job)
    assert {0, 1, 2} <= set(seen) <= set(range(100)) - {5}
    with pytest.raises(InputError, match="cannot set up"):
        list(run_jobs(square, range(3), workers=workers, initializer=refuse))


def test_a_dead_worker_is_named_with_its_job() -> None:
    seen = []
    with pytest.raises(PrejudgeError, match=r"killed by signal 9 .*while it ran 5; finished results are kept") as error:
        for job, _ in run_jobs(die_at_five, range(100), workers=2):
            seen.append(job)
    assert {0, 1, 2} <= set(seen) and "\n" not in str(error.value)


def test_a_worker_that_cannot_start_gets_a_hint() -> None:
    with pytest.raises(PrejudgeError, match=r"ended with code 1 .*if __name__ == '__main__':"):
        list(run_jobs(leave_at_once, range(3), workers=2))


def test_a_result_that_cannot_be_sent() -> None:
    with pytest.raises(PrejudgeError, match="a worker cannot send <unlocked"):
        list(run_jobs(unpicklable, range(3), workers=2))


def test_leaving_early_ends_the_workers_at_once() -> None:
    start = time.perf_counter()
    results = run_jobs(hang_when_zero, [0, 1, 2, 3], workers=2)
    assert next(results) == (1, 1)
    assert len(multiprocessing.active_children()) == 2
    results.close()
    assert multiprocessing.active_children() == []
    assert time.perf_counter() - start < 30


def test_ctrl_c_ends_everything_without_a_word_from_the_workers(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, time\n"
        "from prejudge.engine import run_jobs\n"
        "def work(job):\n"
        "    time.sleep(0.2)\n"
        "    return job\n"
        "if __name__ == '__main__':\n"
        "    try:\n"
        "        for job, _ in run_jobs(work, range(1000), workers=2):\n"
        "            print(job, flush=True)\n"
        "    except KeyboardInterrupt:\n"
        "        print('interrupted', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() in ("0", "1")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the parent and its workers
    out, err = process.communicate(timeout=120)
    assert out.splitlines()[-1] == "interrupted" and err == "" and process.returncode == 0


JOBS = {
    "short": "time.sleep(0.05)",
    "holds the interpreter": "7 ** (0 if job < 8 else 10 ** 9)",  # for minutes, and no other thread runs
}


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux ends them")
@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_workers_end_when_their_parent_is_killed(job: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, time\n"
        "from prejudge.engine import run_jobs\n"
        "def work(job):\n"
        f"    {job}\n"
        "    return os.getpid()\n"
        "if __name__ == '__main__':\n"
        "    for _, pid in run_jobs(work, range(100000), workers=2):\n"
        "        print(pid, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pids = {int(process.stdout.readline()) for _ in range(8)}
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 5
    while any(is_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, pids))


def is_running(pid: int) -> bool:
    """Whether a process is neither gone nor a zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("workers", [1, 3])
def test_jobs_may_wait_for_results(workers: int) -> None:
    """Two jobs, whose results say which come next; until then there is none."""
    open_jobs, under_way, seen = [2, 3], 0, []

    def jobs() -> Iterator[int]:
        nonlocal under_way
        while open_jobs or under_way:
            if open_jobs:
                under_way += 1
                yield open_jobs.pop()
            else:
                yield LATER

    for job, result in run_jobs(square, jobs(), workers=workers):
        seen.append((job, result))
        under_way -= 1
        if result < 100:
            open_jobs.append(result)
    assert sorted(seen) == [(2, 4), (3, 9), (4, 16), (9, 81), (16, 256), (81, 6561)]
