"""The Ray engine on one node: what :mod:`tests.engine.test_local` asks of processes, asked of actors."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prejudge.engine import LocalEngine, RayEngine, local_unless
from prejudge.engine.ray import connection
from prejudge.engine.ray.team import Need
from prejudge.errors import InputError, PrejudgeError
from tests.engine import jobs
from tests.engine.ray_nodes import one_node

NEEDS_RAY = "ray is not installed: pip install 'prejudge[ray]'"


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    pytest.importorskip("ray", reason=NEEDS_RAY)
    with one_node(cpus=2) as package:
        yield package


def test_every_job_gives_its_result_once_and_nodes_are_told(ray: Any) -> None:
    seen: Counter[str] = Counter()
    engine = RayEngine(watch=lambda node: seen.update([node]))
    assert sorted(engine.run(jobs.square, range(50))) == [(i, i * i) for i in range(50)]
    assert seen.total() == 50 and len(seen) == 1
    assert list(engine.run(jobs.square, [])) == []
    assert list(engine.run(jobs.square, [7])) == [(7, 49)]


@pytest.mark.cluster
def test_workers_are_as_many_as_fit_or_as_asked_for(ray: Any) -> None:
    pids = {pid for _, pid in RayEngine().run(jobs.whoami, range(60))}
    assert len(pids) == 2 and os.getpid() not in pids
    assert len({pid for _, pid in RayEngine(workers=1).run(jobs.whoami, range(8))}) == 1
    assert len({pid for _, pid in RayEngine(threads_per_worker=2).run(jobs.whoami, range(8))}) == 1


@pytest.mark.cluster
def test_jobs_are_read_as_needed(ray: Any) -> None:
    read = 0

    def endless() -> Iterator[int]:
        nonlocal read
        while True:
            read += 1
            yield read

    results = RayEngine(workers=2).run(jobs.square, endless())
    for done, _ in enumerate(itertools.islice(results, 30), start=1):
        assert read <= done + 3
    results.close()
    assert read <= 33


@pytest.mark.cluster
def test_the_function_reaches_each_worker_once(ray: Any, tmp_path: Path) -> None:
    found = [result for _, result in RayEngine().run(jobs.Shared(tmp_path, 1_000_000), range(60))]
    assert [value for _, value in sorted(found, key=lambda pair: pair[1])] == list(range(60))
    notes = [path.name.partition("-")[0] for path in tmp_path.iterdir()]
    assert sorted(notes) == sorted({str(pid) for pid, _ in found})


@pytest.mark.cluster
@pytest.mark.skipif(sys.platform != "linux", reason="/proc of Linux")
def test_workers_of_a_node_share_the_arrays_of_the_function(ray: Any, tmp_path: Path) -> None:
    found = dict(result for _, result in RayEngine().run(jobs.Mapped(tmp_path, 1_000_000), range(40)))
    assert len(found) == 2
    (place,) = set(found.values())
    assert "plasma" in place[0] and not place[2]


@pytest.mark.cluster
def test_the_initializer_runs_in_every_worker(ray: Any) -> None:
    found = RayEngine().run(
        jobs.read_environment, ["SET_HERE"] * 6, initializer=jobs.set_environment, initargs=("SET_HERE", "yes")
    )
    assert {value for _, value in found} == {"yes"}
    assert "SET_HERE" not in os.environ


@pytest.mark.cluster
def test_an_exception_reaches_the_caller_after_what_was_under_way(ray: Any) -> None:
    seen = []
    with pytest.raises(InputError, match="five is not allowed"):
        for job, _ in RayEngine().run(jobs.fail_at_five, range(100)):
            seen.append(job)
    assert {0, 1, 2} <= set(seen) <= set(range(100)) - {5}
    with pytest.raises(InputError, match="cannot set up"):
        list(RayEngine().run(jobs.square, range(3), initializer=jobs.refuse))
    with pytest.raises(PrejudgeError, match="a worker cannot send <function"):
        list(RayEngine().run(jobs.unsendable, range(3)))


def test_a_worker_that_dies_is_replaced_and_its_job_done_again(ray: Any, tmp_path: Path) -> None:
    found = sorted(RayEngine(retries=2).run(jobs.Dies(tmp_path, at=5, times=2), range(20)))
    assert found == [(i, i) for i in range(20)]
    assert len(list(tmp_path.glob("5-*"))) == 3
    assert len(list(tmp_path.iterdir())) == 22  # no other job was done twice


@pytest.mark.cluster
def test_a_job_that_kills_every_worker_is_named(ray: Any, tmp_path: Path) -> None:
    seen = []
    with pytest.raises(PrejudgeError, match=r"^2 workers died while they ran 5; finished results are kept") as error:
        for job, _ in RayEngine(retries=1).run(jobs.Dies(tmp_path, at=5, times=99), range(100)):
            seen.append(job)
    assert {0, 1, 2} <= set(seen) and "\n" not in str(error.value)


@pytest.mark.cluster
def test_leaving_early_ends_the_workers(ray: Any) -> None:
    results = RayEngine().run(jobs.whoami, itertools.count())
    pids = {next(results)[1] for _ in range(8)}
    results.close()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.cluster
def test_workers_share_a_gpu(ray: Any) -> None:
    shared = RayEngine(gpus_per_worker=0.5)
    assert len({pid for _, pid in shared.run(jobs.whoami, range(40))}) == 2
    assert {gpu for _, gpu in shared.run(jobs.read_environment, ["CUDA_VISIBLE_DEVICES"] * 4)} == {"0"}
    assert len({pid for _, pid in RayEngine(gpus_per_worker=1).run(jobs.whoami, range(8))}) == 1


@pytest.mark.cluster
def test_no_room_is_said_in_time(ray: Any) -> None:
    start = time.monotonic()
    with pytest.raises(
        PrejudgeError, match=r"no room .* with 1 CPU and 2 GPUs for 1 s; its nodes have 2 CPUs and 1 GPU"
    ):
        list(RayEngine(gpus_per_worker=2, patience=1.0).run(jobs.square, range(3)))
    assert time.monotonic() - start < 60


def test_it_describes_itself(ray: Any) -> None:
    assert RayEngine(workers=3).describe() == {"engine": f"Ray {ray.__version__}", "workers": 3}
    assert RayEngine(threads_per_worker=4).threads(here=16) == 4


@pytest.mark.parametrize(
    ("cpus", "gpus", "fit"), [(1, 0, 20), (3, 0, 6), (1, 1, 4), (1, 0.25, 16), (1, 0.3, 12), (1, 2, 2), (4, 0.25, 4)]
)
def test_what_fits_in_a_cluster(cpus: int, gpus: float, fit: int) -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 16.0, "GPU": 4.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
        {"Alive": True, "Resources": {"CPU": 4.0}},
        {"Alive": True, "Resources": {}},
    ]
    assert Need(None, cpus, gpus, 3, 300.0).room(nodes) == fit


@pytest.mark.parametrize(
    "options",
    [{"workers": 0}, {"threads_per_worker": 0}, {"retries": -1}, {"gpus_per_worker": 1.5}, {"gpus_per_worker": -1}],
    ids=str,
)
def test_wrong_numbers(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        RayEngine(**options)


def test_an_engine_or_workers() -> None:
    engine = LocalEngine(2)
    assert local_unless(None, 3) == LocalEngine(3)
    assert local_unless(engine, 1) is engine
    with pytest.raises(InputError, match="not both"):
        local_unless(engine, 2)
    with pytest.raises(InputError, match="workers must be a positive integer, not 0"):
        LocalEngine(0)


@pytest.mark.parametrize(
    "address", ["head", "head:", ":6379", "head:99999", "ray://", "head:port", "head:²", "h:" + "9" * 5000]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(InputError, match="give auto, local, HOST:PORT or ray://HOST:PORT"):
        connection._host_and_port(address)


def test_addresses() -> None:
    assert connection._host_and_port("head:6379") == ("head", 6379)
    assert connection._host_and_port("ray://head") == ("head", 10001)
    assert connection._host_and_port("[::1]:7") == ("::1", 7)


class Apart:
    """A package ``ray`` that is in no cluster, and must not be asked to join one."""

    def is_initialized(self) -> bool:
        return False


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_the_reason_of_a_refusal_is_one_line() -> None:
    assert connection._last_words("Version mismatch:\n  there 1\n  here 2\n") == "Version mismatch: there 1 here 2"
    assert connection._last_words("Traceback (most recent call last):\n  File x\nOSError: full\n") == "OSError: full"


def test_a_head_that_does_not_answer(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.5)
    port = listener.getsockname()[1]
    with pytest.raises(PrejudgeError, match=rf"^no Ray head answers at 127.0.0.1:{port} \(no answer\)"):
        connection.connect(Apart(), f"127.0.0.1:{port}")


def test_something_else_than_a_head(listener: socket.socket) -> None:
    def greet() -> None:
        client, _ = listener.accept()
        client.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
        client.recv(100)
        client.close()

    threading.Thread(target=greet, daemon=True).start()
    port = listener.getsockname()[1]
    with pytest.raises(PrejudgeError, match=f"^what answers at 127.0.0.1:{port} is not a Ray head"):
        connection.connect(Apart(), f"127.0.0.1:{port}")


class Hanging(Apart):
    """A package that waits for a head that has died."""

    def init(self, **_: Any) -> None:
        threading.Event().wait()

    def shutdown(self) -> None:
        threading.Event().wait()


def greet_as_a_head(listener: socket.socket) -> None:
    client, _ = listener.accept()
    client.recv(100)
    client.sendall(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    client.close()


def test_a_head_that_dies_while_it_is_joined(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "JOIN_SECONDS", 0.3)
    monkeypatch.setattr(connection, "LEAVE_SECONDS", 0.3)
    threading.Thread(target=greet_as_a_head, args=(listener,), daemon=True).start()
    port = listener.getsockname()[1]
    with pytest.raises(PrejudgeError, match=f"^cannot join the Ray cluster at 127.0.0.1:{port}: it has stopped answer"):
        connection.connect(Hanging(), f"127.0.0.1:{port}")
    connection.leave(Hanging())


def test_what_hangs_in_ray_does_not_keep_the_command() -> None:
    code = (
        "import atexit, sys, threading\n"
        "from prejudge import cli\n"
        "from prejudge.engine.ray import connection\n"
        "from prejudge.errors import PrejudgeError\n"
        "def app(*_, **__):\n"
        "    try:\n"
        "        connection._in_time(threading.Event().wait, 0.1)\n"
        "    except TimeoutError:\n"
        "        raise PrejudgeError('no answer') from None\n"
        "atexit.register(threading.Event().wait)\n"
        "cli.build_app = lambda: app\n"
        "cli.main([])\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (found.returncode, found.stderr) == (1, "prejudge: no answer\n")


def test_ray_does_not_take_over_what_ends_a_process() -> None:
    class TakingOver(Apart):
        def init(self, **_: Any) -> None:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))

    before = signal.getsignal(signal.SIGTERM)
    assert connection.connect(TakingOver(), "local")
    assert signal.getsignal(signal.SIGTERM) is before


LOST = """
import threading, time
from prejudge.engine.ray import watch
watch.SILENT_SECONDS, watch.LAST_SECONDS, watch.LOOK_SECONDS = 0.3, {last}, 0.1
class Ray:
    def nodes(self):
        threading.Event().wait()
