from __future__ import annotations

import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prejudge
from prejudge.benchmarks import Metric, RepresentativeWarning, Table, import_csv, open_table, write_table
from prejudge.benchmarks.simulation import CostWarning, SimulatedResult, SimulatedTraining
from prejudge.errors import InputError
from prejudge.spaces import space
from prejudge.spaces.nasbench201.cell import OPERATIONS

SIZE = 15625
ARCH = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"


def numbers(seed: int, low: float, high: float, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, (SIZE, *shape))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Two seeds of CIFAR-10 as the importer of the official files names them; row 1 has one run, row 2 none."""
    columns: dict[Metric, np.ndarray] = {}
    for n, seed in enumerate((777, 888)):
        accuracy = numbers(n, 10, 90)
        accuracy[2 - n : 3] = np.nan
        for dataset in ("cifar10", "cifar10-valid"):
            columns[Metric(dataset, "valid", 12, seed)] = accuracy
        columns[Metric("cifar10-valid", "train", 12, seed, "seconds")] = numbers(10 + n, 100, 200)
        columns[Metric("cifar10-valid", "valid", 12, seed, "seconds")] = numbers(20 + n, 1, 2)
    columns[Metric("cifar10", "train", 12, 777, "seconds")] = numbers(30, 1e5, 2e5)  # twice the images: not this cost
    columns[Metric("cifar10", "valid", 12)] = numbers(3, 10, 90)
    columns[Metric("cifar10-valid", "train", 12, "mean", "seconds")] = numbers(13, 100, 200)
    columns[Metric("cifar10-valid", "valid", 12, "mean", "seconds")] = numbers(23, 1, 2)
    latency = numbers(4, 0.01, 0.02)
    latency[5] = np.nan
    path = tmp_path_factory.mktemp("simulation") / "t.h5"
    return open_table(write_table(path, "nasbench201", columns, extra={"latency_12ep_cifar10": latency}))


def test_a_training_costs_its_seconds_and_one_evaluation(table: Table) -> None:
    simulated = SimulatedTraining(table, seed=888)
    result = simulated(ARCH)
    assert result == SimulatedResult(
        table.query(0, "cifar10_valid_12ep_seed888"),
        table.extra("latency_12ep_cifar10").item(0),
        table.query(0, "cifar10-valid_train_12ep_seed888_seconds")
        + table.query(0, "cifar10-valid_valid_12ep_seed888_seconds"),
    )
    assert simulated.note == ""
    with pytest.raises(AttributeError):
        result.accuracy = 100.0  # type: ignore[misc]


def test_costs_add_up_until_reset(table: Table) -> None:
    simulated = SimulatedTraining(table)
    first, second = simulated(0), simulated(7)
    assert simulated.total_seconds == first.seconds + second.seconds
    simulated(0)
    assert simulated.total_seconds == first.seconds + second.seconds + first.seconds
    simulated(9, account=False)
    assert simulated.total_seconds == first.seconds + second.seconds + first.seconds
    simulated.reset()
    assert simulated.total_seconds == 0.0


def test_an_architecture_is_known_in_any_notation(table: Table) -> None:
    simulated, cell = SimulatedTraining(table), space("nasbench201").parse(ARCH)
    names = [OPERATIONS[edge] for edge in cell.edges]
    assert simulated(cell) == simulated(ARCH) == simulated(0) == simulated(names) == simulated(np.int64(0))


def test_a_random_run_is_one_that_the_architecture_has(table: Table) -> None:
    simulated = SimulatedTraining(table, seed="random", rng=np.random.default_rng(0))
    both = [{SimulatedTraining(table, seed=s)(0) for s in (777, 888)}, {SimulatedTraining(table, seed=777)(1)}]
    for arch, expected in enumerate(both):
        drawn = [simulated(arch) for _ in range(100)]
        assert set(drawn) == expected
        assert abs(drawn.count(next(iter(expected))) - 100 / len(expected)) < 30
    again = SimulatedTraining(table, seed="random", rng=np.random.default_rng(0))
    same = SimulatedTraining(table, seed="random", rng=np.random.default_rng(0))
    assert [again(0) for _ in range(20)] == [same(0) for _ in range(20)]


def test_the_results_of_all_runs_can_be_seen_without_counting_them(table: Table) -> None:
    simulated = SimulatedTraining(table, seed="random")
    assert simulated.results(0) == tuple(SimulatedTraining(table, seed=s)(0) for s in (777, 888))
    assert len(simulated.results(1)) == 1
    assert simulated.total_seconds == 0.0


def test_an_unknown_latency_is_none(table: Table) -> None:
    assert SimulatedTraining(table)(5).latency is None


def test_an_architecture_that_was_not_trained_is_refused(table: Table) -> None:
    with pytest.raises(InputError, match="has no cifar10_valid_12ep_seed777 of 2; it has"):
        SimulatedTraining(table, seed=777)(2)
    with pytest.raises(InputError, match="has no cifar10_valid_12ep_seed888 of 1"):
        SimulatedTraining(table, seed=888)(1)
    with pytest.raises(InputError, match=r"outside 0\.\.15624"):
        SimulatedTraining(table)(15625)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"dataset": "cifar100"}, "no dataset 'cifar100'"),
        ({"epochs": 200}, "no epochs 200"),
        ({"seed": 999}, "no seed 999"),
        ({"dataset": "cifar100", "seed": "random"}, "no dataset 'cifar100'"),
    ],
)
def test_what_the_table_does_not_have_is_refused(table: Table, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SimulatedTraining(table, **asked)


def test_a_table_of_means_has_no_runs_to_draw(tmp_path: Path) -> None:
    column = {Metric("cifar10", "valid", 12): numbers(0, 10, 90)}
    table = open_table(write_table(tmp_path / "t.h5", "nasbench201", column, extra={"train_seconds": numbers(1, 1, 2)}))
    with pytest.raises(InputError, match="has cifar10_valid_12ep but no single runs of it to draw from"):
        SimulatedTraining(table, seed="random")


def test_without_any_seconds_the_message_names_what_there_is(tmp_path: Path) -> None:
    columns = {Metric("cifar10", "valid", e): numbers(e, 10, 90) for e in (12, 200)}
    none = open_table(write_table(tmp_path / "none.h5", "nasbench201", columns))
    with pytest.raises(InputError, match=r"training 12 epochs on cifar10, .*\(it has no seconds of anything\)"):
        SimulatedTraining(none)
    # Of which schedule a bare "train_seconds" is cannot be told where there are two.
    columns[Metric("cifar10", "test", 200, "mean", "seconds")] = numbers(2, 1, 2)
    extra = {"train_seconds": numbers(3, 1, 2), "cifar100_train_seconds_12ep": numbers(4, 1, 2)}
    other = open_table(write_table(tmp_path / "other.h5", "nasbench201", columns, extra=extra))
    with pytest.raises(InputError, match="has train_seconds, cifar100_train_seconds_12ep, cifar10_test_200ep_seconds"):
        SimulatedTraining(other)


def test_an_architecture_without_seconds_is_refused(tmp_path: Path) -> None:
    seconds = numbers(1, 1, 2)
    seconds[0] = np.nan
    column = {Metric("cifar10", "valid", 12): numbers(0, 10, 90)}
    table = open_table(write_table(tmp_path / "t.h5", "nasbench201", column, extra={"train_seconds": seconds}))
    with pytest.warns(CostWarning, match="simulated costs cover training only"):
        simulated = SimulatedTraining(table)
    with pytest.raises(InputError, match="has no seconds of training 0 for 12 epochs on cifar10"):
        simulated(0)
    assert simulated(1) == SimulatedResult(column[Metric("cifar10", "valid", 12)].item(1), None, seconds.item(1))


CSV = """arch_str,cifar10_valid_12ep,cifar10_valid_200ep,imagenet16_valid_12ep,imagenet16_valid_200ep,\
cifar10valid_train_seconds_200ep,cifar10_train_seconds_200ep,imagenet16_train_seconds_200ep
{arch},63.364,81.9827,18.4667,28.2111,1444.2186,2888.4372,8763.5185
"""


def test_a_table_of_200_epoch_seconds_counts_12_epochs_in_proportion(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(CSV.format(arch=ARCH))
    table = open_table(import_csv(tmp_path / "t.csv", tmp_path / "t.h5"))
    with pytest.warns(CostWarning, match="12 epochs are taken to cost 12/200 of 200 epochs") as caught:
        simulated = SimulatedTraining(table, "cifar10", 12)
    assert len(caught) == 1
    assert simulated.note.startswith("the table has no evaluation times")
    assert simulated(ARCH).seconds == pytest.approx(1444.2186 * 12 / 200, rel=1e-12)
    with pytest.warns(CostWarning) as caught:
        longer = SimulatedTraining(table, "ImageNet16-120", 200)
    assert "are taken to cost" not in str(caught[0].message)
    assert longer(ARCH) == SimulatedResult(28.2111, None, 8763.5185)


def test_the_csv_of_all_architectures(test_data: Path, tmp_path: Path) -> None:
    table = open_table(import_csv(test_data / "data" / "nas_bench_201.csv.gz", tmp_path / "t.h5"))
    with pytest.warns(CostWarning):
        simulated = SimulatedTraining(table)
    # An aged-evolution run on NAS-Bench-201 sees about a hundred architectures in 12,000 seconds.
    for arch in range(100):
        simulated(arch)
    assert 5_000 < simulated.total_seconds < 20_000


def test_a_table_of_nasbench101_counts_training_seconds(tmp_path: Path) -> None:
    archs = ["1:", "10.1:conv3x3", "10.1:maxpool3x3"]
    columns: dict[Metric, list[float]] = {}
    for seed, add in (("mean", 0.5), (0, 0.0), (1, 1.0)):
        columns[Metric("cifar10", "valid", 108, seed)] = [80 + add, 90 + add, 85 + add]  # type: ignore[arg-type]
        columns[Metric("cifar10", "train", 108, seed, "seconds")] = [100 + add, 300 + add, 200 + add]  # type: ignore[arg-type]
    table = open_table(write_table(tmp_path / "t.h5", "nasbench101", columns, architectures=archs))
    with pytest.warns(CostWarning, match="simulated costs cover training only"):
        simulated = SimulatedTraining(table, epochs=108)
        drawn = SimulatedTraining(table, epochs=108, seed="random", rng=np.random.default_rng(2))
    cell = {"matrix": [[0, 1, 0], [0, 0, 1], [0, 0, 0]], "ops": ["input", "maxpool3x3", "output"]}
    assert simulated("10.1:conv3x3") == SimulatedResult(90.5, None, 300.5)
    assert simulated(cell) == SimulatedResult(85.5, None, 200.5)
    assert {drawn("1:") for _ in range(40)} == {SimulatedResult(80.0, None, 100.0), SimulatedResult(81.0, None, 101.0)}


def test_the_table_that_comes_along_counts_its_training_seconds() -> None:
    table = prejudge.benchmark("digits")
    with pytest.warns(CostWarning):
        simulated = SimulatedTraining(table, "digits", epochs=7)
    assert simulated(ARCH).seconds == table.extra("train_seconds")[0]
    other = int(np.flatnonzero(table.answering != np.arange(SIZE))[0])
    with pytest.warns(RepresentativeWarning):
        result = simulated(other)
    assert result == simulated(int(table.answering[other]))
    with pytest.warns(CostWarning):
        drawn = SimulatedTraining(table, "digits", epochs=7, seed="random")
    assert len({drawn(ARCH).accuracy for _ in range(60)}) > 1


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """A table with learning curves, whose second row was validated after the last epoch only."""
    valid, valtest, seconds = numbers(0, 10, 90, 12), numbers(1, 10, 90, 12), numbers(2, 1, 2, 12).cumsum(axis=1)
    valid[1, :-1] = np.nan
    curves = {
        Metric("cifar100", "valid", 12): valid,
        Metric("cifar100", "valtest", 12): valtest,
        Metric("cifar100", "train", 12, "mean", "seconds"): seconds,
    }
    columns = {metric: curve[:, -1] for metric, curve in curves.items()}
    columns[Metric("cifar100", "valid", 12, "mean", "seconds")] = numbers(3, 0.1, 0.2)
    path = tmp_path_factory.mktemp("partial") / "t.h5"
    return open_table(write_table(path, "nasbench201", columns, curves=curves))


def test_a_training_can_be_stopped(partial: Table) -> None:
    simulated = SimulatedTraining(partial, "cifar100")
    evaluation = partial.query(0, "cifar100_valid_12ep_seconds")
    for after in (1, 4):
        result = simulated(0, after=after)
        assert result.accuracy == partial.curve(0, "cifar100_valid_12ep")[after - 1]
        assert result.seconds == partial.curve(0, "cifar100_train_12ep_seconds")[after - 1] + evaluation
    assert simulated(0, after=12) == simulated(0)
    assert simulated(1, after=4).accuracy == partial.curve(1, "cifar100_valtest_12ep")[3]
    assert simulated(1).accuracy == partial.query(1, "cifar100_valid_12ep")
    assert simulated.stops == tuple(range(1, 13))


def test_a_training_cannot_be_stopped_where_there_is_no_epoch_or_curve(partial: Table, table: Table) -> None:
    for after in (0, 13):
        with pytest.raises(InputError, match=f"a schedule of 12 epochs cannot stop after {after}"):
            SimulatedTraining(partial, "cifar100")(0, after=after)
    assert SimulatedTraining(table).stops == ()
    with pytest.raises(InputError, match="learning curve"):
        SimulatedTraining(table)(0, after=4)


def test_simulation_is_fast(table: Table) -> None:
    cells = [space("nasbench201")[i] for i in range(20, 1020)]
    for seed in ("mean", "random"):
        simulated = SimulatedTraining(table, seed=seed)  # type: ignore[arg-type]
        for cell in cells:
            simulated(cell)
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            for cell in cells:
                simulated(cell)
            best = min(best, time.perf_counter() - start)
        assert best / len(cells) < 5e-6  # 200,000 a second


def test_simulation_needs_no_torch() -> None:
    modules = "prejudge.benchmarks.simulation, prejudge.benchmarks.importers.nasbench201.importer"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_a_simulation_with_all_seconds_warns_of_nothing(table: Table) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SimulatedTraining(table, seed="random")(0)


def test_a_test_accuracy_costs_the_training_on_all_images(tmp_path: Path) -> None:
    columns = {Metric(d, s, 200): numbers(0, 10, 90) for d, s in (("cifar10", "test"), ("cifar10-valid", "test"))}
    seconds = {
        Metric(d, "train", 200, "mean", "seconds"): numbers(n, 1, 2) for n, d in enumerate(("cifar10", "cifar10-valid"))
    }
    seconds[Metric("cifar10", "test", 200, "mean", "seconds")] = numbers(5, 1, 2)
    table = open_table(write_table(tmp_path / "t.h5", "nasbench201", columns | seconds))
    result = SimulatedTraining(table, "cifar10", 200, split="test")(3)
    expected = table.query(3, "cifar10_train_200ep_seconds") + table.query(3, "cifar10_test_200ep_seconds")
    assert result.seconds == expected
    half = open_table(
        write_table(
            tmp_path / "h.h5", "nasbench201", columns, extra={"cifar10valid_train_seconds_200ep": numbers(1, 1, 2)}
        )
    )
    with pytest.warns(CostWarning, match="as on cifar10valid, which has fewer images"):
        SimulatedTraining(half, "cifar10", 200, split="test")


def test_without_a_curve_of_the_seconds_a_stopped_training_costs_its_share() -> None:
    with pytest.warns(CostWarning, match="its share of the epochs"):
        train = SimulatedTraining(prejudge.benchmark("digits"), "digits", epochs=7)
    assert train.stops == (1, 2, 3, 4, 5, 6, 7)
    arch = train.table.architectures[int(train.table.answering[5])]
    whole, part = train(arch), train(arch, after=3)
    assert part.seconds == pytest.approx(whole.seconds * 3 / 7)
    assert part.accuracy == train.table.curve(arch, "digits_valid_7ep")[2]
