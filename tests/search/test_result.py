"""The result file: everything comes back, and what is damaged is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prejudge import search
from prejudge.errors import FileFormatError, InputError, MissingDataError, PrejudgeError
from prejudge.search import Budget, SearchResult, Trajectory, read_result, write_result
from tests.search.toy_objectives import Convolutions


def a_run(values: list[float], epochs: list[int] | None = None, seed: int = 0, **more: Any) -> Trajectory:
    count = len(values)
    return Trajectory(
        seed=seed,
        recommendation=more.pop("recommendation", "a0"),
        architectures=[f"a{i % 3}" for i in range(count)],
        epochs=np.array(epochs or [0] * count, dtype=np.int32),
        values=np.array(values),
        seconds=np.linspace(0.1, 1, count),
        overhead=0.25,
        **more,
    )


def a_result(*runs: Trajectory) -> SearchResult:
    return SearchResult(
        method="evolution",
        options={"population": 10, "proxy": ""},
        space="nasbench201",
        objective={"what": "digits", "note": "Größe ≥ 1"},
        budget={"queries": 3, "seconds": None, "overshoot": False},
        trajectories=list(runs),
        provenance={"prejudge": "0"},
    )


def assert_equal(one: SearchResult, other: SearchResult) -> None:
    for name in ("method", "options", "space", "objective", "budget", "provenance"):
        assert getattr(one, name) == getattr(other, name)
    assert len(one.trajectories) == len(other.trajectories)
    for a, b in zip(one.trajectories, other.trajectories, strict=True):
        assert (a.seed, a.recommendation, a.architectures, a.overhead, a.metadata) == (
            (b.seed, b.recommendation, b.architectures, b.overhead, b.metadata)
        )
        for name in ("epochs", "values", "seconds"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    runs = (
        a_run([1.5, math.nan, 0.1 + 0.2], seed=7, metadata={"restarts": 2, "why": None}),
        a_run([math.nan, 3.0], [1, 12], seed=3, recommendation="not asked"),
    )
    return write_result(a_result(*runs), tmp_path / "found.h5")


def test_everything_comes_back(written: Path, tmp_path: Path) -> None:
    found = read_result(written)
    assert [run.seed for run in found.trajectories] == [7, 3]
    assert found.trajectories[1].recommendation == "not asked"
    assert found.trajectories[0].epochs.dtype == np.int32
    assert_equal(read_result(write_result(found, tmp_path / "again.h5")), found)


def test_a_real_search_comes_back(tmp_path: Path) -> None:
    result = search.run("evolution", Convolutions(fail=True), Budget(seconds=50), seeds=range(4))
    assert_equal(read_result(write_result(result, tmp_path / "r.h5")), result)


def test_500_runs_are_a_small_file(tmp_path: Path) -> None:
    result = search.run("random", Convolutions(), Budget(queries=100), seeds=range(50))
    assert write_result(result, tmp_path / "r.h5").stat().st_size < 600_000  # 5,000 steps of 72-character texts


@given(st.lists(st.tuples(st.sampled_from([1, 4, 12]), st.one_of(st.integers(0, 3), st.just(math.nan))), max_size=20))
def test_incumbents_are_those_of_a_slow_look(steps: list[tuple[int, float]]) -> None:
    run = a_run([float(v) for _, v in steps], [e for e, _ in steps])
    for last, incumbent in enumerate(run.incumbents().tolist()):
        valued = [(e, v, -i) for i, (e, v) in enumerate(steps[: last + 1]) if not math.isnan(v)]
        assert incumbent == (-max(valued)[2] if valued else -1)


def test_the_best_run_has_the_highest_value() -> None:
    runs = (a_run([1, 5, math.nan]), a_run([math.nan, 7]), a_run([7, 2]), a_run([]))
    assert a_result(*runs).best_run is runs[1]


def test_no_run_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run of evolution to write"):
        write_result(a_result(), tmp_path / "r.h5")
    assert not list(tmp_path.iterdir())


def test_a_missing_file_and_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no search result .*nowhere\.h5"):
        read_result(tmp_path / "nowhere.h5")
    with pytest.raises(PrejudgeError):
        write_result(a_result(a_run([1.0])), tmp_path / "no" / "r.h5")


def test_every_truncation_is_noticed(written: Path) -> None:
    content = written.read_bytes()
    for end in np.linspace(0, len(content) - 1, 40).astype(int):
        written.write_bytes(content[:end])
        with pytest.raises(FileFormatError, match=r"found\.h5"):
            read_result(written)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(FileFormatError, match="not a search result, or it is damaged"):
        read_result(path)
    with h5py.File(path, "w") as file:
        file["index"] = "{}"
    with pytest.raises(FileFormatError, match="an HDF5 file but no search result"):
        read_result(path)


def test_a_newer_format_says_upgrade(written: Path) -> None:
    with h5py.File(written, "a") as file:
        file.attrs["version"] = 99
    with pytest.raises(FileFormatError, match="written by a newer prejudge; upgrade prejudge"):
        read_result(written)


def _without_column(file: h5py.File) -> None:
    del file["steps/value"]


def _shorter_column(file: h5py.File) -> None:
    seconds = file["steps/seconds"][()]
    del file["steps/seconds"]
    file["steps/seconds"] = seconds[:-1]


def _wild_architecture(file: h5py.File) -> None:
    file["steps/architecture"][0] = 999


def _no_json(file: h5py.File) -> None:
    del file["index"]
    file["index"] = "{nonsense"


def _no_runs(file: h5py.File) -> None:
    index = json.loads(file["index"][()])
    del file["index"]
    file["index"] = json.dumps({**index, "runs": []})


def _unknown_field(file: h5py.File) -> None:
    index = json.loads(file["index"][()])
    del file["index"]
    file["index"] = json.dumps({**index, "surprise": 1})


@pytest.mark.parametrize(
    "damage", [_without_column, _shorter_column, _wild_architecture, _no_json, _no_runs, _unknown_field]
)
def test_damage_inside_is_noticed(written: Path, damage: Any) -> None:
    with h5py.File(written, "a") as file:
        damage(file)
    with pytest.raises(FileFormatError, match=r"found\.h5 is not a search result, or it is damaged"):
        read_result(written)


def test_a_frame_has_every_step() -> None:
    result = search.run("hyperband", Convolutions(schedules=(1, 4, 12)), Budget(queries=20), seeds=[3, 1])
    frame = result.frame()
    assert list(frame.columns) == ["seed", "step", "architecture", "epochs", "value", "seconds"]
    assert frame["seed"].tolist() == [3] * 20 + [1] * 20 and frame["step"].tolist() == [*range(20)] * 2
    for run in result.trajectories:
        own = frame[frame["seed"] == run.seed]
        assert own["architecture"].tolist() == run.architectures and own["value"].tolist() == run.values.tolist()
        assert own["epochs"].tolist() == run.epochs.tolist() and own["seconds"].tolist() == run.seconds.tolist()
    assert result.architectures == [run.recommendation for run in result.trajectories]
    assert result.best == result.best_run.recommendation in result.architectures
    assert repr(result) == (f"<search with hyperband in nasbench201: 2 runs of 40 steps together, best {result.best}>")
