"""The commands of the five papers' READMEs, as docs/papers.md has them: all are taken, and all run at a tiny size."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from prejudge import cli
from tests.docs.pages import DOCS

PAGE = (DOCS / "papers.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^### (?P<paper>[^\n]+)\n\n\| README \| prejudge \|\n(?P<rows>(?:\|.*\n)+)", re.MULTILINE)
ROW = re.compile(r"^\| .+? \| `prejudge (?P<command>[^`]+)`[^|]* \|$", re.MULTILINE)
PAPERS = {m["paper"]: [shlex.split(row["command"]) for row in ROW.finditer(m["rows"])] for m in SECTION.finditer(PAGE)}


def test_every_command_of_every_readme_is_taken() -> None:
    counts = {paper: len(commands) for paper, commands in PAPERS.items()}
    assert counts == {"DARTS-PT": 13, "ISTA-NAS": 4, "StacNAS": 5, "HNAS": 12, "TE-NAS": 6}
    assert PAGE.count("\n| README | prejudge |") == len(PAPERS)
    for words in (words for commands in PAPERS.values() for words in commands):
        cli.parse(words)


SMALL = {
    "train": ["--channels", "2", "--cells", "3", "--epochs", "1", "--batch-size", "30", "--schedule", "cosine"],
    "te-nas": [f"--setting={s}" for s in ("repeats=1", "batch_size=4", "crops=20", "crop_batches=1", "prune_number=7")],
    "hnas": ["--queries", "3"],
    "score": ["--batch-size", "8", "--archs", "random:30", "--cells", "1"],
    "darts-pt": ["--option", "tune_epochs=1"],
    "ista-onestage": ["--option", "final_epochs=1"],
}
"""What makes each command, or search, a tiny one."""


def tiny(words: list[str]) -> list[str] | None:
    """A command on the digits in tiny networks; None for one that needs a file of the authors."""
    if words[0] == "test":
        return None
    found = list(words)
    for option, value in (("--data", "npz:tiny.npz"), ("--benchmark", "digits"), ("--dataset", "digits"),
                          ("--epochs", "7"), ("--convention", "te-nas")):  # fmt: skip
        if option in found:
            found[found.index(option) + 1] = value
    for option in ("--archs", "--batch-size", "--queries", "--normalization", "--run-seed", "--batch"):
        if option in found and words[0] in ("score", "search"):
            at = found.index(option)
            del found[at : at + 2]
    if "--benchmark" in found and "hnas" not in found:
        at = found.index("--benchmark")
        del found[at : at + 2]
    name = found[1] if found[0] == "search" else found[0]
    if "--space" not in found and name in ("ista", "ista-onestage", "stacnas"):
        found += ["--space", "darts"]
    if name in ("darts", "blank", "darts-pt", "ista", "ista-onestage", "stacnas"):
        cells = "1" if "nasbench201" in found else "3"
        found += ["--channels", "1", "--cells", cells, "--epochs", "1", "--batch-size", "20"]
    if name in ("darts", "darts-pt", "te-nas") and "darts" in found[2:]:
        found[found.index("darts", 2)] = "darts-s2"  # two operations on an edge instead of seven
    return found + SMALL.get(name, [])


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("paper", PAPERS)
def test_they_all_run_at_a_tiny_size(paper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(40) % 10
    np.savez("tiny.npz", x_train=images, y_train=labels, x_test=images[:20], y_test=labels[:20])
    for words in PAPERS[paper]:
        small = tiny(words)
        if small is not None:
            assert cli.run(small) == 0, " ".join(small)
