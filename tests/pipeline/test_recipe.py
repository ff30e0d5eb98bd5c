"""Recipes fill in what the command line leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cyclopts import App

from prejudge import cli
from prejudge.errors import FileFormatError, InputError, MissingDataError
from prejudge.pipeline import recipe
from prejudge.pipeline.chain import placeholders, read_chain
from prejudge.pipeline.published_figures import read_figures


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "table2.yaml"
    path.write_text(
        "title: a table\nscore:\n  space: nasbench201\n  data: digits\n  batch-size: 32\n  augment: true\n"
        "  macro: [stages=2, stem=true]\n  out: scores.h5\n"
    )
    return path


def parse(words: list[str]) -> dict[str, Any]:
    app: App = cli.build_app()
    _, bound, _ = app.parse_args(words, print_error=False, exit_on_error=False)
    return bound.arguments


def test_a_recipe_fills_in_what_is_left_out(file: Path) -> None:
    found = parse(["score", "--recipe", str(file)])
    assert found["space"] == "nasbench201"
    assert found["batch_size"] == 32
    assert found["augment"] is True
    assert found["network"].macro == ["stages=2", "stem=true"]
    assert found["out"] == Path("scores.h5")


def test_the_command_line_wins(file: Path) -> None:
    found = parse(["score", "--recipe", str(file), "--batch-size", "16", "--data", "npz:mine.npz"])
    assert found["batch_size"] == 16
    assert found["images"].data == "npz:mine.npz"
    assert found["out"] == Path("scores.h5")


def test_an_unknown_argument_of_a_recipe_is_named(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(file.read_text() + "  batchsize: 3\n")
    assert cli.run(["score", "--recipe", str(file)]) == 2
    err = capsys.readouterr().err
    assert "batchsize" in err
    assert err.count("\n") == 1


def test_a_recipe_without_the_command_says_what_it_has(file: Path) -> None:
    with pytest.raises(InputError, match=r"nothing for `prejudge report` \(it has: score\)"):
        parse(["report", "--recipe", str(file)])


@pytest.mark.parametrize("content", ["- a\n- b\n", "just text", "a: [", ""])
def test_a_file_that_is_no_recipe_is_said_so(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(FileFormatError, match=r"bad\.yaml"):
        recipe.read(str(path))


def test_missing_and_unknown_recipes() -> None:
    with pytest.raises(MissingDataError, match=r"gone\.yaml"):
        recipe.read("gone.yaml")
    with pytest.raises(InputError, match="unknown recipe 'gone'"):
        recipe.read("gone")


def test_a_recipe_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text("score: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(FileFormatError):
        recipe.read(str(path))


@pytest.mark.parametrize("name", sorted(recipe.shipped()))
def test_every_shipped_recipe_can_be_parsed(name: str) -> None:
    content = recipe.read(name)
    assert content["title"]
    sections = {
        key: value for key, value in content.items() if key.split()[0] in cli.COMMANDS and isinstance(value, dict)
    }
    assert sections
    for section, arguments in sections.items():
        if "(" not in section and not any(found for value in arguments.values() for found in placeholders(value)):
            out = ["--out", "here"] if section == "train" and "out" not in arguments else []
            parse([*section.split(), "--recipe", name, *out])
    if all(value.get("out") or "bench" not in key for key, value in sections.items()):
        chain = read_chain(content)
        for step in chain.steps:
            parse(chain.words(step, Path("out")))


def test_every_published_figure_says_what_it_is_and_where_from() -> None:
    stated = {}
    for name in sorted(recipe.shipped()):
        content = recipe.read(name)
        assert "expected" not in content, name
        stated[name] = figures = read_figures(content.get("published"))
        for figure in figures:
            assert figure.source and (not figure.step or figure.step in content), name
            assert 0 < figure.value < 100 and (figure.spread is None or figure.spread > 0), name
            assert not figure.metric or content[figure.step]["benchmark"] == "nasbench201", name
    without = {n for n, figures in stated.items() if not figures and not n.startswith("digits-")}
    assert without == {"darts-digits", "nb201-digits-table", "stacnas-mnist", "stacnas-fashionmnist"}
    assert [f.value for f in stated["blank-pt-s2-svhn"]] == [2.32]  # what it extends says the rest


def test_a_recipe_extends_a_shipped_one(tmp_path: Path) -> None:
    whole = recipe.read("darts-pt-s2-cifar10")
    changed = recipe.read("blank-pt-s2-svhn")
    assert "extends" not in changed
    assert list(changed) == list(whole)  # so the steps come in the same order
    assert changed["search darts-pt"] == whole["search darts-pt"] | {"data": "svhn", "option": ["supernet=blank"]}
    assert changed["train"] == whole["train"] | {"data": "svhn", "channels": 16, "cells": 8}
    path = tmp_path / "mine.yaml"
    path.write_text("extends: darts-pt-s2-cifar10\ntrain: {device: null}\n")
    assert recipe.read(str(path))["train"] == {k: v for k, v in whole["train"].items() if k != "device"}


@pytest.mark.parametrize("base", ["gone", "[1]", "mine.yaml", "blank-pt-s2-svhn"])
def test_a_recipe_extends_nothing_else(base: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"extends: {base}\n")
    with pytest.raises(FileFormatError, match=r"mine\.yaml extends"):
        recipe.read(str(path))


LAUGHS = "\n".join(["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)])
MERGES = "a0: &a0 {x: 1}" + "".join(f"\na{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 30))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{LAUGHS}\ntrain: {{data: *a29}}", "more than 10,000 values"),
        (MERGES, "more than 10,000 values"),
        ("train: &t\n  data: *t\n", "more than 10,000 values"),
        ("[" * 5000, "nests more than 30 deep"),
        ("a: " + "{a: " * 5000, "nests more than 30 deep"),
        ("train:\n  data: x\ntrain:\n  data: y\n", "'train' is there twice"),
        ("train:\n  epochs: 0x" + "f" * 9000, "too large a number"),
        ("train:\n  epochs: " + "9" * 5000, "too large a number"),
        ('a: "\\U00110000"', "not in range"),
        ("a: !!int x", "invalid literal"),
        ("a: !!binary aGk=", "could not determine a constructor"),
        ("a: !!set {x}", "could not determine a constructor"),
        ("a: !!python/name:os.system ''", "could not determine a constructor"),
        ("a: x" + "x" * 40_000, "longer than 32 KiB"),
    ],
)
def test_what_makes_more_of_a_file_than_it_is_or_other_than_plain_values(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(FileFormatError, match=message) as error:
        recipe.read(str(path))
    assert len(str(error.value)) <= 500


def test_plain_values_and_their_aliases_are_read(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text("base: &b {data: digits, day: 2026-01-01}\ntrain:\n  <<: *b\n  data: svhn\n  e: [1, .5, yes, ~]\n")
    assert recipe.read(str(path))["train"] == {"data": "svhn", "day": "2026-01-01", "e": [1, 0.5, True, None]}


@pytest.mark.parametrize("out", ["..", "a/..", "", "/", "a\0b", "x" * 5000, "."])
def test_a_result_lies_in_the_folder_of_its_step(out: str) -> None:
    with pytest.raises(InputError, match="must be the name of a file"):
        read_chain({"search": {"out": out}})
