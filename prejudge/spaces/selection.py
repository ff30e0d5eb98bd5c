"""Selections of architectures: all, one of each class, a random sample, or those of a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from prejudge.errors import InputError, MissingDataError, check_integer, quoted
from prejudge.formats.text import is_file, whole_number
from prejudge.spaces.base import A, EnumerableSpace, Space, require_enumerable

_ARCHITECTURE = re.compile(r"[|(\[{:]")
"""A text with one of these is meant to be an architecture, not a file."""

_MOST_DRAWN = 1_000_000


def select(space: Space[A], text: str, *, seed: int = 0, notation: str | None = None) -> list[A]:
    """Select architectures of a space.

    Args:
        space: The space to select from.
        text: ``all``, ``unique`` (one of each class), ``random:N`` (N distinct ones), ``unique:N`` (of N classes),
            ``index:N`` (the one of that index), ``hnas:N`` (N distinct ones, as HNAS draws in ``darts``),
            a file with one architecture a line (text or index; ``#`` starts a comment), one architecture, or names and
            patterns of a space that has names (``resnet*,vit_tiny*`` of ``timm``).
        seed: Of ``random:N``, ``hnas:N`` and ``unique:N``; another seed draws others.
        notation: What integers in an architecture mean, as for the space's ``parse``.

    Returns:
        The architectures, without repetition.

    Raises:
        InputError: The selection, or a line of the file, cannot be read.
        MissingDataError: The file does not exist.
    """
    if text == "all":
        return list(require_enumerable(space))
    if text == "unique":
        return require_enumerable(space).unique()
    seed = check_integer("seed", seed, least=0)
    kind, colon, number = text.partition(":")
    if kind == "random" and colon:
        return _random(space, number, seed)
    if kind == "hnas" and colon:
        draw = getattr(space, "sample_hnas", None)
        if draw is None:
            raise InputError(f"--archs hnas:N draws as HNAS does in the space darts; {space.name} has random:N")
        return _drawn(space, text, seed, draw)
    if kind == "unique" and colon:
        return _some(require_enumerable(space).unique(), text, seed, f"{space.name} has that many classes")
    if kind == "index" and colon:
        return [_of_index(require_enumerable(space), number)]
    if is_file(text):
        return _from_file(space, Path(text), notation)
    matching = space.matching(text)
    if matching is not None:
        return matching
    if notation is None and whole_number(text) is not None:
        raise _ambiguous(space, text.strip())
    try:
        return [space.parse(text, notation=notation)]
    except InputError as error:
        if _ARCHITECTURE.search(text) or text.isdecimal():
            raise
        if Path(text).suffix or len(Path(text).parts) > 1:
            raise MissingDataError(f"no file {text} with architectures, one a line") from None
        raise InputError(
            f"cannot read --archs {quoted(text)}; give all, unique, random:N, unique:N, index:N, a file with one "
            f"architecture a line, or one ({error})"
        ) from None


def _of_index(space: EnumerableSpace[A], text: str) -> A:
    number = whole_number(text)
    if number is None or number >= len(space):
        raise InputError(f"--archs index:{text} needs a number from 0 to {len(space) - 1:,} ({space.name})")
    return space[number]


def _ambiguous(space: Space[A], number: str) -> InputError:
    """What to say of a bare number: one architecture, or so many?"""
    one = f"index:{number} for the one of that index, " if isinstance(space, EnumerableSpace) else ""
    return InputError(f"--archs {number}: one or many? Write {one}random:{number} for so many drawn at random")


def _random(space: Space[A], number: str, seed: int) -> list[A]:
    if isinstance(space, EnumerableSpace):
        return _some(space, f"random:{number}", seed, f"{space.name} has that many")
    return _drawn(space, f"random:{number}", seed, space.sample)


def _drawn(space: Space[A], text: str, seed: int, draw: Callable[[np.random.Generator], A]) -> list[A]:
    """So many distinct architectures, as ``draw`` gives them."""
    count = whole_number(text.partition(":")[2]) or 0
    if not 1 <= count <= _MOST_DRAWN:
        raise InputError(f"--archs {text} needs a number from 1 to {_MOST_DRAWN:,}")
    rng = np.random.default_rng(seed)
    found: dict[str, A] = {}
    while len(found) < count:
        arch = draw(rng)
        found.setdefault(space.canonical(arch), arch)
    return list(found.values())


def _some(among: Sequence[A] | EnumerableSpace[A], text: str, seed: int, why: str) -> list[A]:
    number = text.partition(":")[2]
    count = whole_number(number) or 0
    if not 1 <= count <= len(among):
        raise InputError(f"--archs {text} needs a number from 1 to {len(among)} ({why})")
    # A prefix of one permutation, so that a larger sample continues a smaller one and what was scored is used again.
    return [among[int(i)] for i in np.random.default_rng(seed).permutation(len(among))[:count]]


def _from_file(space: Space[A], path: Path, notation: str | None) -> list[A]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file; give one architecture a line") from None
    found: dict[A, None] = {}
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip().strip('"')
        if text:
            try:
                found[space.parse(text, notation=notation)] = None
            except InputError as error:
                raise InputError(f"{path}, line {number}: {error}") from None
    if not found:
        raise InputError(f"{path} names no architecture; give one a line")
    return list(found)
