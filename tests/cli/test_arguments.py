"""What the words of the command line mean."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from cyclopts import Token

from prejudge import cli
from prejudge.cli.arguments import check_values, pairs, split_list
from prejudge.errors import InputError


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("synflow,naswot", ["synflow", "naswot"]),
        (" synflow , ", ["synflow"]),
        ("zen(images=32, scale=0.1),plain", ["zen(images=32, scale=0.1)", "plain"]),
        ("./mine.py:score(a=[1,2],b={1:2}),x", ["./mine.py:score(a=[1,2],b={1:2})", "x"]),
        ("", []),
    ],
)
def test_commas_inside_brackets_do_not_split(text: str, items: list[str]) -> None:
    assert split_list(text) == items


def test_pairs_read_numbers_truth_and_text() -> None:
    found = pairs(["channels=8,stem=False", "form=zero-cost-nas", "in-channels=1"])
    assert found == {"channels": 8, "stem": False, "form": "zero-cost-nas", "in_channels": 1}


@pytest.mark.parametrize("text", ["channels", "channels=", "=8"])
def test_malformed_pairs_are_named(text: str) -> None:
    with pytest.raises(InputError, match="NAME=VALUE"):
        pairs([text])


def test_values_that_nest_deeply_are_texts() -> None:
    deep = "-" * 100_000 + "1"
    assert pairs([f"x={deep}"]) == {"x": deep}


def test_long_lists_are_split_in_linear_time() -> None:
    assert split_list("x" * 10**6 + ",y") == ["x" * 10**6, "y"]


def _commands(app: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name in app:
        if not name.startswith("-"):
            yield from _commands(app[name], (*words, name))
    if app.default_command is not None:
        yield words, app


def test_every_option_that_is_a_number_takes_numbers_alone() -> None:
    tried = 0
    for words, app in _commands(cli.build_app()):
        for argument in app.assemble_argument_collection():
            kinds = {argument.hint, *get_args(argument.hint)}
            if not {int, float} & kinds or str in kinds:
                continue
            fractions = ["2.6", "2.0", "1e3", "0x10", "True", "٣", ""] if int in kinds else []
            for text in ("nan", "inf", "-Infinity", *fractions):
                tried += 1
                argument.tokens[:] = [Token(keyword=argument.name, value=text)]
                with pytest.raises(InputError, match=rf"^{argument.name} must be a(n integer| finite number), not "):
                    check_values(app, words, [argument])
            argument.tokens[:] = [Token(keyword=argument.name, value="-12" if int in kinds else "1e-3")]
            check_values(app, words, [argument])
    assert tried > 500


@pytest.mark.parametrize("text", ["2.5", ".nan", "true"])
def test_a_recipe_gives_integers_where_they_are_meant(tmp_path: Path, text: str) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"title: t\nsearch:\n  method: random\n  benchmark: digits\n  queries: {text}\n")
    with pytest.raises(InputError, match=r"^--queries must be an integer, not"):
        cli.parse(["search", "--recipe", str(recipe)])
