"""What the words of the command line mean."""

from __future__ import annotations

from pathlib import Path

import pytest

import prejudge
from prejudge.cli.arguments import architectures, pairs, split_list
from prejudge.errors import InputError, MissingDataError

SPACE = prejudge.space("nasbench201")
TEXT = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"


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


def test_all_and_unique() -> None:
    assert len(architectures(SPACE, "all", seed=0)) == 15625
    assert len(architectures(SPACE, "unique", seed=0)) == 6466


def test_random_is_distinct_and_fixed_by_its_seed() -> None:
    first = architectures(SPACE, "random:500", seed=3)
    assert len(set(first)) == 500
    assert first == architectures(SPACE, "random:500", seed=3)
    assert first != architectures(SPACE, "random:500", seed=4)


def test_a_larger_sample_continues_a_smaller_one_where_it_is_asked_again() -> None:
    assert architectures(SPACE, "random:50", seed=0) == architectures(SPACE, "random:100", seed=0)[:50]


def test_a_file_has_one_architecture_a_line(tmp_path: Path) -> None:
    path = tmp_path / "cells.txt"
    path.write_text(f"# my cells\n{TEXT}\n\n42  # the answer\n{TEXT}\n")
    assert architectures(SPACE, str(path), seed=0) == [SPACE.parse(TEXT), SPACE[42]]


def test_one_architecture_can_be_given_directly() -> None:
    assert architectures(SPACE, TEXT, seed=0) == [SPACE.parse(TEXT)]
    assert architectures(SPACE, "7", seed=0) == [SPACE[7]]


def test_some_classes() -> None:
    chosen = architectures(SPACE, "unique:100", seed=0)
    assert len({SPACE.canonical(a) for a in chosen}) == 100
    assert all(SPACE.representative(a) == a for a in chosen)
    assert chosen[:10] == architectures(SPACE, "unique:10", seed=0)
    with pytest.raises(InputError, match=r"unique:6467 needs a number from 1 to 6466 \(.* that many classes"):
        architectures(SPACE, "unique:6467", seed=0)


def test_a_space_that_cannot_be_listed() -> None:
    from prejudge.spaces import space

    darts = space("darts")
    chosen = architectures(darts, "random:20", seed=0)
    assert len({darts.canonical(a) for a in chosen}) == 20
    assert chosen[:5] == architectures(darts, "random:5", seed=0)
    assert architectures(darts, "DARTS_V2", seed=0) == [darts.parse("DARTS_V2")]
    for text in ("all", "unique", "unique:3"):
        with pytest.raises(InputError, match="darts cannot all be listed"):
            architectures(darts, text, seed=0)
    with pytest.raises(InputError, match="needs a number from 1 to"):
        architectures(darts, "random:0", seed=0)


@pytest.mark.parametrize("text", ["random:0", "random:15626", "random:x", "random:-1", "everything"])
def test_a_wrong_selection_says_what_is_right(text: str) -> None:
    with pytest.raises(InputError, match="random:"):
        architectures(SPACE, text, seed=0)


def test_a_missing_file_is_said_so() -> None:
    with pytest.raises(MissingDataError, match=r"no/such\.txt"):
        architectures(SPACE, "no/such.txt", seed=0)


@pytest.mark.parametrize(
    ("content", "match"),
    [(b"|nor_conv_3x3~0|\n", "line 1"), (b"# nothing\n", "no architecture"), (b"\xff\xfe\x00", "not a text file")],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "cells.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=match) as error:
        architectures(SPACE, str(path), seed=0)
    assert "cells.txt" in str(error.value)


@pytest.mark.parametrize("text", ["random:²", "unique:²", f"random:{'9' * 5000}", "a" * 5000, "²", "a\0b", "9" * 5000])
def test_selections_that_are_none_are_refused_in_one_short_line(text: str) -> None:
    with pytest.raises(InputError) as error:
        architectures(SPACE, text, seed=0)
    assert len(str(error.value)) <= 500


def test_values_that_nest_deeply_are_texts() -> None:
    deep = "-" * 100_000 + "1"
    assert pairs([f"x={deep}"]) == {"x": deep}


def test_long_lists_are_split_in_linear_time() -> None:
    assert split_list("x" * 10**6 + ",y") == ["x" * 10**6, "y"]
