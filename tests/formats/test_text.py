"""What is read of texts, and what messages say of them."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from prejudge.errors import InputError, MissingDataError, PrejudgeError, quoted, unknown
from prejudge.formats.text import is_file, parse_json, parse_literal, user_path, whole_number


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), (" 17 ", 17), ("٣", 3), ("²", None), ("-1", None), ("1_0", None), ("", None), ("9" * 19, None)],
)
def test_whole_numbers(text: str, number: int | None) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, "{", "", b"\xff", '{"a":' * 100_000])
def test_what_is_no_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


@pytest.mark.parametrize(
    "text", ["(" * 1000, "-" * 100_000, "{[]}", "{[]: 1}", "f()", "1 +", "\0", "9" * 5000, "0x" + "f" * 5000]
)
def test_what_is_no_literal_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_literal(text)


def test_names_of_files_that_no_system_would_take_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    assert is_file(tmp_path / "here")
    assert not any(is_file(name) for name in ("a" * 5000, "a\0b", tmp_path, ""))
    assert user_path("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")
    assert user_path("~/x") == Path.home() / "x"


@pytest.mark.parametrize("kind", [PrejudgeError, InputError, MissingDataError])
def test_a_message_is_one_short_line_whatever_it_quotes(kind: type[PrejudgeError]) -> None:
    assert str(kind("a file is missing; make it")) == "a file is missing; make it"
    assert str(kind("one\ntwo\x1b[2J\udc80")) == "one two\\x1b[2J\\udc80"
    long = str(kind(f"cannot read {'x' * 10**6}; write NAME=VALUE"))
    assert len(long) <= 500 and long.startswith("cannot read xxx") and long.endswith("; write NAME=VALUE")
    assert str(pickle.loads(pickle.dumps(kind("the same\nelsewhere")))) == "the same elsewhere"


def test_quotes_are_short() -> None:
    assert quoted("text") == "'text'" and quoted([1, "a"]) == "[1, 'a']"
    assert len(quoted("x" * 10**6)) == 80
    assert quoted(1 << 100_000) == "a int too large to show"


def test_an_unknown_name_of_a_megabyte_is_said_at_once() -> None:
    assert "known: conv" in str(unknown("operation", "x" * 10**6, ["conv"]))
    assert str(unknown("operation", "y", [f"name{n}" for n in range(1000)])).endswith("more)")
