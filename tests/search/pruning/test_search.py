"""Whole searches on small images: reproducible, resumable, and whatever the data are like."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prejudge import cli
from prejudge.data.loading import digits
from prejudge.engine import LocalEngine
from prejudge.errors import FileFormatError, InputError, PrejudgeError
from prejudge.formats.lock import writer_lock
from prejudge.search import read_result, write_result
from prejudge.search.pruning import PruningProtocol, PruningResult, agreement, convention, prune, search_result
from prejudge.search.pruning import state as state_module
from prejudge.spaces import space
from prejudge.spaces.darts.genotype import Genotype
from prejudge.spaces.nasbench201.space import Cell201

NB201 = space("nasbench201")
SMALL = convention("default", batch_size=4, repeats=1, crops=40, crop_batches=1, prune_number=2)
NETWORKS = 25 + 13


def images(n: int = 30, side: int = 8, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, channels), dtype=np.uint8)


def run(seed: int = 0, protocol: PruningProtocol | str = SMALL, **options: Any) -> PruningResult:
    return prune(NB201, images(), protocol=protocol, seed=seed, **options)


def figures(result: PruningResult) -> list[Any]:
    return [(step.title, step.measured, step.removed) for step in result.steps]


@pytest.fixture(scope="module")
def first() -> PruningResult:
    return run()


@pytest.fixture(scope="module")
def second() -> PruningResult:
    return run(1)


def test_a_search_ends_with_a_cell_without_none(first: PruningResult) -> None:
    assert isinstance(first.architecture, Cell201)
    assert 0 not in first.architecture.edges
    assert [len(step.removed) for step in first.steps] == [12, 6]
    start = {(m.removal.edge, m.removal.operation) for m in first.steps[0].measured}
    assert start - {(r.edge, r.operation) for r in first.removed_in()} == set(enumerate(first.architecture.edges))
    assert first.convention == "own"
    assert first.failed == 0
    assert 0 < first.compute_seconds <= first.seconds


def test_the_seed_decides_and_the_random_states_stay(first: PruningResult, second: PruningResult) -> None:
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
    one_round = replace(SMALL, prune_number=3)
    alone, together = (run(protocol=one_round, workers=workers) for workers in (1, 2))
    assert [s.removed for s in together.steps] == [s.removed for s in alone.steps]
    assert torch.get_num_threads() == threads


class Elsewhere(LocalEngine):
    """This process, as if it were on another machine, where there is every device."""

    elsewhere = True
    in_process = False  # type: ignore[assignment]
    prepared: tuple[Any, ...] = ()

    def run(self, function: Any, jobs: Any, *, initializer: Any = None, initargs: tuple[Any, ...] = ()) -> Any:
        Elsewhere.prepared = initargs
        return super().run(replace(function, device="cpu"), jobs)


def test_an_engine_measures_and_has_the_device(first: PruningResult) -> None:
    result = run(engine=Elsewhere(1), device="tpu9")
    assert figures(result) == figures(first)
    assert Elsewhere.prepared == (torch.get_num_threads(), "tpu9")
    assert result.facts == {"num_classes": 10, "device": "tpu9", "workers": 1}
    with pytest.raises(InputError, match="not both"):
        run(engine=LocalEngine(1), workers=2)


class Stop(Exception):
    pass


@pytest.mark.parametrize("after", [1, 25, 30])
def test_a_search_goes_on_where_it_stopped(
    first: PruningResult, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "SAVE_EVERY", 0.0)
    state = tmp_path / "state.json"

    def stop(done: int, total: int, seconds: float) -> None:
        assert total == NETWORKS
        if done == after:
            raise Stop

    with pytest.raises(Stop):
        run(state=state, progress=stop)
    assert len(json.loads(state.read_text())["figures"]) == after
    calls = []
    result = run(state=state, progress=lambda *now: calls.append(now[:2]))
    assert figures(result) == figures(first)
    assert calls[0] == (1, NETWORKS)
    assert calls[-1] == (NETWORKS, NETWORKS)
    before = state.stat().st_mtime_ns
    assert figures(run(state=state)) == figures(first)  # everything is on file
    assert state.stat().st_mtime_ns == before


def test_a_state_of_another_search_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.json"

    def stop(step: Any) -> None:
        raise Stop

    with pytest.raises(Stop):
        run(state=state, on_step=stop)
    with pytest.raises(InputError, match=r"state\.json was begun by another search \(seed differs\); remove it"):
        run(1, state=state)
    with pytest.raises(InputError, match="protocol differs"):
        run(protocol=convention("tenas", batch_size=6), state=state)
    with pytest.raises(InputError, match="data differs"):
        prune(NB201, images(31), protocol=SMALL, state=state)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format": "x", "plan": {}, "seconds": 0, "figures": {}}'])
def test_a_damaged_state_is_refused(tmp_path: Path, content: bytes) -> None:
    state = tmp_path / "state.json"
    state.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"state\.json is no state of a pruning search"):
        run(state=state)


@pytest.mark.parametrize("name", [pytest.param("default", marks=pytest.mark.slow), "tenas"])
def test_darts_with_groups_of_edges(name: str) -> None:
    protocol = convention(name, batch_size=3, repeats=1, crops=20, crop_batches=1, prune_number=1)
    result = prune(space("darts-s2"), images(20, 8, 1), protocol=protocol, seed=2)
    assert isinstance(result.architecture, Genotype)
    space("darts-s2").parse(result.architecture)
    assert [step.title for step in result.steps] == [
        "round 1", *(f"{cell} node {node}" for cell in ("normal", "reduce") for node in (1, 2, 3))
    ]  # fmt: skip
    assert {source for _, source in result.architecture.normal[:2]} == {0, 1}


def test_labeled_images_of_any_shape_and_number() -> None:
    data = digits("valid").subset(slice(0, 12))
    odd = prune(NB201, images(9, 7, 1)[:, :, :5], protocol=replace(SMALL, batch_size=None))
    assert odd.data["batch_size"] == 9
    assert odd.facts["num_classes"] == 10
    result = prune(NB201, data, protocol=SMALL, num_classes=12)
    assert result.data["name"] == "digits"
    assert result.facts["num_classes"] == 12


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
    assert not list(tmp_path.glob("r.h5.*.state"))
    lock = writer_lock(out)
    assert cli.run([*words, "--out", str(out)]) == 1
    assert "is being written by process" in capsys.readouterr().err
    lock.release()
    assert cli.run([*words, "--normalization", "cifar11"]) == 2
    assert "unknown normalization 'cifar11'; did you mean" in capsys.readouterr().err


def test_results_are_written_as_those_of_other_searches(
    first: PruningResult, second: PruningResult, tmp_path: Path
) -> None:
    result = read_result(write_result(search_result([first, second], [93.0, math.nan]), tmp_path / "r.h5"))
    assert result.method == "tenas"
    assert result.options["kernel"] == "fixed-bn"
    assert result.options["rounding"] == {"decimals": None, "significant": None}
    assert [t.seed for t in result.trajectories] == [0, 1]
    assert result.best == str(first.architecture)
    steps = result.trajectories[0].metadata["steps"]
    assert [len(s["measured"]) for s in steps] == [24, 12]
    assert steps[0]["columns"] == ["cell", "edge", "operation", "condition_change", "regions_change"]
    assert steps[0]["removed"][0] in [row[:3] for row in steps[0]["measured"]]
    assert result.objective["data"]["images"] == 30


def test_agreement_of_removals(first: PruningResult, second: PruningResult) -> None:
    assert agreement(first, first) == 5 / 6  # of an edge's six pairs the one that went in one step does not count
    assert -1 <= agreement(first, second) < 5 / 6


def test_identical_images_are_one_clear_error() -> None:
    with pytest.raises(PrejudgeError, match="round 1: the unpruned network has no kernel figure in any repeat"):
        prune(NB201, np.full((8, 8, 8, 3), 7, dtype=np.uint8), protocol=replace(SMALL, augment=False))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed must be an integer of at least 0, not -1"),
        ({"workers": 0}, "workers must be an integer of at least 1, not 0"),
        ({"device": "tpu9"}, "no device 'tpu9' here"),
        ({"protocol": "te-nas"}, "unknown pruning convention 'te-nas'; did you mean 'tenas'"),
        ({"num_classes": 0}, "num_classes must be a positive integer, not 0"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(**options)


def test_the_package_is_listed_without_torch() -> None:
    import subprocess
    import sys

    code = "import prejudge.search.pruning, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
