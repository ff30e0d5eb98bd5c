"""NAS-Bench-301's result files into a table of the DARTS space."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prejudge.benchmarks import Metric, open_table
from prejudge.benchmarks.importers import nasbench301
from prejudge.benchmarks.importers.nasbench301 import PROTOCOL, import_nasbench301
from prejudge.errors import FileFormatError, InputError, MissingDataError
from prejudge.spaces import space
from prejudge.spaces.darts.notations import to_config

SPACE = space("darts")
STANDARD = {"layers": 8, "init_channels": 32, "learning_rate": 0.025, "weight_decay": 0.0003}


def genotypes(count: int) -> list[Any]:
    rng, found = np.random.default_rng(0), {}
    while len(found) < count:
        arch = SPACE.sample(rng)
        found[SPACE.canonical(arch)] = arch
    return list(found.values())


GENOTYPES = genotypes(8)


def result(arch: Any, seed: int, *, epochs: int = 100, **protocol: float) -> dict[str, Any]:
    """A result file in the published form."""
    rng = np.random.default_rng([seed, epochs])
    train, valid, test = rng.uniform(85, 95, 3).round(3).tolist()
    return {
        "final_metric_score": -valid,
        "optimized_hyperparamater_config": {
            "ImageAugmentation:cutout": "True",
            "CreateImageDataLoader:batch_size": 96,
            **to_config(arch),
            **{PROTOCOL[key]: value for key, value in (STANDARD | protocol).items()},
        },
        "budget": epochs,
        "info": [
            {
                "train_accuracy": train,
                "train_cross_entropy": 0.5 + seed / 100,
                "val_accuracy": valid,
                "val_cross_entropy": 0.25 + seed / 100,
                "epochs": epochs - 2,
                "model_parameters": 1_000_000 + seed,
            }
        ],
        "test_accuracy": test,
        "runtime": 5000 + seed,
        "learning_curves": {
            "Train/val_accuracy": np.linspace(30, valid, epochs).tolist(),
            "Train/train_accuracy": np.linspace(20, train, epochs).tolist(),
        },
    }


def write(folder: Path, results: dict[str, Any]) -> Path:
    for name, content in results.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight architectures, the first of them trained three times, the second in an equal form; and another file."""
    results = {f"rs/results_{i}.json": result(arch, i) for i, arch in enumerate(GENOTYPES)}
    results["de/results_10.json"] = result(GENOTYPES[0], 10)
    results["de/results_9.json"] = result(GENOTYPES[0], 9)
    results["de/config.json"] = {"not": "a result"}
    return write(tmp_path / "nb301", results)


def test_every_number_equals_the_file(tmp_path: Path, folder: Path) -> None:
    written = import_nasbench301(folder, tmp_path / "t.h5")
    table = open_table(written.path)
    assert (written.already_there, table.space, len(table.architectures)) == (False, "darts", len(GENOTYPES))
    for seed, arch in enumerate(GENOTYPES[1:], start=1):
        content = result(arch, seed)
        info = content["info"][0]
        metrics = {
            "cifar10_train_100ep": info["train_accuracy"],
            "cifar10_valid_100ep": info["val_accuracy"],
            "cifar10_test_100ep": content["test_accuracy"],
            "cifar10_train_100ep_loss": info["train_cross_entropy"],
            "cifar10_valid_100ep_loss": info["val_cross_entropy"],
            "cifar10_train_100ep_seconds": content["runtime"],
        }
        assert {m: table.query(arch, m) for m in metrics} == metrics
        assert table.query(str(arch), "cifar10_test_100ep_seed0") == content["test_accuracy"]
    row = table.architectures.index(GENOTYPES[3])
    assert table.extra("params")[row] == 1_000_003
    assert table.index.provenance["trainings"] == "10"
    assert table.index.provenance["protocol"].startswith("layers 8, init_channels 32, learning_rate 0.025")


def test_several_trainings_are_seeds_in_the_order_of_the_names(tmp_path: Path, folder: Path) -> None:
    table = open_table(import_nasbench301(folder, tmp_path / "t.h5").path)
    tests = [result(GENOTYPES[0], seed)["test_accuracy"] for seed in (9, 10, 0)]  # de/9, de/10, rs/0
    assert [table.query(GENOTYPES[0], Metric("cifar10", "test", 100, s)) for s in (0, 1, 2)] == tests
    assert table.query(GENOTYPES[0], "cifar10_test_100ep") == pytest.approx(sum(tests) / 3, rel=1e-15)
    row = table.architectures.index(GENOTYPES[0])
    assert table.extra("n_seeds")[row] == 3
    assert np.isfinite(table.column("cifar10_test_100ep_seed2")).sum() == 1


