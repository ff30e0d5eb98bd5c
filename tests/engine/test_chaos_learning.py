"""SIGKILL at random moments of trainings, searches in supernets and whole chains: each ends as if it had not been."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from prejudge.engine.journal import read_journal
from tests.engine import chaos_readers as readers
from tests.engine.chaos import ROUNDS, Rows, Torment

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="process groups and /proc of Linux"),
    pytest.mark.timeout(7200),
]

CELL = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|none~0|skip_connect~1|avg_pool_3x3~2|"
TINY = ["--channels", "2", "--cells", "1", "--macro", "stages=1", "--batch-size", "16", "--threads", "1"]
PRUNING = {"repeats": 1, "batch_size": 4, "crops": 20, "crop_batches": 1, "prune_number": 2}
COMMANDS = {
    "train": [
        "train", CELL, "--space", "nasbench201", "--recipe", "nasbench201", "--epochs", "6", "--select", "valid",
        "--keep-every", "2", "--ema-decay", "0.9", *TINY,
    ],
    "darts": ["search", "darts", "--space", "nasbench201", "--epochs", "3", "--seeds", "2", *TINY],
    "darts-pt": [
        "search", "darts-pt", "--space", "nasbench201", "--epochs", "1", "--option", "tune_epochs=1", *TINY,
    ],
    "te-nas": [
        "search", "te-nas", "--space", "nasbench201", "--threads", "1",
        *(f"--setting={name}={value}" for name, value in PRUNING.items()),
    ],
}  # fmt: skip
CHAIN = """
title: a tiny chain
search:
  method: random
  benchmark: digits
  queries: 3
train:
  genotype: "{search}"
  recipe: nasbench201
  data: IMAGES
  channels: 2
  cells: 1
  macro: [stages=1]
  epochs: 4
  batch-size: 16
  threads: 1
test:
  checkpoint: "{train}"
  data: IMAGES
  split: test
report:
  training: ["{train}"]
"""
NAMES = [*COMMANDS, "run"]


def images(folder: Path) -> str:
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 48), ("test", 16)):
        labels = np.arange(count) % 4
        pictures = rng.integers(0, 128, (count, 6, 6, 1)) + 32 * labels[:, None, None, None]
        arrays |= {f"x_{split}": pictures.astype(np.uint8), f"y_{split}": labels}
    np.savez(folder / "images.npz", **arrays)  # type: ignore[arg-type]
    return f"npz:{folder / 'images.npz'}"


def figures(out: Path) -> Rows:
    """What the journals of a pruning search have."""
    rows: Rows = {}
    for journal in out.parent.glob("out.h5.run/te-nas-*.jsonl"):
        found = read_journal(journal)
        assert found is not None
        rows |= {(journal.stem, r["key"]): (*r["record"][:2], r["record"][3]) for r in found.records}
    return rows


def torment(name: str, folder: Path, seed: int) -> Torment:
    data = images(folder)
    if name == "run":
        recipe = folder / "chain.yaml"
        recipe.write_text(CHAIN.replace("IMAGES", data))
        return Torment(
            ["run", str(recipe)], folder, readers.chain_steps, readers.chain_results, name="chain", seed=seed
        )
    words = [*COMMANDS[name], "--data", data]
    if name == "train":
        return Torment(words, folder, readers.learned, readers.trained, name="training", seed=seed)
    if name == "te-nas":
        return Torment(words, folder, figures, readers.searched, seed=seed)
    return Torment(words, folder, readers.supernets, readers.searched, seed=seed)


@pytest.mark.parametrize("name", ["train"])
def test_a_few_kills(name: str, tmp_path: Path, one_thread: None) -> None:
    torment(name, tmp_path, seed=1).rounds(2)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_many_kills(name: str, tmp_path: Path, one_thread: None) -> None:
    tormented = torment(name, tmp_path, seed=2)
    tormented.rounds(ROUNDS)
    print(f"{name}: {ROUNDS} rounds, {tormented}")
    assert tormented.kills >= ROUNDS // 10
