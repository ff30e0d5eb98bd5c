"""Commands on a Ray cluster of several nodes: the figures of one process, whatever dies on the way."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from prejudge.benchmarks import open_table
from prejudge.cache import ScoreCache, verify
from prejudge.engine import RayEngine
from prejudge.search import read_result
from tests.engine import jobs
from tests.engine.ray_nodes import add_node, nodes

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SMALL = ["--channels", "4", "--cells", "1"]
SCORE = [
    "score",
    "nasbench201",
    "--data",
    "digits",
    "--proxies",
    "synflow,naswot,grad_norm",
    "--batch-size",
    "8",
    *SMALL,
]
TRAIN = [
    "bench", "train", "nasbench201", "--data", "digits", "--archs", "random:4", "--seeds", "2", "--epochs", "1",
    "--train-images", "100", *SMALL,
]  # fmt: skip
SEARCH = [
    "search", "evolution", "--space", "nasbench201", "--data", "digits", "--proxy", "synflow", "--queries", "15",
    "--option", "population=5,sample=3", "--seeds", "3", *SMALL,
]  # fmt: skip
ALONE = ["--space", "nasbench201", "--data", "digits", "--proxy", "synflow", "--queries", "13", *SMALL]
PRUNE = [
    "search", "te-nas", "--space", "nasbench201", "--data", "digits",
    *(f"--setting={s}" for s in ("repeats=1", "batch_size=8", "crops=50", "crop_batches=1", "prune_number=3")),
]  # fmt: skip
SUPERNET = [
    "search", "darts", "--space", "nasbench201", "--data", "digits", "--epochs", "1", "--batch-size", "250",
    "--seeds", "2", "--macro", "stages=1", "--channels", "2", "--cells", "1",
]  # fmt: skip
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'prejudge[ray]'")
    with nodes(2) as found:
        yield found


def start(words: list[str], out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "prejudge", *words, "--out", str(out), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ONE_THREAD)


def run(words: list[str], out: Path) -> Any:
    process = start(words, out)
    text, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    return json.loads(text)


def on(cluster: Any) -> list[str]:
    return ["--engine", "ray", "--address", cluster.address]


def scores(file: Path) -> pd.DataFrame:
    assert verify(file) == []
    with ScoreCache(file, "r") as cache:
        return cache.frame().sort_index()


def wait_for(file: Path, size: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not (file.exists() and file.stat().st_size > size):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_scores_equal_those_of_one_process_to_the_last_bit(cluster: Any, tmp_path: Path) -> None:
    archs = ["--archs", "random:40"]
    run([*SCORE, *archs, "--threads", "1"], tmp_path / "here.h5")
    found = run([*SCORE, *archs, *on(cluster)], tmp_path / "there.h5")
    assert sum(found["nodes"].values()) == found["computed"] == 40
    assert len(found["nodes"]) == 2  # both nodes took part, and are told apart by their number
    pd.testing.assert_frame_equal(scores(tmp_path / "here.h5"), scores(tmp_path / "there.h5"), check_exact=True)
    with ScoreCache(tmp_path / "there.h5", "r") as cache:
        environment = cache.info()["runs"][-1]
    assert environment["engine"].startswith("Ray ") and environment["threads"] == 1


def test_from_outside_of_the_cluster(cluster: Any, tmp_path: Path) -> None:
    words = [*SCORE, "--archs", "random:10"]
    found = run([*words, "--engine", "ray", "--address", cluster.outside], tmp_path / "there.h5")
    assert sum(found["nodes"].values()) == 10
    run([*words, "--threads", "1"], tmp_path / "here.h5")
    pd.testing.assert_frame_equal(scores(tmp_path / "here.h5"), scores(tmp_path / "there.h5"), check_exact=True)


def test_trainings_equal_those_of_one_process(cluster: Any, tmp_path: Path) -> None:
    run([*TRAIN, "--threads", "1"], tmp_path / "here.h5")
    found = run([*TRAIN, *on(cluster)], tmp_path / "there.h5")
    assert found["trained"] == 8
    here, there = open_table(tmp_path / "here.h5"), open_table(tmp_path / "there.h5")
    assert here.metrics() == there.metrics()
    for metric in here.metrics():
        if metric.quantity == "accuracy":
            np.testing.assert_array_equal(here.column(metric), there.column(metric))


def test_searches_equal_those_of_one_process(cluster: Any, tmp_path: Path) -> None:
    here = run([*SEARCH, "--threads", "1"], tmp_path / "here.h5")
    there = run([*SEARCH, *on(cluster)], tmp_path / "there.h5")
    assert here["best"] == there["best"]
    assert [r["recommendation"] for r in here["runs"]] == [r["recommendation"] for r in there["runs"]]
    assert len(list((tmp_path / "there.h5.run").glob("*.jsonl"))) == 3


@pytest.mark.parametrize("method", ["random", "evolution(population=5, sample=3)"])
def test_questions_of_one_search_are_answered_side_by_side(method: str, cluster: Any, tmp_path: Path) -> None:
    """Batches whose answers come in any order, and questions one by one, between which there is no job."""
    here = run(["search", method, *ALONE, "--threads", "1"], tmp_path / "here.h5")
    there = run(["search", method, *ALONE, *on(cluster)], tmp_path / "there.h5")
    assert here["best"] == there["best"]
    steps = [read_result(tmp_path / name).trajectories[0] for name in ("here.h5", "there.h5")]
    assert steps[0].architectures == steps[1].architectures
    np.testing.assert_array_equal(steps[0].values, steps[1].values)


def test_supernets_equal_those_of_one_process(cluster: Any, tmp_path: Path) -> None:
    here = run([*SUPERNET, "--threads", "1"], tmp_path / "here.h5")
    there = run([*SUPERNET, *on(cluster)], tmp_path / "there.h5")
    assert [(r["recommendation"], r["value"]) for r in here["runs"]] == [
        (r["recommendation"], r["value"]) for r in there["runs"]
    ]
    assert len(list((tmp_path / "there.h5.run").glob("seed-*/supernet/last.pt"))) == 2


def test_pruning_equals_that_of_one_process(cluster: Any, tmp_path: Path) -> None:
    here = run([*PRUNE, "--threads", "1"], tmp_path / "here.h5")
    there = run([*PRUNE, *on(cluster)], tmp_path / "there.h5")
    assert here["runs"][0]["recommendation"] == there["runs"][0]["recommendation"]
    steps = [read_result(tmp_path / name).trajectories[0].metadata["rounds"] for name in ("here.h5", "there.h5")]
    for step in itertools.chain(*steps):
        del step["seconds"]
    assert steps[0] == steps[1]


def test_a_node_is_killed_and_another_one_joins(cluster: Any, tmp_path: Path) -> None:
    archs = ["--archs", "random:200"]
    reference = start([*SCORE, *archs, "--threads", "1"], tmp_path / "here.h5")
    assert reference.wait(400) == 0
    victim = add_node(cluster)
    process = start([*SCORE, *archs, *on(cluster)], tmp_path / "there.h5")
    wait_for(tmp_path / "there.h5.journal", 10_000, process)
    cluster.remove_node(victim, allow_graceful=False)
    added = add_node(cluster)
    text, errors = process.communicate(timeout=400)
    cluster.remove_node(added)
    assert process.returncode == 0, errors
    found = json.loads(text)
    assert found["computed"] == 200 and len(found["nodes"]) >= 3
    pd.testing.assert_frame_equal(scores(tmp_path / "here.h5"), scores(tmp_path / "there.h5"), check_exact=True)


def test_every_node_but_one_dies(cluster: Any) -> None:
    engine = RayEngine(address=cluster.address)
    victims = [add_node(cluster), add_node(cluster)]
    found = []
    for number, pair in enumerate(engine.run(jobs.slow_square, range(500))):
        found.append(pair)
        if number in (100, 200):
            cluster.remove_node(victims.pop(), allow_graceful=False)
    assert sorted(found) == [(i, i * i) for i in range(500)]


def test_the_driver_is_killed_and_the_next_one_completes(cluster: Any, tmp_path: Path) -> None:
    words, out = [*SCORE, "--archs", "random:150"], tmp_path / "there.h5"
    process = start([*words, *on(cluster)], out)
    wait_for(tmp_path / "there.h5.journal", 10_000, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with ScoreCache(out, "r") as cache:
        kept = len(cache.frame())
    assert 0 < kept < 150
    assert run([*words, *on(cluster)], out)["computed"] == 150 - kept
    run([*words, "--threads", "1"], tmp_path / "here.h5")
    pd.testing.assert_frame_equal(scores(tmp_path / "here.h5"), scores(out), check_exact=True)


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "term")]
)
def test_signals_end_everything(cluster: Any, number: int, code: int, word: str, tmp_path: Path) -> None:
    process = start([*SCORE, "--archs", "all", *on(cluster)], tmp_path / "there.h5")
    wait_for(tmp_path / "there.h5.journal", 5_000, process)
    process.send_signal(number)
    text, errors = process.communicate(timeout=100)
    assert process.returncode == code and text == ""
    assert errors.splitlines()[-1].startswith(f"prejudge: {word}"), errors
    assert "Traceback" not in errors
    assert 0 < len(scores(tmp_path / "there.h5")) < 15625
    assert len(list(RayEngine(address=cluster.address).run(jobs.square, range(20)))) == 20  # the CPUs are free again


def test_the_head_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'prejudge[ray]'")
    with nodes(1) as cluster:
        process = start([*SCORE, "--archs", "all", *on(cluster)], tmp_path / "there.h5")
        wait_for(tmp_path / "there.h5.journal", 10_000, process)
        cluster.head_node.kill_gcs_server()
        begin = time.monotonic()
        text, errors = process.communicate(timeout=300)
        assert time.monotonic() - begin < 45
    assert process.returncode == 1 and text == ""
    lines = [line for line in errors.splitlines() if line.startswith("prejudge: ")]
    assert len(lines) == 1 and "the head of the Ray cluster has stopped answering" in lines[0], errors
    with ScoreCache(tmp_path / "there.h5", "r") as cache:
        assert len(cache.frame()) > 0
    assert verify(tmp_path / "there.h5") == []


CONNECTING = """
import sys
from prejudge import cli
from prejudge.engine.ray import connection

def greet_and_die(address, greet=connection._greet):
    greet(address)
    print("greeted", flush=True)
    sys.stdin.readline()

connection._greet = greet_and_die
cli.main(sys.argv[1:])
"""


def test_the_head_is_killed_while_the_command_connects(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'prejudge[ray]'")
    with nodes(1) as cluster:
        words = [*SCORE, "--archs", "random:4", *on(cluster), "--out", str(tmp_path / "there.h5"), "--json"]
        process = subprocess.Popen(
            [sys.executable, "-c", CONNECTING, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=ONE_THREAD,
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "greeted\n"
        cluster.head_node.kill_gcs_server()
        begin = time.monotonic()
        text, errors = process.communicate("go on\n", timeout=300)
        assert time.monotonic() - begin < 40
    assert process.returncode == 1 and text == ""
    lines = [line for line in errors.splitlines() if line.startswith("prejudge: ")]
    assert len(lines) == 1 and "cannot join the Ray cluster at" in lines[0], errors