def test_single_trainings_have_no_seeds(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", {f"results_{i}.json": result(a, i) for i, a in enumerate(GENOTYPES)})
    assert {m.seed for m in open_table(import_nasbench301(folder, tmp_path / "t.h5").path).metrics()} == {"mean"}


def test_equal_architectures_share_a_row(tmp_path: Path) -> None:
    """Swapping the two inputs of a node is the same cell."""
    arch = GENOTYPES[0]
    swapped = SPACE.parse({**{f: getattr(arch, f) for f in ("normal_concat", "reduce", "reduce_concat")},
                           "normal": [arch.normal[1], arch.normal[0], *arch.normal[2:]]})  # fmt: skip
    folder = write(tmp_path / "f", {"results_0.json": result(arch, 0), "results_1.json": result(swapped, 1)})
    table = open_table(import_nasbench301(folder, tmp_path / "t.h5").path)
    assert len(table.architectures) == 1
    assert table.query(swapped, "cifar10_test_100ep_seed1") == result(swapped, 1)["test_accuracy"]


def test_schedules_have_columns_of_their_own(tmp_path: Path) -> None:
    results = {f"results_{i}.json": result(a, i, epochs=50 + 50 * (i % 2)) for i, a in enumerate(GENOTYPES)}
    table = open_table(import_nasbench301(write(tmp_path / "f", results), tmp_path / "t.h5").path)
    assert {m.epochs for m in table.metrics()} == {50, 100}
    assert np.isfinite(table.column("cifar10_test_50ep")).sum() == 4


def test_protocols_are_never_mixed(tmp_path: Path) -> None:
    results = {f"results_{i}.json": result(a, i, layers=20 if i < 3 else 8) for i, a in enumerate(GENOTYPES)}
    folder = write(tmp_path / "f", results)
    table = open_table(import_nasbench301(folder, tmp_path / "t.h5").path)
    assert len(table.architectures) == 5
    assert table.index.provenance["trainings left out"] == "3 of other protocols"
    large = open_table(import_nasbench301(folder, tmp_path / "u.h5", protocol={"layers": 20}).path)
    assert len(large.architectures) == 3
    assert "layers 20" in large.index.provenance["protocol"]
    with pytest.raises(InputError, match="no result has this protocol"):
        import_nasbench301(folder, tmp_path / "v.h5", protocol={"layers": 9})
    with pytest.raises(InputError, match="unknown entry of the protocol 'layer'; did you mean 'layers'"):
        import_nasbench301(folder, tmp_path / "v.h5", protocol={"layer": 9})


def test_many_protocols_must_be_chosen_from(tmp_path: Path) -> None:
    results = {f"results_{i}.json": result(a, i, weight_decay=i / 1000) for i, a in enumerate(GENOTYPES)}
    folder = write(tmp_path / "f", results)
    with pytest.raises(InputError, match=r"8 results are of 8 protocols, none of which has half.*weight_decay 0.001"):
        import_nasbench301(folder, tmp_path / "t.h5")
    assert len(open_table(import_nasbench301(folder, tmp_path / "t.h5", protocol={"weight_decay": 0.003}).path)
               .architectures) == 1  # fmt: skip


def test_learning_curves_on_request(tmp_path: Path, folder: Path) -> None:
    assert open_table(import_nasbench301(folder, tmp_path / "t.h5").path).index.curves == ()
    table = open_table(import_nasbench301(folder, tmp_path / "t.h5", curves=True).path)
    for split in ("train", "valid"):
        key = {"train": "Train/train_accuracy", "valid": "Train/val_accuracy"}[split]
        metric = Metric("cifar10", split, 100)
        assert table.curve(GENOTYPES[1], metric).tolist() == result(GENOTYPES[1], 1)["learning_curves"][key]
        runs = [result(GENOTYPES[0], seed)["learning_curves"][key] for seed in (0, 9, 10)]
        np.testing.assert_allclose(table.curve(GENOTYPES[0], metric), np.mean(runs, axis=0), rtol=1e-14)


def test_a_zip_file_and_a_single_file(tmp_path: Path, folder: Path) -> None:
    whole = open_table(import_nasbench301(folder, tmp_path / "t.h5").path)
    archive = tmp_path / "nb301.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*.json"), reverse=True):
            file.write(path, Path("nb301") / path.relative_to(folder))
    zipped = open_table(import_nasbench301(archive, tmp_path / "u.h5").path)
    assert zipped.metrics() == whole.metrics()
    for metric in whole.metrics():
        np.testing.assert_array_equal(zipped.column(metric), whole.column(metric))
    one = open_table(import_nasbench301(folder / "rs" / "results_4.json", tmp_path / "v.h5").path)
    assert one.query(GENOTYPES[4], "cifar10_test_100ep") == whole.query(GENOTYPES[4], "cifar10_test_100ep")


