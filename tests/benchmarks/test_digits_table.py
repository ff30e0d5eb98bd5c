"""The table that comes with prejudge: what it holds, how far it can be trusted, and that it can be made again."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import spearmanr

import prejudge
from prejudge.benchmarks import Metric, RepresentativeWarning, Table
from prejudge.benchmarks.table.library import shipped_folder
from prejudge.benchmarks.training.table_recipe import DIGITS_RECIPE, TableRecipe
from prejudge.benchmarks.training.trainer import Trainer, TrainingJob
from prejudge.data.splits import load_splits

SPACE = prejudge.space("nasbench201")
EPOCHS = DIGITS_RECIPE.training.epochs
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def table() -> Table:
    return prejudge.benchmark("digits")


def trained(table: Table, split: str, seed: int | str = "mean") -> np.ndarray:
    """Accuracies of the 6,466 representatives, shape ``(6466,)``."""
    column = table.column(Metric("digits", split, EPOCHS, seed))  # type: ignore[arg-type]
    return column[[SPACE.index(a) for a in SPACE.unique()]]


def test_it_is_small() -> None:
    assert (shipped_folder() / "nasbench201-digits.h5").stat().st_size <= 2 * 2**20


def test_it_has_every_class_and_seed(table: Table) -> None:
    wanted = {Metric("digits", split, EPOCHS, s) for split in ("valid", "test") for s in (*SEEDS, "mean")}  # type: ignore[arg-type]
    assert set(table.metrics()) == wanted
    assert table.per_class and table.space == "nasbench201"
    for metric in wanted:
        assert int(np.isfinite(table.column(metric)).sum()) == 6466
        assert np.isfinite(trained(table, metric.split, metric.seed)).all()
    assert set(table.index.curves) == {m for m in wanted if m.split == "valid"}
    assert table.index.units["accuracy"] == "per cent"


def test_values_are_shares_of_the_images(table: Table) -> None:
    for split, images in (("valid", 397), ("test", 3 * 400)):
        hits = np.array([trained(table, split, s) for s in SEEDS]) * images / 100
        assert np.allclose(hits, hits.round(), atol=1e-6)
        assert np.allclose(trained(table, split), hits.mean(axis=0) * 100 / images)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_the_ranking_is_real(table: Table, split: str) -> None:
    runs = np.array([trained(table, split, s) for s in SEEDS])
    connected = np.array([SPACE.connected(a) for a in SPACE.unique()])

    def agreement(chosen: np.ndarray) -> float:
        return float(np.mean([spearmanr(runs[i, chosen], runs[j, chosen])[0] for i, j in combinations(range(3), 2)]))

    # Halves chosen by one seed and compared by the other two: choosing by their mean would favor agreement.
    halves = []
    for k in range(3):
        i, j = (s for s in range(3) if s != k)
        top = connected & (runs[k] >= np.median(runs[k][connected]))
        halves.append(spearmanr(runs[i, top], runs[j, top])[0])
    assert agreement(np.ones(6466, dtype=bool)) >= 0.8
    assert agreement(connected) >= 0.8
    assert np.mean(halves) >= 0.5


def test_accuracies_spread(table: Table) -> None:
    low, middle, high = np.percentile(trained(table, "test"), [5, 50, 95])
    assert high - low > 30 and low < middle - 5 and middle + 5 < high < 95


def test_curves_end_at_the_accuracy_and_rise(table: Table) -> None:
    rows = [SPACE.index(a) for a in SPACE.unique()[::50]]
    curves = np.array([table.curve(SPACE[i], Metric("digits", "valid", EPOCHS)) for i in rows])
    assert curves.shape == (len(rows), EPOCHS)
    assert np.array_equal(curves[:, -1], table.column(Metric("digits", "valid", EPOCHS))[rows])
    assert curves[:, -1].mean() > curves[:, 0].mean() + 5


def test_another_member_of_a_class_is_answered_for(table: Table) -> None:
    member = next(a for a in SPACE if SPACE.representative(a) != a)
    with pytest.warns(RepresentativeWarning, match="representative"):
        value = prejudge.benchmark("digits").query(member, Metric("digits", "test", EPOCHS))
    assert value == table.query(SPACE.representative(member), Metric("digits", "test", EPOCHS))
    assert table.answers_for(member) == SPACE.representative(member)


def test_params_and_flops_are_those_of_the_small_network(table: Table) -> None:
    macro = dict(DIGITS_RECIPE.completed(SPACE, load_splits("digits").train).macro)
    for arch in SPACE.unique()[::500]:
        index = SPACE.index(arch)
        assert table.extra("params")[index] == SPACE.params(arch, **macro)
        assert table.extra("flops")[index] == SPACE.flops(arch, image_size=8, **macro)
        assert table.extra("train_seconds")[index] > 0


def test_the_file_says_how_it_was_made(table: Table) -> None:
    said = table.info()["provenance"]
    data = load_splits("digits")
    assert TableRecipe.from_dict(json.loads(said["recipe"])) == DIGITS_RECIPE.completed(SPACE, data.train)
    used = data.with_train_images(400)
    assert json.loads(said["digests"]) == {s: getattr(used, s).digest for s in ("train", "valid", "test")}
    assert said["failed trainings"] == "0" and said["seeds"] == ", ".join(map(str, SEEDS))


def test_training_again_gives_nearly_the_same(table: Table) -> None:
    """To the last digit on the machine that made it; elsewhere rounding differs and grows during training."""
    data = load_splits("digits")
    trainer = Trainer(SPACE, data.with_train_images(400), DIGITS_RECIPE.completed(SPACE, data.train))
    ranked = np.argsort(trained(table, "test", 0))
    archs = [SPACE.unique()[i] for i in ranked[[500, 2000, 4000, 5500, 6400]]]
    again = [trainer(TrainingJob(str(a), 0))["test"] for a in archs]
    before = [table.query(a, Metric("digits", "test", EPOCHS, 0)) for a in archs]
    assert np.allclose(again, before, atol=8)
