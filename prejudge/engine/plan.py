"""Plans: the plain values on which everything in a resumable file depends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prejudge.errors import InputError

_NAMED = 3  # so many differences between two plans are spelt out
_SHOWN = 60  # characters of a long value, from a little before the place where it differs
_ABSENT = object()


def plain_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan as JSON gives it back: its tuples are lists, its keys are texts.

    Raises:
        InputError: JSON cannot write it.
    """
    try:
        return dict(json.loads(json.dumps(plan, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise InputError(f"the plan of a run must be plain JSON values: {error}") from None


def check_plan(path: Path, there: Mapping[str, Any], here: Mapping[str, Any], remedy: str) -> None:
    """Refuse a file that was begun with another plan.

    Args:
        path: The file.
        there: Its plan.
        here: The plan that it should have.
        remedy: What can be done about a difference.

    Raises:
        InputError: The plans differ; the message names the first fields that do, with both values.
    """
    different = list(_differences(there, here))
    if different:
        more = f" and {len(different) - _NAMED} more" if len(different) > _NAMED else ""
        raise InputError(f"{path} belongs to another run: {'; '.join(different[:_NAMED])}{more}; {remedy}")


def _differences(there: Any, here: Any, name: str = "") -> Iterator[str]:
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in [*there, *(key for key in here if key not in there)]:
            inner = f"{name}.{key}" if name else str(key)
            yield from _differences(there.get(key, _ABSENT), here.get(key, _ABSENT), inner)
    elif there != here or isinstance(there, bool) != isinstance(here, bool):
        texts = ["not said" if v is _ABSENT else json.dumps(v, ensure_ascii=False) for v in (there, here)]
        common = next((i for i, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), 0)
        start = max(0, common - _SHOWN // 2) if max(map(len, texts)) > _SHOWN else 0
        shown_there, shown_here = (_excerpt(text, start) for text in texts)
        yield f"{name} is {shown_there} there and {shown_here} here"


def _excerpt(text: str, start: int) -> str:
    return f"{'…' if start else ''}{text[start : start + _SHOWN]}{'…' if len(text) > start + _SHOWN else ''}"