def test_the_same_files_are_not_imported_twice(tmp_path: Path, folder: Path) -> None:
    out = tmp_path / "t.h5"
    assert not import_nasbench301(folder, out).already_there
    assert import_nasbench301(folder, out).already_there
    assert not import_nasbench301(folder, out, curves=True).already_there
    assert import_nasbench301(folder, out, curves=True).already_there
    write(folder, {"rs/results_3.json": result(GENOTYPES[3], 33)})
    assert not import_nasbench301(folder, out, curves=True).already_there


def test_progress_is_told(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nasbench301, "_PROGRESS_EVERY", 4)
    told: list[tuple[int, int]] = []
    import_nasbench301(folder, tmp_path / "t.h5", progress=lambda done, total, seconds: told.append((done, total)))
    assert told == [(4, 10), (8, 10), (10, 10)]


def without(*path: Any) -> Callable[[dict[str, Any]], object]:
    def change(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without("optimized_hyperparamater_config"), "it has no 'optimized_hyperparamater_config'"),
        (without("info"), "it has no 'info'"),
        (without("info", 0), "it has no 'info'"),
        (without("info", 0, "val_accuracy"), "its val_accuracy is None, which is not a number"),
        (without("budget"), "its budget is None, not a number of epochs"),
        (lambda c: c.update(test_accuracy="97"), "its test_accuracy is '97', which is not a number"),
        (lambda c: c.update(test_accuracy=197), "its test accuracy is 197, not per cent"),
        (
            without("optimized_hyperparamater_config", "NetworkSelectorDatasetInfo:darts:edge_normal_0"),
            "genotype: the configuration has 1 edges into node 0 of the normal cell",
        ),
    ],
)
def test_a_malformed_result_is_named(
    tmp_path: Path, folder: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    content = result(GENOTYPES[2], 2)
    change(content)
    write(folder, {"rs/results_2.json": content})
    with pytest.raises(FileFormatError) as caught:
        import_nasbench301(folder, tmp_path / "t.h5")
    assert "results_2.json is not a result of NAS-Bench-301: " + reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_that_may_be_missing(tmp_path: Path) -> None:
    contents = [result(arch, i) for i, arch in enumerate(GENOTYPES[:2])]
    del contents[0]["test_accuracy"], contents[0]["runtime"], contents[0]["info"][0]["model_parameters"]
    results = {f"results_{i}.json": content for i, content in enumerate(contents)}
    table = open_table(import_nasbench301(write(tmp_path / "f", results), tmp_path / "t.h5").path)
    with pytest.raises(InputError, match="no cifar10_test_100ep of"):
        table.query(GENOTYPES[0], "cifar10_test_100ep")
    assert table.query(GENOTYPES[0], "cifar10_valid_100ep") == contents[0]["info"][0]["val_accuracy"]


def test_foreign_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no file or folder"):
        import_nasbench301(tmp_path / "missing", tmp_path / "t.h5")
    with pytest.raises(MissingDataError, match=r"has no results\*.json"):
        import_nasbench301(tmp_path, tmp_path / "t.h5")
    for name, content in {"a.pickle": pickle.dumps({"a": 1}), "b.json": b"some text", "c.json": b"[1, 2]"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileFormatError, match=f"{name} is not a result of NAS-Bench-301"):
            import_nasbench301(tmp_path / name, tmp_path / "t.h5")
