"""What the words of the command line mean."""

from __future__ import annotations

import pytest

from prejudge.cli.arguments import pairs, split_list
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
