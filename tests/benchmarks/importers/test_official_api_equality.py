"""Every value of an imported table is what the official packages answer from the same file, and nothing else is there.

Single trainings are compared bit for bit. Means agree to a relative 1e-12: nas_201_api takes ``numpy.mean``, nats_bench
``sum(...) / len(...)``, and Python's ``sum`` rounds differently since 3.12.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prejudge.benchmarks import Metric, Table, open_table
from prejudge.benchmarks.importers.nasbench201.importer import import_nasbench201
from prejudge.benchmarks.simulation import SimulatedTraining
from tests.benchmarks.importers import official_files

nas_201_api = pytest.importorskip("nas_201_api")
nats_bench = pytest.importorskip("nats_bench")

COUNT = 3
MEAN = 1e-12
SPLITS = ("train", "valid", "test", "valtest")
NATS = ("nats", "nats-simple")
COMPLETE = ("v1_1", *NATS)
KINDS = ("v1_0", *COMPLETE)
DATASETS = ("cifar10", "cifar100", "ImageNet16-120")


@dataclass(frozen=True)
class Pair:
    """A file as an official package reads it, and the table made of it."""

    kind: str
    path: Path
    api: Any
    table: Table

    @property
    def is_nats(self) -> bool:
        return self.kind.startswith("nats")


def official(kind: str, path: Path, content: dict[str, Any]) -> Any:
    if kind == "nats":
        return nats_bench.create(str(path), "tss", fast_mode=False, verbose=False)
    if kind == "nats-simple":
        return nats_bench.create(str(path), "tss", fast_mode=True, verbose=False)
    return nas_201_api.NASBench201API(content, verbose=False)


def written(kind: str, folder: Path, content: dict[str, Any]) -> Path:
    if kind == "nats":
        return official_files.write_pbz2(folder, content)
    if kind == "nats-simple":
        return official_files.write_directory(folder, content)
    return official_files.write_pth(folder, content, kind)


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    kind, folder = request.param, tmp_path_factory.mktemp("official")
    content = official_files.contents(COUNT, kind.removesuffix("-simple"))
    path = written(kind, folder, content)
    table = open_table(import_nasbench201(path, folder / "table.h5", curves=(12,)).path)
    return Pair(kind, path, official(kind, path, content), table)


def answers(pair: Pair) -> Iterator[tuple[int, str, int, Any, dict[str, Any]]]:
    """(index, dataset, epochs, seed, get_more_info) of everything that the official package can be asked."""
    for index in range(COUNT):
        for hp in ("12", "200"):
            result = pair.api.query_by_index(index, hp=hp)
            for dataset in result.get_dataset_names():
                for seed in ("mean", *result.get_dataset_seeds(dataset)):
                    which = False if seed == "mean" else seed
                    info = pair.api.get_more_info(index, dataset, hp=hp, is_random=which)
                    yield index, dataset, int(hp), seed, info


def same(ours: float, theirs: float | None, seed: Any) -> bool:
    if theirs is None:
        return np.isnan(ours)
    return abs(ours - theirs) <= MEAN * abs(theirs) if seed == "mean" else ours == theirs


def value(table: Table, row: int, metric: Metric) -> float:
    return table.column(metric).item(row) if metric in table.metrics() else np.nan


def test_every_value_is_the_official_one_and_there_are_no_others(pair: Pair) -> None:
    compared: dict[tuple[int, Metric], float | None] = {}
    for index, dataset, epochs, seed, info in answers(pair):
        for split in SPLITS:
            if f"{split}-accuracy" in info:
                seconds = info["train-all-time" if split == "train" else f"{split}-per-time"]
                for quantity, theirs in (
                    ("accuracy", info[f"{split}-accuracy"]),
                    ("loss", info[f"{split}-loss"]),
                    ("seconds", seconds),
                ):
                    metric = Metric(dataset.lower(), split, epochs, seed, quantity)
                    compared[index, metric] = theirs
                    assert same(value(pair.table, index, metric), theirs, seed), (index, metric)
    alias = {m for m in pair.table.metrics() if m.dataset == "cifar10" and m.split == "valid"}
    ours = {
        (row, metric)
        for metric in set(pair.table.metrics()) - alias
        for row in np.flatnonzero(~np.isnan(pair.table.column(metric))).tolist()
    }
    assert ours == {key for key, theirs in compared.items() if theirs is not None}
    assert len(ours) > (300 if pair.kind == "v1_0" else 600)
    for metric in alias:
        twin = Metric("cifar10-valid", "valid", metric.epochs, metric.seed, metric.quantity)
        np.testing.assert_array_equal(pair.table.column(metric), pair.table.column(twin))


@pytest.mark.parametrize("pair", ["v1_0", "v1_1"], indirect=True)
def test_means_of_accuracies_and_losses_are_nas_201_apis_bit_for_bit(pair: Pair) -> None:
    for index, dataset, epochs, seed, info in answers(pair):
        if seed == "mean":
            for quantity in ("accuracy", "loss"):
                metric = Metric(dataset.lower(), "train", epochs, "mean", quantity)
                assert pair.table.query(index, metric) == info[f"train-{quantity}"]


def test_trainings_are_those_of_query_by_index(pair: Pair) -> None:
    for index in range(COUNT):
        for hp in ("12", "200"):
            for dataset in pair.api.query_by_index(index, hp=hp).get_dataset_names():
                trials = pair.api.query_by_index(index, dataset, hp=hp)
                name = f"{hp}ep_{dataset.lower()}"
                assert pair.table.extra(f"n_seeds_{name}")[index] == len(trials)
                for seed, trial in trials.items():
                    train = Metric(dataset.lower(), "train", int(hp), seed)
                    assert pair.table.query(index, train) == trial.get_train()["accuracy"]
                    assert pair.table.extra(f"latency_{name}_seed{seed}")[index] == trial.get_latency()


def test_costs_are_those_of_get_cost_info(pair: Pair) -> None:
    for index in range(COUNT):
        for hp in ("12", "200"):
            for dataset in pair.api.query_by_index(index, hp=hp).get_dataset_names():
                costs, name = pair.api.get_cost_info(index, dataset, hp=hp), dataset.lower()
                table = pair.table
                assert table.extra("params", dataset=dataset)[index] / 1e6 == pytest.approx(costs["params"], rel=MEAN)
                assert table.extra("flops", dataset=dataset)[index] / 1e6 == pytest.approx(costs["flops"], rel=MEAN)
                latency = table.extra(f"latency_{hp}ep_{name}")[index]
                assert latency == pytest.approx(costs["latency"], rel=MEAN)
                assert latency == pytest.approx(pair.api.get_latency(index, dataset, hp=hp), rel=MEAN)


def test_an_architecture_has_the_official_index(pair: Pair) -> None:
    for text in pair.api.meta_archs:
        first = pair.table.metrics()[0]
        assert pair.table.query(text, first) == pair.table.query(pair.api.query_index_by_arch(text), first)


def test_curves_are_get_more_info_at_an_epoch(pair: Pair) -> None:
    checked = 0
    for index, dataset, epochs, seed, _ in answers(pair):
        if epochs == 200:
            continue
        which = False if seed == "mean" else seed
        for epoch in (0, 5, 11):
            info = pair.api.get_more_info(index, dataset, iepoch=epoch, hp="12", is_random=which)
            for split in SPLITS:
                for quantity in ("accuracy", "loss"):
                    if f"{split}-{quantity}" in info:
                        curve = pair.table.curve(index, Metric(dataset.lower(), split, 12, seed, quantity))
                        assert same(curve[epoch], info[f"{split}-{quantity}"], seed)
                        checked += 1
            seconds = pair.table.curve(index, Metric(dataset.lower(), "train", 12, seed, "seconds"))[epoch]
            assert seconds == pytest.approx(info["train-all-time"], rel=MEAN)
    assert checked >= 3 * 3 * 3 * 2 * 3


def test_curves_of_200_epochs(tmp_path: Path) -> None:
    content = official_files.contents(1, "v1_1", chosen={(12, "cifar10"): (777,), (200, "cifar10"): (777,)})
    path = official_files.write_pth(tmp_path, content)
    table = open_table(import_nasbench201(path, tmp_path / "table.h5", curves=True).path)
    api = official("v1_1", path, content)
    for epoch in (0, 57, 199):
        info = api.get_more_info(0, "cifar10", iepoch=epoch, hp="200", is_random=777)
        for split in ("train", "test"):
            metric = Metric("cifar10", split, 200, 777)
            assert table.curve(0, metric)[epoch] == info[f"{split}-accuracy"]


def test_a_loaded_object_makes_the_same_table(pair: Pair, tmp_path: Path) -> None:
    again = open_table(import_nasbench201(pair.api, tmp_path / "again.h5", curves=(12,)).path)
    assert again.metrics() == pair.table.metrics()
    assert again.extras == pair.table.extras
    for metric in again.metrics():
        np.testing.assert_array_equal(again.column(metric), pair.table.column(metric))
    for name in again.extras:
        np.testing.assert_array_equal(again.extra(name), pair.table.extra(name))
    assert again.index.curves == pair.table.index.curves
    assert again.curve(2, "cifar10_valid_12ep").tolist() == pair.table.curve(2, "cifar10_valid_12ep").tolist()


def test_where_trainings_disagree_about_the_size_nats_bench_is_followed(tmp_path: Path) -> None:
    content = official_files.contents(COUNT, "nats")
    trials = content["arch2infos"][2]["200"]["all_results"]
    trials["cifar10", 777]["params"] += 0.5
    trials["cifar10", 777]["flop"] += 12
    path = official_files.write_pbz2(tmp_path, content)
    table = open_table(import_nasbench201(path, tmp_path / "table.h5").path)
    costs = official("nats", path, content).get_cost_info(2, "cifar10", hp="200")
    assert table.extra("params_cifar10")[2] / 1e6 == pytest.approx(costs["params"], rel=MEAN)
    assert table.extra("flops_cifar10")[2] / 1e6 == pytest.approx(costs["flops"], rel=MEAN)
    assert costs["params"] == pytest.approx(trials["cifar10", 888]["params"])


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the official packages draw the given training instead of a random one."""
    return lambda seed: monkeypatch.setattr(random, "choice", lambda seeds: seed if seed in seeds else seeds[0])


