from __future__ import annotations

import math
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from prejudge.benchmarks import Metric, benchmark_names, open_table
from prejudge.benchmarks.importers.nasbench201.importer import import_nasbench201, plan
from prejudge.benchmarks.importers.nasbench201.trials import MalformedTrial, Trials
from prejudge.benchmarks.table import library
from prejudge.errors import FileFormatError, InputError, MissingDataError
from tests.benchmarks.importers import official_files

WRITERS = {
    "v1_1": official_files.write_pth,
    "nats": official_files.write_pbz2,
    "nats-simple": official_files.write_directory,
}


def content(count: int = 3, version: str = "v1_1", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = official_files.contents(count, version, **more)
    return made


def trial_of(made: dict[str, Any], index: int, dataset: str, seed: int, key: str = "full") -> dict[str, Any]:
    trial: dict[str, Any] = made["arch2infos"][index][key]["all_results"][dataset, seed]
    return trial


@pytest.mark.parametrize("kind", WRITERS)
def test_values_of_every_kind_are_those_that_were_written(kind: str, tmp_path: Path) -> None:
    made = content(version=kind.removesuffix("-simple"))
    source = WRITERS[kind](tmp_path, made)
    result = import_nasbench201(source, tmp_path / "table.h5")
    assert (result.path, result.already_there) == (tmp_path / "table.h5", False)
    table = open_table(result.path)
    assert table.space == "nasbench201"
    full = made["arch2infos"][2]["full" if kind == "v1_1" else "200"]["all_results"]
    trial = full["cifar100", 888]
    arch = made["meta_archs"][2]

    def query(split: str, **more: Any) -> float:
        return table.query(arch, dataset="cifar100", split=split, epochs=200, **more)

    assert query("valid", seed=888) == trial["eval_acc1es"]["x-valid@199"]
    assert query("test", seed=888) == trial["eval_acc1es"]["x-test@199"]
    assert query("valtest", seed=888, quantity="loss") == trial["eval_losses"]["ori-test@199"]
    assert query("train", seed=888, quantity="seconds") == sum(trial["train_times"].values())
    evaluations = [trial["eval_times"][f"x-valid@{e}"] for e in range(200)]
    assert query("valid", seed=888, quantity="seconds") == sum(evaluations) / 200
    three = [full["cifar100", seed]["train_acc1es"][199] for seed in (777, 888, 999)]
    assert query("train") == np.mean(three)
    assert table.extra("n_seeds_200ep_cifar100")[:3].tolist() == [1, 2, 3]
    assert table.extra("latency_200ep_cifar100_seed888")[2] == trial["latency"][0]
    assert table.extra("params", dataset="cifar100")[2] == pytest.approx(trial["params"] * 1e6, rel=1e-12)


def test_rows_that_the_file_does_not_have_are_nan(tmp_path: Path) -> None:
    source = official_files.write_pth(tmp_path, content(4, omit=(1,)))
    table = open_table(import_nasbench201(source, tmp_path / "t.h5", partial=True).path)
    assert table.index.provenance["remark"] == "3 of 15,625 architectures are in the source; the others are NaN"
    column = table.column("cifar10_test_200ep")
    assert column.shape == (15625,)
    assert np.flatnonzero(np.isfinite(column)).tolist() == [0, 2, 3]


def test_validation_of_cifar10_is_one_array_under_two_names(tmp_path: Path) -> None:
    table = open_table(import_nasbench201(official_files.write_pth(tmp_path, content()), tmp_path / "t.h5").path)
    one, other = Metric("cifar10", "valid", 200, 777), Metric("cifar10-valid", "valid", 200, 777)
    assert table.query(0, one) == table.query(0, other)
    assert table.query(0, "cifar10_test_200ep") != table.query(0, "cifar10-valid_test_200ep")
    at = [table.index.metrics.index(m) for m in (one, other)]
    import h5py

    with h5py.File(table.path) as file:
        assert file[f"columns/{at[0]}/values"] == file[f"columns/{at[1]}/values"]


def test_official_names_of_a_dataset_are_understood(tmp_path: Path) -> None:
    table = open_table(import_nasbench201(official_files.write_pth(tmp_path, content()), tmp_path / "t.h5").path)
    ours = table.query(0, dataset="imagenet16-120", split="test", epochs=200)
    assert table.query(0, dataset="ImageNet16-120", split="test", epochs=200) == ours
    assert table.extra("flops", dataset="ImageNet16-120")[0] == table.extra("flops_imagenet16-120")[0]


def test_published_counts_become_whole_numbers(tmp_path: Path) -> None:
    made = content(1)
    for key in ("less", "full"):
        trial = trial_of(made, 0, "cifar10", 777, key)
        trial["params"], trial["flop"] = 1.073466, 153.27297
    table = open_table(import_nasbench201(official_files.write_pth(tmp_path, made), tmp_path / "t.h5").path)
    assert table.extra("params_cifar10")[0] == 1_073_466
    assert table.extra("flops_cifar10")[0] == 153_272_970
    assert table.index.units["params_cifar10"] == "parameters"
    assert table.index.units["latency_12ep_cifar10"] == "seconds per batch of 256 images"


def test_v1_0_has_no_times_of_its_first_trainings(tmp_path: Path) -> None:
    source = official_files.write_pth(tmp_path, content(version="v1_0"), "v1_0")
    table = open_table(import_nasbench201(source, tmp_path / "t.h5").path)
    assert {m.dataset for m in table.metrics() if m.epochs == 12} == {"cifar10", "cifar10-valid"}
    assert not any(m.seed == 777 and m.epochs == 200 and m.quantity == "seconds" for m in table.metrics())
    assert np.isfinite(table.column("cifar10_train_200ep_seed999_seconds")[:3]).tolist() == [False, True, True]
    # A mean over trainings of which one lacks the number is none.
    assert not any(m.seed == "mean" and m.epochs == 200 and m.quantity == "seconds" for m in table.metrics())
    assert np.isfinite(table.column("cifar10_train_200ep")[:3]).all()


def test_provenance_says_what_was_read(tmp_path: Path) -> None:
    source = official_files.write_pth(tmp_path, content())
    provenance = open_table(import_nasbench201(source, tmp_path / "t.h5").path).index.provenance
    assert provenance["source"] == source.name
    assert provenance["version"] == "v1_1"
    assert provenance["architectures"] == "3"
    assert len(provenance["sha256"]) == 64
    assert provenance["left out"] == "nothing"
    assert provenance["learning curves"] == "left out"


@pytest.mark.parametrize("kind", WRITERS)
def test_a_second_import_of_the_same_file_finds_the_table(kind: str, tmp_path: Path) -> None:
    source = WRITERS[kind](tmp_path, content(version=kind.removesuffix("-simple")))
    out = tmp_path / "t.h5"
    import_nasbench201(source, out)
    written = out.stat().st_mtime_ns
    assert import_nasbench201(source, out).already_there
    assert out.stat().st_mtime_ns == written
    assert not import_nasbench201(source, out, curves=(12,)).already_there
    assert import_nasbench201(source, out, curves=(12,)).already_there


def test_another_file_of_the_same_name_and_size_is_read(tmp_path: Path) -> None:
    source = official_files.write_pth(tmp_path, content()).rename(tmp_path / "renamed.pth")
    import_nasbench201(source, tmp_path / "t.h5")
    data = bytearray(source.read_bytes())
    value = b"G" + struct.pack(">d", trial_of(content(), 0, "cifar10", 777)["train_acc1es"][199])
    at = data.index(value)
    data[at : at + 9] = b"G" + struct.pack(">d", 42.0)
    source.write_bytes(data)
    result = import_nasbench201(source, tmp_path / "t.h5")
    assert not result.already_there
    assert open_table(result.path).query(0, "cifar10_train_200ep_seed777") == 42.0


def test_tables_are_named_by_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "user_folder", lambda: tmp_path / "user")
    import_nasbench201(official_files.write_pth(tmp_path, content(1)))
    import_nasbench201(official_files.write_pbz2(tmp_path, content(1, "nats")))
    import_nasbench201(official_files.write_directory(tmp_path, content(1, "nats")), name="mine")
    assert {"nasbench201", "nats-tss", "mine"} <= set(benchmark_names())


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    told: list[tuple[int, int, float]] = []
    source = official_files.write_pth(tmp_path, content(4))
    import_nasbench201(source, tmp_path / "t.h5", progress=lambda *now: told.append(now))
    assert [d for d, _, _ in told] == sorted(d for d, _, _ in told)
    assert told[-1][0] <= told[-1][1] == math.ceil(source.stat().st_size / 1e6)


