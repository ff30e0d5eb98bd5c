"""Options of the originals' parsers, as docs/old-names.md has them: each row's command is taken, option by option."""

from __future__ import annotations

import re
import shlex

import pytest

from prejudge import cli
from prejudge.cli.arguments import pairs
from prejudge.search.registry import read_method
from prejudge.search.supernet import SupernetContext
from prejudge.spaces import space
from tests.docs.pages import DOCS
from tests.search.one_run import untrained_stages

ROW = re.compile(r"^\| (?P<original>[^|]+) \| `prejudge (?P<command>(?:search|train|score) [^`]+)`", re.MULTILINE)
TABLE = (DOCS / "old-names.md").read_text(encoding="utf-8").partition("Options of the parsers")[2]
ROWS = [(m["original"], m["command"]) for m in ROW.finditer(TABLE)]
NEEDED = ["--data", "digits", "--out", "found.h5"]


def test_the_table_is_read() -> None:
    originals = " ".join(original for original, _ in ROWS)
    assert len(ROWS) >= 25 and all(f"{paper} `--" in originals for paper in ("DARTS-PT", "ISTA-NAS", "HNAS", "TE-NAS"))
    wanted = "proj_dims sparseness arch_weight_decay train_portion arch_learning_rate epsilon_alpha ckpt_interval"
    wanted += " proj_crit_normal proj_crit_reduce proj_crit_edge cutout_prob alpha_learning_rate alpha_weight_decay"
    wanted += " alpha_share acq precision"
    assert [name for name in wanted.split() if f"--{name}" not in originals] == []


@pytest.mark.parametrize(("original", "command"), ROWS, ids=[original for original, _ in ROWS])
def test_every_option_has_its_equivalent(original: str, command: str) -> None:
    words = shlex.split(command)
    also = ["--genotype", "DARTS_V2"] if words[0] == "train" else []
    if words[:2] == ["search", "hnas"]:
        also = ["--space", "darts"]
    _, bound, _ = cli.build_app().parse_args([*words, *also, *NEEDED], print_error=False, exit_on_error=False)
    if words[0] != "search":
        return
    given = bound.arguments
    chosen, options = read_method(words[1], pairs([*(given.get("option") or []), *(given.get("setting") or [])]))
    if chosen.context is SupernetContext and given.get("resume") is None:
        where = "darts" if chosen.name == "stacnas" else "darts-s2"
        training = given["training"].given() if "training" in given else {}
        stages = untrained_stages(
            words[1], space(where), options=options, macro={"channels": 1, "cells": 3}, training=training
        )
        assert next(iter(stages)).learner is not None