def simulate(pair: Pair, index: int, dataset: str, hp: str, **more: Any) -> tuple[float, float, float, float]:
    return pair.api.simulate_train_eval(index, dataset, hp=hp, **more)


@pytest.mark.parametrize("pair", COMPLETE, indirect=True)
@pytest.mark.parametrize("hp", ["12", "200"])
def test_simulated_training_of_a_seed_is_simulate_train_eval(
    pair: Pair, hp: str, choose: Callable[[int], None]
) -> None:
    pair.api.reset_time()
    total = 0.0
    for dataset in DATASETS:
        key = "cifar10-valid" if dataset == "cifar10" else dataset
        for index in range(COUNT):
            for seed in pair.api.query_by_index(index, hp=hp).get_dataset_seeds(key):
                choose(seed)
                accuracy, latency, seconds, used = simulate(pair, index, dataset, hp)
                simulated = SimulatedTraining(pair.table, dataset, int(hp), seed)
                ours = simulated(index)
                assert (ours.accuracy, ours.seconds) == (accuracy, seconds)
                # nas_201_api answers with the latency of the 12-epoch networks whatever the schedule.
                theirs = latency if pair.is_nats else pair.api.get_latency(index, dataset, hp=hp)
                assert ours.latency == pytest.approx(theirs, rel=MEAN)
                total += simulated.total_seconds
                assert total == used


