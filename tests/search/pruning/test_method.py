"""Whole searches on small images: reproducible, resumable, and whatever the data are like."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prejudge import cli, search
from prejudge.data.loading import digits
from prejudge.engine import LocalEngine
from prejudge.errors import FileFormatError, InputError, PrejudgeError
from prejudge.formats.lock import writer_lock
from prejudge.search import SearchResult, Trajectory, read_result, write_result
from prejudge.search.pruning import agreement
from prejudge.spaces import space
from prejudge.spaces.darts.genotype import Genotype
from prejudge.spaces.nasbench201.space import Cell201

NB201 = space("nasbench201")
SMALL: dict[str, Any] = {"batch_size": 4, "repeats": 1, "crops": 40, "crop_batches": 1, "prune_number": 2}
NETWORKS = 25 + 13


def test_the_digits_of_figures_and_the_file_of_what_is_left(tmp_path: Path) -> None:
    found = run(folder=tmp_path, options={"convention": "te-nas-imagenet", "batch_size": 4, "precision": 2})
    assert found.metadata["protocol"]["rounding"] == {"decimals": 2, "significant": 2}
    assert found.metadata["protocol"]["prune_number"] == 2
    left = np.load(tmp_path / "seed-0" / "arch_parameter.npy", allow_pickle=False)
    assert left.shape == (1, 6, 5) and set(left.ravel().tolist()) == {0.0, -1000.0}
    assert Cell201(tuple(left[0].argmax(1).tolist())) == NB201.parse(found.recommendation)
    with pytest.raises(InputError, match="in place of rounding"):
        run(options={"precision": 0})


def images(n: int = 30, side: int = 8, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, channels), dtype=np.uint8)


def result(*seeds: int, name: str = "nasbench201", data: Any = None, **others: Any) -> SearchResult:
    """Of :data:`SMALL` settings, with those in ``options`` changed."""
    options = SMALL | others.pop("options", {})
    data = images() if data is None else data
    return search.run("te-nas", space=name, data=data, seeds=seeds or [0], options=options, **others)


def run(seed: int = 0, **others: Any) -> Trajectory:
    return result(seed, **others).trajectories[0]


def figures(found: Trajectory) -> list[Any]:
    return [{key: value for key, value in made.items() if key != "seconds"} for made in found.metadata["rounds"]]


@pytest.fixture(scope="module")
def both() -> SearchResult:
    return result(0, 1)


@pytest.fixture(scope="module")
def first(both: SearchResult) -> Trajectory:
    return both.trajectories[0]


@pytest.fixture(scope="module")
def second(both: SearchResult) -> Trajectory:
    return both.trajectories[1]


def test_a_search_ends_with_a_cell_without_none(first: Trajectory) -> None:
    found = NB201.parse(first.recommendation)
    assert isinstance(found, Cell201) and 0 not in found.edges
    rounds = first.metadata["rounds"]
    assert [len(made["removed"]) for made in rounds] == [12, 6]
    gone = {tuple(row) for made in rounds for row in made["removed"]}
    (left,) = {frozenset({tuple(row[:3]) for row in rounds[0]["measured"]} - gone)}
    names = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    assert left == {("cell", edge, names[operation]) for edge, operation in enumerate(found.edges)}
    assert first.metadata["failed_figures"] == 0
    assert 0 < first.metadata["compute_seconds"] <= first.seconds[0]
    assert first.architectures == [first.recommendation] and np.isnan(first.values).all()


def test_the_seed_decides_and_the_random_states_stay(first: Trajectory, second: Trajectory) -> None:
    np.random.seed(5)  # noqa: NPY002  # the global state is what this is about
    torch.manual_seed(5)
    assert figures(run()) == figures(first)
    after = np.random.random(), torch.rand(1).item()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    assert after == (np.random.random(), torch.rand(1).item())  # noqa: NPY002
    assert figures(second) != figures(first)


def test_workers_change_nothing() -> None:
    threads = torch.get_num_threads()
    alone, together = (run(options={"prune_number": 3}, workers=workers) for workers in (1, 2))
    assert [r["removed"] for r in together.metadata["rounds"]] == [r["removed"] for r in alone.metadata["rounds"]]
    assert torch.get_num_threads() == threads


class Elsewhere(LocalEngine):
    """This process, as if it were on another machine, where there is every device."""

    elsewhere = True
    in_process = False  # type: ignore[assignment]
    prepared: tuple[Any, ...] = ()

    def run(self, function: Any, jobs: Any, *, initializer: Any = None, initargs: tuple[Any, ...] = ()) -> Any:
        Elsewhere.prepared = initargs
        return super().run(replace(function, device="cpu"), jobs)


def test_an_engine_measures_and_has_the_device(first: Trajectory) -> None:
    found = run(engine=Elsewhere(1), device="tpu9")
    assert figures(found) == figures(first)
    assert Elsewhere.prepared == (torch.get_num_threads(), "tpu9")
    assert [found.metadata[key] for key in ("num_classes", "device", "workers")] == [10, "tpu9", 1]
    with pytest.raises(InputError, match="not both"):
        run(engine=LocalEngine(1), workers=2)


class Stop(Exception):
    pass


@pytest.mark.parametrize("after", [1, 25, 30])
def test_a_search_goes_on_where_it_stopped(first: Trajectory, after: int, tmp_path: Path) -> None:
    def stop(done: int, total: int, seconds: float) -> None:
        assert total == NETWORKS
        if done == after:
            raise Stop

    with pytest.raises(Stop):
        run(folder=tmp_path, progress=stop)
    journal = tmp_path / "te-nas-0.jsonl"
    assert len(journal.read_text().splitlines()) == 1 + after
    calls = []
    found = run(folder=tmp_path, progress=lambda *now: calls.append(now[:2]))
    assert figures(found) == figures(first)
    assert calls[0] == (1, NETWORKS)
    assert calls[-1] == (NETWORKS, NETWORKS)
    before = journal.read_bytes()
    again = run(folder=tmp_path)
    assert figures(again) == figures(first)  # everything is on file
    assert again.seconds == found.seconds
    assert journal.read_bytes() == before


def test_a_journal_of_another_search_is_refused(tmp_path: Path) -> None:
    def stop(event: Any) -> None:
        raise Stop

    with pytest.raises(Stop):
        run(folder=tmp_path, callbacks=[stop])
    with pytest.raises(InputError, match=r"te-nas-0\.jsonl .*options"):
        run(folder=tmp_path, options={"convention": "te-nas", "batch_size": 6})
    with pytest.raises(InputError, match=r"te-nas-0\.jsonl .*objective"):
        run(folder=tmp_path, data=images(31))


@pytest.mark.parametrize("content", ["[]", '{"condition": 1}', "[1, 2, 3]", '["a", 1, 1, "", 1]'])
def test_a_journal_with_other_records_is_refused(tmp_path: Path, content: str) -> None:
    import json

    from prejudge.engine.journal import Journal

    def stop(event: Any) -> None:
        raise Stop

    with pytest.raises(Stop):
        run(folder=tmp_path, callbacks=[stop])
    path = tmp_path / "te-nas-0.jsonl"
    plan = json.loads(path.read_text().splitlines()[0].partition(" ")[2])["plan"]
    with Journal(path, plan, "search") as journal:
        journal.append({"key": journal.records[-1]["key"], "record": json.loads(content)})
    with pytest.raises(FileFormatError, match="not the figures of a network"):
        run(folder=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default", "te-nas"])
def test_darts_with_groups_of_edges(name: str) -> None:
    options = {"convention": name, "batch_size": 3, "crops": 20, "prune_number": 1}
    found = run(2, name="darts-s2", data=images(20, 8, 1), options=options)
    genotype = space("darts-s2").parse(found.recommendation)
    assert isinstance(genotype, Genotype)
    assert [made["title"] for made in found.metadata["rounds"]] == [
        "round 1", *(f"{cell} node {node}" for cell in ("normal", "reduce") for node in (1, 2, 3))
    ]  # fmt: skip
    assert {source for _, source in genotype.normal[:2]} == {0, 1}


def test_labeled_images_of_any_shape_and_number() -> None:
    data = digits("valid").subset(slice(0, 12))
    odd = run(data=images(9, 7, 1)[:, :, :5], options={"batch_size": None})
    assert odd.metadata["protocol"]["batch_size"] == 9
    assert odd.metadata["num_classes"] == 10
    found = result(data=data, options={"num_classes": 12})
    assert found.objective["data"]["name"] == "digits"
    assert found.trajectories[0].metadata["num_classes"] == 12


def test_the_command_takes_a_file_without_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "own.npz", images=images())
    fast = [
        f"--setting={name}" for name in ("repeats=1", "batch_size=4", "crops=40", "crop_batches=1", "prune_number=3")
    ]
    words = ["search", "te-nas", "--data", f"npz:{tmp_path / 'own.npz'}", *fast]
    out = tmp_path / "r.h5"
    assert cli.run([*words, "--normalization", "cifar10", "--out", str(out), "--json"]) == 0
    data = read_result(out).objective["data"]
    assert (data["name"], data["images"], data["mean"][0]) == ("own", 30, 0.4914)
    assert (tmp_path / "r.h5.run" / "te-nas-0.jsonl").exists()
    lock = writer_lock(out)
    assert cli.run([*words, "--out", str(out)]) == 1
    assert "is being written by process" in capsys.readouterr().err
    lock.release()
    assert cli.run([*words, "--normalization", "cifar11"]) == 2
    assert "unknown normalization 'cifar11'; did you mean" in capsys.readouterr().err


def test_results_are_written_as_those_of_other_searches(both: SearchResult, tmp_path: Path) -> None:
    found = read_result(write_result(both, tmp_path / "r.h5"))
    assert found.method == "te-nas"
    assert found.options["convention"] == "default" and found.options["batch_size"] == 4
    assert [t.seed for t in found.trajectories] == [0, 1]
    assert found.best == both.trajectories[0].recommendation
    metadata = found.trajectories[0].metadata
    assert metadata["protocol"]["kernel"] == "fixed-bn"
    assert metadata["protocol"]["rounding"] == {"decimals": None, "significant": None}
    rounds = metadata["rounds"]
    assert [len(made["measured"]) for made in rounds] == [24, 12]
    assert rounds[0]["columns"] == ["cell", "edge", "operation", "condition_change", "regions_change"]
    assert rounds[0]["removed"][0] in [row[:3] for row in rounds[0]["measured"]]
    assert found.objective["data"]["images"] == 30


def test_agreement_of_removals(first: Trajectory, second: Trajectory) -> None:
    one, other = (found.metadata["rounds"] for found in (first, second))
    assert agreement(one, one) == 5 / 6  # of an edge's six pairs the one that went in one step does not count
    assert -1 <= agreement(one, other) < 5 / 6


def test_identical_images_are_one_clear_error() -> None:
    with pytest.raises(PrejudgeError, match="round 1: the unpruned network has no kernel figure in any repeat"):
        run(data=np.full((8, 8, 8, 3), 7, dtype=np.uint8), options={"augment": False})


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"seed": -1}, "seed must be an integer of at least 0, not -1"),
        ({"workers": 0}, "workers must be"),
        ({"device": "tpu9"}, "no device 'tpu9' here"),
        ({"options": {"convention": "tenas"}}, "unknown pruning convention 'tenas'; did you mean 'te-nas'"),
        ({"options": {"num_classes": 0}}, "num_classes must be a positive integer, not 0"),
        ({"options": {"rounding": {"digits": 3}}}, "unknown rounding 'digits'"),
        ({"options": {"batch": 3}}, "unknown option of te-nas 'batch'; did you mean 'batch_size'"),
        ({"name": "nasbench101"}, "te-nas searches darts, darts-s., nasbench201; it is not defined on nasbench101"),
    ],
)
def test_bad_options_are_refused(others: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(**others)


def test_the_package_is_listed_without_torch() -> None:
    import subprocess
    import sys

    code = "import prejudge.search.pruning, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
