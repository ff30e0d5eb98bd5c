"""Selections of architectures."""

from __future__ import annotations

from pathlib import Path

import pytest

import prejudge
from prejudge.errors import InputError, MissingDataError
from prejudge.spaces import select

SPACE = prejudge.space("nasbench201")
TEXT = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"


def test_all_and_unique() -> None:
    assert len(select(SPACE, "all", seed=0)) == 15625
    assert len(select(SPACE, "unique", seed=0)) == 6466


def test_random_is_distinct_and_fixed_by_its_seed() -> None:
    first = select(SPACE, "random:500", seed=3)
    assert len(set(first)) == 500
    assert first == select(SPACE, "random:500", seed=3)
    assert first != select(SPACE, "random:500", seed=4)


def test_a_larger_sample_continues_a_smaller_one_where_it_is_asked_again() -> None:
    assert select(SPACE, "random:50", seed=0) == select(SPACE, "random:100", seed=0)[:50]


def test_a_file_has_one_architecture_a_line(tmp_path: Path) -> None:
    path = tmp_path / "cells.txt"
    path.write_text(f"# my cells\n{TEXT}\n\n42  # the answer\n{TEXT}\n")
    assert select(SPACE, str(path), seed=0) == [SPACE.parse(TEXT), SPACE[42]]


def test_integers_are_selected_with_their_notation(tmp_path: Path) -> None:
    path = tmp_path / "cells.txt"
    path.write_text(f"(4, 3, 3, 0, 0, 0)\n221424  # of NASLib\n{TEXT}\n")
    assert select(SPACE, str(path), notation="naslib") == [SPACE[0], SPACE[11], SPACE.parse(TEXT)]
    assert select(SPACE, "433000", notation="naslib") == [SPACE[0]]
    with pytest.raises(InputError, match=r"line 1: .* notation='naslib'; say which"):
        select(SPACE, str(path))


def test_one_architecture_can_be_given_directly() -> None:
    assert select(SPACE, TEXT, seed=0) == [SPACE.parse(TEXT)]
    assert select(SPACE, "index:7", seed=0) == [SPACE[7]]
    for text in ("index:15625", "index:-1", "index:1.5", "index:"):
        with pytest.raises(InputError, match=r"needs a number from 0 to 15,624 \(nasbench201\)"):
            select(SPACE, text, seed=0)


@pytest.mark.parametrize("name", ["nasbench201", "nasbench101", "nats-size", "darts"])
def test_a_bare_number_is_asked_about(name: str) -> None:
    where = prejudge.space(name)
    with pytest.raises(InputError, match=r"one or many.* random:100 for so many") as error:
        select(where, "100")
    assert ("index:100" in str(error.value)) == (name != "darts")


def test_some_classes() -> None:
    chosen = select(SPACE, "unique:100", seed=0)
    assert len({SPACE.canonical(a) for a in chosen}) == 100
    assert all(SPACE.representative(a) == a for a in chosen)
    assert chosen[:10] == select(SPACE, "unique:10", seed=0)
    with pytest.raises(InputError, match=r"unique:6467 needs a number from 1 to 6466 \(.* that many classes"):
        select(SPACE, "unique:6467", seed=0)


def test_a_space_that_cannot_be_listed() -> None:
    from prejudge.spaces import space

    darts = space("darts")
    chosen = select(darts, "random:20", seed=0)
    assert len({darts.canonical(a) for a in chosen}) == 20
    assert chosen[:5] == select(darts, "random:5", seed=0)
    assert select(darts, "DARTS_V2", seed=0) == [darts.parse("DARTS_V2")]
    for text in ("all", "unique", "unique:3"):
        with pytest.raises(InputError, match="darts cannot all be listed"):
            select(darts, text, seed=0)
    with pytest.raises(InputError, match="needs a number from 1 to"):
        select(darts, "random:0", seed=0)
    drawn = select(darts, "hnas:200", seed=1)
    assert len(set(drawn)) == 200 and "dil_conv_5x5" not in str(drawn) and "dil_conv_3x3" in str(drawn)
    with pytest.raises(InputError, match="HNAS does in the space darts; nasbench201 has random:N"):
        select(space("nasbench201"), "hnas:3")


@pytest.mark.parametrize("text", ["random:0", "random:15626", "random:x", "random:-1", "everything"])
def test_a_wrong_selection_says_what_is_right(text: str) -> None:
    with pytest.raises(InputError, match="random:"):
        select(SPACE, text, seed=0)


def test_a_missing_file_is_said_so() -> None:
    with pytest.raises(MissingDataError, match=r"no/such\.txt"):
        select(SPACE, "no/such.txt", seed=0)


@pytest.mark.parametrize(
    ("content", "match"),
    [(b"|nor_conv_3x3~0|\n", "line 1"), (b"# nothing\n", "no architecture"), (b"\xff\xfe\x00", "not a text file")],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "cells.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=match) as error:
        select(SPACE, str(path), seed=0)
    assert "cells.txt" in str(error.value)


@pytest.mark.parametrize("text", ["random:²", "unique:²", f"random:{'9' * 5000}", "a" * 5000, "²", "a\0b", "9" * 5000])
def test_selections_that_are_none_are_refused_in_one_short_line(text: str) -> None:
    with pytest.raises(InputError) as error:
        select(SPACE, text, seed=0)
    assert len(str(error.value)) <= 500