cluster = watch.Watch(Ray())
{then}
"""


def test_a_head_that_dies_before_its_first_answer() -> None:
    code = LOST.format(last=99, then="cluster.nodes")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert "PrejudgeError: the head of the Ray cluster has stopped answering" in found.stderr


def test_whoever_waits_for_a_dead_head_is_ended_with_one_line() -> None:
    code = LOST.format(last=0.6, then="threading.Event().wait()")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert found.returncode == 1 and found.stderr.count("\n") == 1
    assert found.stderr.startswith("prejudge: the head of the Ray cluster has stopped answering; finished results are")


def test_no_head_at_all(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    with pytest.raises(PrejudgeError, match=f"^no Ray head answers at 127.0.0.1:{port} ") as error:
        connection.connect(Apart(), f"127.0.0.1:{port}")
    assert "\n" not in str(error.value)


def test_ray_is_loaded_when_it_is_needed() -> None:
    code = (
        "import sys, prejudge.engine, prejudge.cli.score_command, prejudge.cli as cli\n"
        "prejudge.engine.RayEngine(); cli.run(['score', '--help'])\n"
        "sys.exit(' '.join(name for name in ('ray', 'torch') if name in sys.modules) or 0)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert found.returncode == 0 and "--engine" in found.stdout, found.stderr


def test_ray_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PrejudgeError, match=r"needs the package ray: pip install 'prejudge\[ray\]'"):
        list(RayEngine().run(jobs.square, [1]))