def test_plan_counts_memory_for_curves(tmp_path: Path) -> None:
    source = official_files.write_pth(tmp_path, content(1))
    none, short, both = (plan(source, curves=c) for c in (False, (12,), True))
    assert none.kind == "nas-bench-201"
    assert none.bytes == source.stat().st_size
    assert (none.curves, short.curves, both.curves) == ((), (12,), (12, 200))
    assert 100e6 < none.memory < short.memory < both.memory
    assert both.memory - none.memory > 15 * (short.memory - none.memory)
    with pytest.raises(InputError, match=r"learning curves of \(12, 200\) epochs, not of 90"):
        plan(source, curves=(90,))


class Result:
    """Looks like the official ``ArchResults`` and ``ResultsCount``."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "all_results" in state:
            self.all_results = {key: Result(trial) for key, trial in state["all_results"].items()}


def loaded(made: dict[str, Any], **more: Any) -> SimpleNamespace:
    archs = {i: {"12": Result(info["less"]), "200": Result(info["full"])} for i, info in made["arch2infos"].items()}
    return SimpleNamespace(meta_archs=made["meta_archs"], arch2infos_dict=archs, **more)


def test_a_loaded_object_is_read_as_its_file(tmp_path: Path) -> None:
    made, told = content(), []
    table = open_table(
        import_nasbench201(loaded(made), tmp_path / "object.h5", progress=lambda *now: told.append(now[:2])).path
    )
    of_file = open_table(import_nasbench201(official_files.write_pth(tmp_path, made), tmp_path / "file.h5").path)
    assert table.metrics() == of_file.metrics()
    for metric in table.metrics():
        np.testing.assert_array_equal(table.column(metric), of_file.column(metric))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert table.index.provenance["source"] == "a loaded SimpleNamespace"


def test_an_object_in_fast_mode_is_read_from_its_directory(tmp_path: Path) -> None:
    directory = official_files.write_directory(tmp_path, content(2, "nats"))
    api = SimpleNamespace(
        meta_archs=["…"], arch2infos_dict={}, fast_mode=True, archive_dir=str(directory), search_space_name="topology"
    )
    table = open_table(import_nasbench201(api, tmp_path / "t.h5").path)
    assert table.index.provenance["source"] == directory.name
    assert np.isfinite(table.column("cifar10_test_200ep")).sum() == 2


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (7, "cannot read NAS-Bench-201 from int; give a published file, or an object of nas_201_api or nats_bench"),
        (
            SimpleNamespace(meta_archs=["8:8:8:8:8"], arch2infos_dict={}, search_space_name="size"),
            "0 of 1 architectures",
        ),
    ],
)
def test_other_objects_are_refused(source: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        import_nasbench201(source, tmp_path / "t.h5")


def test_an_object_with_other_results_is_refused(tmp_path: Path) -> None:
    api = SimpleNamespace(meta_archs=["a"], arch2infos_dict={0: {"12": 3.0}})
    with pytest.raises(FileFormatError, match="results of architecture 0 are not those of ArchResults"):
        import_nasbench201(api, tmp_path / "t.h5")


def refused(made: dict[str, Any], tmp_path: Path, message: str) -> None:
    """The import fails with this message, and the table that was there is untouched."""
    out = tmp_path / "t.h5"
    import_nasbench201(loaded(content(1)), out)
    before = out.read_bytes()
    with pytest.raises(FileFormatError, match=message):
        import_nasbench201(official_files.write_pth(tmp_path, made), out)
    assert out.read_bytes() == before
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".h5", ".pth"]


def test_another_order_is_refused(tmp_path: Path) -> None:
    made = content(3)
    texts = made["meta_archs"]
    texts[1], texts[2] = texts[2], texts[1]
    infos = made["arch2infos"]
    infos[1], infos[2] = infos[2], infos[1]
    official = content(3)["meta_archs"]
    message = f"architecture 1 is {official[2]}, but in the official order it is {official[1]}"
    with pytest.raises(FileFormatError) as error:
        import_nasbench201(official_files.write_pth(tmp_path, made), tmp_path / "t.h5")
    assert message in str(error.value)
    assert not (tmp_path / "t.h5").exists()


def test_a_training_of_another_length_is_refused(tmp_path: Path) -> None:
    made = content(2)
    trial_of(made, 1, "cifar100", 777)["epochs"] = 90
    refused(made, tmp_path, "architecture 1 are damaged: 200 epochs on cifar100, seed 777: it was trained for 90")


def test_a_training_that_is_listed_but_not_there_is_refused(tmp_path: Path) -> None:
    made = content(2)
    made["arch2infos"][1]["full"]["dataset_seed"]["cifar10"] = [777, 888]
    refused(made, tmp_path, r"architecture 1 are damaged: 200 epochs on cifar10, seed 888: it has no \('cifar10'")


def test_a_training_without_its_last_epoch_is_refused(tmp_path: Path) -> None:
    made = content(2)
    del trial_of(made, 1, "cifar10", 777)["train_losses"][199]
    refused(made, tmp_path, "200 epochs on cifar10, seed 777: it has no 199")


@pytest.mark.parametrize(("value", "message"), [(math.inf, "infinite at index 1"), (140.0, "from 0 to 100; these")])
def test_impossible_accuracies_are_refused(value: float, message: str, tmp_path: Path) -> None:
    made = content(2)
    trial_of(made, 1, "cifar10", 777)["eval_acc1es"]["ori-test@199"] = value
    refused(made, tmp_path, message)


def test_a_file_without_results_is_refused(tmp_path: Path) -> None:
    refused(content(0), tmp_path, "holds no results")


def test_a_damaged_file_is_refused_unless_told_not_to_check(tmp_path: Path) -> None:
    source = official_files.write_pth(tmp_path, content(2))
    wrong = source.rename(tmp_path / "NAS-Bench-201-v1_1-000000.pth")
    with pytest.raises(FileFormatError, match="its md5 is"):
        import_nasbench201(wrong, tmp_path / "t.h5")
    assert not (tmp_path / "t.h5").exists()
    assert import_nasbench201(wrong, tmp_path / "t.h5", check_published=False).path.exists()


def test_a_truncated_file_leaves_no_table(tmp_path: Path) -> None:
    source = official_files.write_pth(tmp_path, content(2))
    source.write_bytes(source.read_bytes()[:-2000])
    with pytest.raises(FileFormatError):
        import_nasbench201(source, tmp_path / "t.h5", check_published=False)
    assert not (tmp_path / "t.h5").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"nothing\.pth"):
        import_nasbench201(tmp_path / "nothing.pth", tmp_path / "t.h5")


def test_a_missing_folder_is_named_before_anything_is_read(tmp_path: Path) -> None:
    source = official_files.write_pth(tmp_path, content(1))
    told: list[Any] = []
    with pytest.raises(MissingDataError, match=r"no folder .*nowhere for the table t\.h5"):
        import_nasbench201(source, tmp_path / "nowhere" / "t.h5", progress=lambda *now: told.append(now))
    assert told == []


def test_sets_that_have_no_name_in_tables_are_left_out_and_said(tmp_path: Path) -> None:
    made = content(1)
    trial_of(made, 0, "cifar10", 777)["eval_names"] = ["ori-test", "x-other"]
    made["arch2infos"][0]["full"]["dataset_seed"]["svhn"] = [777]
    table = open_table(import_nasbench201(official_files.write_pth(tmp_path, made), tmp_path / "t.h5").path)
    assert table.index.provenance["left out"] == "cifar10 x-other, svhn"


def sizes(millions: dict[int, float]) -> float:
    """Parameters that a table has where trainings of one network say so."""
    made = content(1, chosen={(200, "cifar10"): tuple(millions)})
    results = made["arch2infos"][0]["full"]
    for seed, value in millions.items():
        results["all_results"]["cifar10", seed]["params"] = value
    trials = Trials(1)
    trials.add(0, {"200": results})
    return float(trials.extras()[0].get("params_cifar10", [math.nan])[0])


def test_of_disagreeing_sizes_that_of_seed_888_counts() -> None:
    assert sizes({777: 0.3, 888: 0.3, 999: 0.3}) == 300_000
    assert sizes({777: 0.5, 888: 0.3, 999: 0.5}) == 300_000
    assert math.isnan(sizes({777: 0.5, 999: 0.3}))


def test_the_mean_is_numpys_over_the_seeds_that_exist() -> None:
    rng = np.random.default_rng(5)
    trials = Trials(4)
    seeds = ((777,), (777, 888), (777, 888, 999), (888,))
    expected = []
    for row, chosen in enumerate(seeds):
        results = content(1, chosen={(12, "cifar10"): chosen})["arch2infos"][0]["less"]
        values = rng.uniform(0, 100, len(chosen)).tolist()
        for seed, value in zip(chosen, values, strict=True):
            results["all_results"]["cifar10", seed]["train_acc1es"][11] = value
        expected.append(np.mean(values))
        trials.add(row, {"12": results})
    assert trials.columns()[Metric("cifar10", "train", 12)].tolist() == expected


def test_results_that_are_none_are_malformed() -> None:
    with pytest.raises(MalformedTrial, match="12 epochs"):
        Trials(1).add(0, {"12": {"dataset_seed": None}})