@pytest.mark.parametrize("pair", COMPLETE, indirect=True)
def test_simulated_training_of_a_random_seed_draws_what_simulate_train_eval_draws(pair: Pair) -> None:
    simulated = SimulatedTraining(pair.table, "cifar100", 200, "random", rng=np.random.default_rng(1))
    for index in range(COUNT):
        theirs = {simulate(pair, index, "cifar100", "200")[0:3:2] for _ in range(60)}
        drawn = [simulated(index) for _ in range(60)]
        assert {(r.accuracy, r.seconds) for r in drawn} == theirs
        assert len(theirs) == index + 1


@pytest.mark.parametrize("pair", COMPLETE, indirect=True)
def test_simulated_training_of_the_mean_is_get_more_info(pair: Pair) -> None:
    for dataset in DATASETS:
        simulated = SimulatedTraining(pair.table, dataset, 200)
        key = "cifar10-valid" if dataset == "cifar10" else dataset
        info = pair.api.get_more_info(2, key, hp="200", is_random=False)
        assert simulated(2).accuracy == pytest.approx(info["valid-accuracy"], rel=MEAN)
        cost = info["train-all-time"] + info["valid-per-time"]
        assert simulated(2).seconds == pytest.approx(cost, rel=MEAN)


@pytest.mark.parametrize("pair", NATS, indirect=True)
def test_stopping_early_is_nats_benchs_iepoch(pair: Pair, choose: Callable[[int], None]) -> None:
    choose(777)
    for dataset in DATASETS:
        simulated = SimulatedTraining(pair.table, dataset, 12, 777)
        for after in (1, 4, 12):
            accuracy, _, seconds, _ = simulate(pair, 1, dataset, "12", iepoch=after - 1)
            ours = simulated(1, after=after)
            assert ours.accuracy == accuracy
            assert ours.seconds == pytest.approx(seconds, rel=MEAN)


def test_stopping_where_validation_came_only_at_the_end_is_nats_benchs_valtest(
    tmp_path: Path, choose: Callable[[int], None]
) -> None:
    content = official_files.contents(1, "nats", chosen={(12, "cifar100"): (777,)})
    trial = content["arch2infos"][0]["12"]["all_results"]["cifar100", 777]
    for epoch in range(11):
        del trial["eval_acc1es"][f"x-valid@{epoch}"], trial["eval_losses"][f"x-valid@{epoch}"]
    path = official_files.write_pbz2(tmp_path, content)
    table = open_table(import_nasbench201(path, tmp_path / "table.h5", curves=(12,)).path)
    choose(777)
    accuracy, _, seconds, _ = official("nats", path, content).simulate_train_eval(0, "cifar100", iepoch=3, hp="12")
    ours = SimulatedTraining(table, "cifar100", 12, 777)(0, after=4)
    assert ours.accuracy == accuracy == trial["eval_acc1es"]["ori-test@3"]
    assert ours.seconds == pytest.approx(seconds, rel=MEAN)


@pytest.mark.parametrize("pair", ["v1_0"], indirect=True)
def test_without_a_latency_simulate_train_eval_fails_and_ours_has_none(pair: Pair) -> None:
    with pytest.raises(KeyError):
        pair.api.simulate_train_eval(0, "cifar10", hp="12")
    ours = SimulatedTraining(pair.table, "cifar10", 12, 777)(0)
    info = pair.api.get_more_info(0, "cifar10-valid", hp="12", is_random=777)
    assert (ours.accuracy, ours.latency) == (info["valid-accuracy"], None)
    assert ours.seconds == info["train-all-time"] + info["valid-per-time"]
