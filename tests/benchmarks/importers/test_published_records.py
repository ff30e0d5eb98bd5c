"""Real records in NATS-Bench's published format give the values that nats_bench 1.8 answers, all of them and no others.

The records are architectures 0 and 11 of both spaces (NATS-Bench, MIT); a folder with so few files is taken in parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prejudge import cli
from prejudge.benchmarks import Metric, SimulatedTraining, Table, import_table, open_table
from prejudge.errors import FileFormatError, MissingDataError
from prejudge.spaces import space

FOLDERS = {"tss": "NATS-tss-v1_0-3ffb9-simple", "sss": "NATS-sss-v1_0-50262-simple"}
SCHEDULES = {"tss": (12, 200), "sss": (1, 12, 90)}
CURVES = {"tss": (12,), "sss": ()}
READ = (0, 11)
SPLITS = ("train", "valid", "test", "valtest")
MEAN = 1e-12
Answer = tuple[int, str, int, Any, int | None, dict[str, Any]]


@pytest.fixture(scope="module", params=FOLDERS)
def made(
    request: pytest.FixtureRequest, test_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Table]:
    name, out = request.param, tmp_path_factory.mktemp("published") / "t.h5"
    source = test_data / "data" / "nats" / FOLDERS[name]
    return name, open_table(import_table("nats-bench", source, out, curves=CURVES[name], partial=True))


def of_package(name: str, folder: Path) -> Iterator[Answer]:
    nats_bench = pytest.importorskip("nats_bench")
    api = nats_bench.create(str(folder), name, fast_mode=True, verbose=False)
    for index in READ:
        for epochs in SCHEDULES[name]:
            hp = f"{epochs:02d}"
            for dataset in api.query_by_index(index, hp=hp).get_dataset_names():
                for seed in ("mean", *api.query_by_index(index, hp=hp).get_dataset_seeds(dataset)):
                    info = api.get_more_info(index, dataset, hp=hp, is_random=False if seed == "mean" else seed)
                    yield index, dataset, epochs, seed, None, info


def of_golden(name: str, golden: Path) -> Iterator[Answer]:
    known = json.loads((golden / "tables" / "nats" / f"official_answers_{name}.json").read_text())
    for index, answers in known["archs"].items():
        for hp in map("{:02d}".format, SCHEDULES[name]):
            for dataset, asked in answers[hp].items():
                questions = asked.get("get_more_info", {}) if isinstance(asked, dict) else {}
                for question, answer in questions.items():
                    iepoch, seed = re.fullmatch(r"iepoch=(\w+),is_random=(\w+?)(?:,hp_as_int)?", question).groups()  # type: ignore[union-attr]
                    if "returns" not in answer or (iepoch != "None" and int(hp) not in CURVES[name]):
                        continue
                    yield (
                        int(index), dataset, int(hp), "mean" if seed == "False" else int(seed),
                        None if iepoch == "None" else int(iepoch), answer["returns"],
                    )  # fmt: skip


def compare(table: Table, answers: Iterator[Answer], *, sums: float) -> tuple[int, set[tuple[int, Metric]]]:
    """The number of values that were compared, and which values of the last epoch they were.

    ``sums`` is the tolerance of seconds that are added up, which Python does more exactly since 3.12.
    """
    count, last = 0, set()
    for index, dataset, epochs, seed, iepoch, info in answers:
        for split in SPLITS:
            for quantity, key in (
                ("accuracy", f"{split}-accuracy"),
                ("loss", f"{split}-loss"),
                ("seconds", "train-all-time" if split == "train" else f"{split}-per-time"),
            ):
                metric = Metric(dataset.lower(), split, epochs, seed, quantity)
                if info.get(key) is None or (iepoch is not None and quantity == "seconds" and split != "train"):
                    continue
                ours = table.query(index, metric) if iepoch is None else table.curve(index, metric)[iepoch]
                exact = seed != "mean" and (quantity != "seconds" or (iepoch is None and split == "train"))
                tolerance = MEAN if not exact else sums if quantity == "seconds" else 0
                assert ours == pytest.approx(info[key], rel=tolerance, abs=0), (index, metric, iepoch)
                count += 1
                if iepoch is None:
                    last.add((index, metric))
    return count, last


def test_a_part_of_a_space_is_nan_elsewhere(made: tuple[str, Table]) -> None:
    name, table = made
    assert (table.space, table.index.size) == {"tss": ("nasbench201", 15625), "sss": ("nats-size", 32768)}[name]
    for epochs in SCHEDULES[name]:
        assert np.flatnonzero(np.isfinite(table.column(f"cifar10_test_{epochs}ep"))).tolist() == list(READ)


def test_every_value_is_nats_benchs(made: tuple[str, Table], test_data: Path) -> None:
    name, table = made
    count, last = compare(table, of_package(name, test_data / "data" / "nats" / FOLDERS[name]), sums=0)
    assert (count, len(last)) == {"tss": (486, 486), "sss": (624, 624)}[name]
    alias = {m for m in table.metrics() if m.dataset == "cifar10" and m.split == "valid"}
    ours = {
        (row, metric)
        for metric in set(table.metrics()) - alias
        for row in np.flatnonzero(~np.isnan(table.column(metric))).tolist()
    }
    assert ours == last


def test_every_value_is_that_of_the_golden_answers(made: tuple[str, Table], golden: Path) -> None:
    name, table = made
    count, last = compare(table, of_golden(name, golden), sums=MEAN)
    assert (count, len(last)) == {"tss": (1044, 486), "sss": (780, 624)}[name]
    known = json.loads((golden / "tables" / "nats" / f"official_answers_{name}.json").read_text())
    where = space(table.space)
    for index, answers in known["archs"].items():
        arch = where.parse(answers["arch"])
        assert where.index(arch) == answers["query_index_by_arch"] == int(index)
        for hp in map("{:02d}".format, SCHEDULES[name]):
            for dataset, asked in answers[hp].items():
                if "get_cost_info" not in asked:
                    continue
                costs, key = asked["get_cost_info"]["returns"], dataset.lower()
                for extra, ours in (
                    ("params", table.extra("params", dataset=dataset)[int(index)] / 1e6),
                    ("flops", table.extra("flops", dataset=dataset)[int(index)] / 1e6),
                    ("latency", table.extra(f"latency_{int(hp)}ep_{key}")[int(index)]),
                ):
                    assert ours == pytest.approx(costs[extra], rel=MEAN)
                classes = {"cifar100": 100, "imagenet16-120": 120}.get(key, 10)
                size = 16 if classes == 120 else 32
                assert where.params(arch, num_classes=classes) == pytest.approx(costs["params"] * 1e6)
                assert where.flops(arch, size, num_classes=classes) == pytest.approx(costs["flops"] * 1e6)
                assert (
                    str(where.parse(asked["query_by_index"][str(asked["seeds"][0])]["get_config"])) == answers["arch"]
                )


def test_simulated_training_is_simulate_train_eval(made: tuple[str, Table], golden: Path) -> None:
    name, table = made
    known = json.loads((golden / "tables" / "nats" / f"official_answers_{name}.json").read_text())["randomness"]
    asked = {"tss": (("cifar100", 12),), "sss": (("cifar10", 1), ("cifar10", 90), ("ImageNet16-120", 90))}[name]
    for dataset, epochs in asked:  # those of one seed, where nothing is drawn
        seed = {"tss": 111, "sss": 777}[name]
        simulated = SimulatedTraining(table, dataset, epochs=epochs, seed=seed)
        answers = known[f"seed=0,{dataset},hp={epochs:02d}"]["answers"]
        for index, (accuracy, latency, seconds, used) in zip(READ, answers, strict=False):
            found = simulated(index)
            assert (found.accuracy, found.latency) == (accuracy, latency)
            assert (found.seconds, simulated.total_seconds) == pytest.approx((seconds, used))


FIGURES = {  # what nats_bench 1.8 answers to get_more_info(11, …, is_random=False), hp 200 and 90
    "tss": {
        "cifar10_test_200ep": 91.58333333333333,
        "cifar10_train_200ep_loss": 0.016212205750743548,
        "cifar10-valid_valid_200ep": 87.9399999983724,
        "cifar100_test_200ep": 67.6066666422526,
        "cifar100_valtest_200ep_loss": 1.4301374475479125,
        "imagenet16-120_valid_200ep": 30.411111104329425,
        "imagenet16-120_train_200ep_seconds": 15123.952127329534,
        "imagenet16-120_train_200ep_seed888": 33.66249176146093,
    },
    "sss": {
        "cifar10_test_90ep": 85.77,
        "cifar10_train_90ep_loss": 0.30912543159008027,
        "cifar10-valid_valid_90ep": 83.72400000976563,
        "cifar100_test_90ep": 53.67999993286133,
        "cifar100_valtest_90ep_loss": 1.6685783126831055,
        "imagenet16-120_valid_90ep": 25.666666646321616,
        "imagenet16-120_train_90ep_seconds": 1008.2270693778992,
    },
}


def test_figures_of_nats_bench(made: tuple[str, Table]) -> None:
    name, table = made
    for metric, expected in FIGURES[name].items():
        assert table.query(11, metric) == pytest.approx(expected, rel=MEAN), metric


def test_a_folder_with_few_files_is_taken_in_parts_and_says_so(
    test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = test_data / "data" / "nats" / FOLDERS["tss"], tmp_path / "t.h5"
    command = ["bench", "import", "nats-bench", str(source), "--out", str(out)]
    assert cli.run(command) == 2
    assert not out.exists()
    assert re.search(r"lacks 15,623 of 15,625 files .*--partial", capsys.readouterr().err)
    assert cli.run([*command, "--partial"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "note: 2 of 15,625 architectures are in the source; the others are NaN" in said
    assert np.flatnonzero(np.isfinite(open_table(out).column("cifar10_test_12ep"))).tolist() == [0, 11]
    with pytest.raises(MissingDataError, match="--partial"):  # the table of a part is not taken for the whole one
        import_table("nats-bench", source, out)


def test_a_folder_under_the_other_spaces_name_is_refused(test_data: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "NATS-tss-v1_0-simple"
    renamed.symlink_to(test_data / "data" / "nats" / FOLDERS["sss"])
    with pytest.raises(
        FileFormatError, match=r"schedule '01' instead of 12 and 200 epochs.*NATS-sss-… is the size space"
    ):
        import_table("nats-bench", renamed, tmp_path / "t.h5", partial=True)
