"""Plain values as JSON and Python write them; nothing is evaluated."""

from __future__ import annotations

from typing import Any

import pytest

from prejudge.formats.literals import read_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        ("{'a': (1, 2.5, None)}", {"a": (1, 2.5, None)}),
        ("(np.int64(4), np.int8(-1), np.str_('x'))", (4, -1, "x")),
        ("array([[0, 1],\n       [0, 0]], dtype=int8)", [[0, 1], [0, 0]]),
        ("list(range(2, 6))", range(2, 6)),
    ],
)
def test_values_of_json_python_and_numpy(text: str, value: Any) -> None:
    assert read_value(text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("open('x')", "is not a literal"),
        ("array([1], dtype=int, copy=True)", "is not a literal"),
        ("range(10**9)", "is not a literal"),
        ("{[1]: 2}", "a list cannot be a key"),
        ("[x for x in 'ab']", "is not a literal"),
        ("{", "neither JSON nor a Python literal"),
        ("(" + "1," * 600_000 + ")", "at most 1,000,000 are read as Python"),
    ],
)
def test_anything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_value(text)
