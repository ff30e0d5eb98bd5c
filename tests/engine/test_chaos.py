"""SIGKILL at random moments: no file breaks, nothing that was kept is lost, the end is that of an undisturbed run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from prejudge.benchmarks import open_table
from prejudge.cache import Protocol, ScoreCache, verify
from prejudge.engine.journal import read_journal
from prejudge.formats.atomic import beside
from prejudge.search import read_result
from prejudge.spaces import space
from tests.engine.chaos import ROUNDS, Rows, Spawned, Torment

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="process groups and /proc of Linux"),
    pytest.mark.timeout(3600),
]

NB201 = space("nasbench201")
SMALL = ["--channels", "4", "--cells", "1"]
COMMANDS = {
    "score": [
        "score", "nasbench201", "--data", "digits", "--archs", "random:40", "--proxies", "synflow,naswot",
        "--batch-size", "8", *SMALL,
    ],
    "bench train": [
        "bench", "train", "nasbench201", "--data", "digits", "--archs", "random:8", "--seeds", "2", "--epochs", "1",
        "--train-images", "40", "--batch-size", "20", "--macro", "stages=1", *SMALL,
    ],
    "search": [
        "search", "evolution", "--space", "nasbench201", "--data", "digits", "--proxy", "synflow", "--queries", "40",
        "--option", "population=5,sample=3", "--seeds", "2", *SMALL,
    ],
    "table search": [
        "search", "random", "--benchmark", "digits", "--queries", "400", "--seeds", "40",
    ],
    "demo": ["demo", "--archs", "20", "--workers", "1"],
}  # fmt: skip


def scores(out: Path) -> Rows:
    if not out.exists():
        return {}
    assert verify(out) == []
    with ScoreCache(out, "r") as cache:
        protocols = cache.protocols()
        names = cache.architectures(protocols[0]) if protocols else []
        assert len(set(names)) == len(names)
        frame = cache.frame(protocols[0]) if names else None
    if frame is None:
        return {}
    return {name: tuple(map(repr, row)) for name, row in zip(frame.index, frame.to_numpy(), strict=True)}


def finished_scores(out: Path) -> Rows:
    assert not beside(out, ".journal").exists() and not beside(out, ".part").exists()
    return scores(out)


def trainings(out: Path) -> Rows:
    found = read_journal(beside(out, ".runs"))
    if found is None:
        return {}
    assert found.damaged == []
    runs = [record for record in found.records if record["kind"] == "run"]
    rows = {(r["architecture"], r["seed"]): json.dumps(r["result"] | {"seconds": 0}, sort_keys=True) for r in runs}
    assert len(rows) == len(runs)
    return rows


def table(out: Path) -> Rows:
    if not out.exists():
        return {}
    opened = open_table(out)
    return {
        (str(metric), row): repr(value)
        for metric in opened.metrics()
        if metric.quantity == "accuracy"
        for row, value in enumerate(opened.column(metric))
    }


def evaluations(out: Path) -> Rows:
    rows = {}
    for path in beside(out, ".run").glob("*.jsonl"):
        found = read_journal(path)
        assert found is None or found.damaged == []
        for record in [] if found is None else found.records:
            rows[path.name, record["step"]] = (record["architecture"], record["epochs"], repr(record["value"]))
    return rows


def trajectories(out: Path) -> Rows:
    found = read_result(out).trajectories
    return {t.seed: (t.recommendation, tuple(t.architectures), tuple(map(repr, t.values))) for t in found}


def finished_runs(out: Path) -> Rows:
    """The runs in the result of a table search and in its journal: one that is begun again has both."""
    rows = trajectories(out) if out.exists() else {}
    found = read_journal(beside(out, ".run") / "random.jsonl")
    if found is not None:
        assert found.damaged == []
        runs = [json.loads(record["run"]) for record in found.records]
        rows |= {
            r["seed"]: (r["recommendation"], tuple(r["architectures"]), tuple(map(repr, np.array(r["values"]))))
            for r in runs
        }
    return rows


def finished_search(out: Path) -> Rows:
    assert [path.name for path in out.parent.iterdir() if path.suffix != ".lock"] == [out.name]
    return trajectories(out)


def demo_scores(out: Path) -> Rows:
    return scores(out / "scores.h5")


def finished_demo(out: Path) -> Rows:
    assert "<html" in (out / "report.html").read_text()[:200]
    return finished_scores(out / "scores.h5")


READERS = {
    "score": (scores, finished_scores),
    "bench train": (trainings, table),
    "search": (evaluations, trajectories),
    "bench import": (table, table),
    "cache merge": (scores, finished_scores),
    "table search": (finished_runs, finished_search),
    "demo": (demo_scores, finished_demo),
}


def torment(name: str, folder: Path, seed: int) -> Torment:
    words = list(COMMANDS.get(name) or (accuracies(folder) if name == "bench import" else parts(folder)))
    return Torment(words, folder, *READERS[name], seed=seed)


def accuracies(folder: Path) -> list[str]:
    """The import of a table that was made for it."""
    file = folder / "mine.csv"
    rows = (f"{arch},{i % 97}.{i % 10},{i % 89}.5" for i, arch in enumerate(NB201))
    file.write_text("\n".join(["arch_str,toy_valid_12ep,toy_test_12ep", *rows]) + "\n")
    return ["bench", "import", "csv", str(file)]


def parts(folder: Path) -> list[str]:
    """The merge of two caches that were made for it."""
    protocol = Protocol("nasbench201", {"channels": 4})
    files = [folder / f"part-{part}.h5" for part in range(2)]
    for part, file in enumerate(files):
        with ScoreCache(file) as cache:
            for number in range(part * 400, part * 400 + 500):  # a fifth of them is in both
                cache.put(protocol, str(NB201[number]), {"snip": number / 7, "zen": -number / 3})
    return ["cache", "merge", *map(str, files)]


@pytest.mark.parametrize("name", ["score", "bench import"])  # all of them below
def test_a_few_kills(name: str, tmp_path: Path) -> None:
    torment(name, tmp_path, seed=1).rounds(2)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_many_kills(name: str, tmp_path: Path) -> None:
    rounds = ROUNDS
    tormented = torment(name, tmp_path, seed=2)
    tormented.rounds(rounds)
    print(f"{name}: {rounds} rounds, {tormented}")
    assert tormented.kills >= rounds // 10


@pytest.mark.slow
@pytest.mark.parametrize("name", ["score", "bench train", "search"])
def test_any_process_of_a_command_with_workers(name: str, tmp_path: Path) -> None:
    tormented = torment(name, tmp_path, seed=3)
    tormented.words += ["--workers", "2", "--threads-per-worker", "1"]
    tormented.start, tormented.victims = Spawned, ("driver", "worker", "all")
    tormented.rounds(max(2, ROUNDS // 5))
    print(f"{name} with workers: {tormented}")
