"""Inputs that are nearly right: seeds and generated inputs, broken at random, each by its number alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

ODD = (
    b"\x00", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xef\xbb\xbf", "\u2028".encode(), "\u0663".encode(), "²".encode(),
    b"\n", b"\r\n", b"\t", b" ", b"'", b'"', b"\\", b"`", b"%s", b"{}", b"-", b"-1", b"0", b"1e999", b"nan", b"inf",
    b"Infinity", b"NaN", b"null", b"None", b"true", b"9" * 30, b"9" * 5000, b"0x10", b"1_000", b"../", b"/", b"~",
    b"[", b"]", b"{", b"}", b"(", b")", b",", b":", b"=", b"#", b"*", b"&", b"!", b"|", b"+", b"@",
)  # fmt: skip
"""Pieces that any reader may stumble over."""

_LONGEST = 1 << 20

Generator = Callable[[random.Random], bytes]


def input_at(
    number: int, seeds: Sequence[bytes], tokens: Sequence[bytes] = (), generate: Generator | None = None, seed: int = 0
) -> bytes:
    """The input of this number: first the seeds as they are, then broken ones; the same for the same arguments.

    Args:
        number: From 0.
        seeds: Inputs that are right, or are meant to be tried as they are.
        tokens: Pieces that mean something to the reader.
        generate: Makes an input from random numbers; every second one is then its, half of them as it made them.
        seed: Another one gives other inputs.
    """
    if number < len(seeds):
        return seeds[number]
    rng = random.Random(f"{seed}/{number}")
    if generate is not None and number % 2:
        data = generate(rng)
        if rng.random() < 0.5:
            return data
    else:
        data = rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 9))):
        data = rng.choice(_EDITS)(data, rng, seeds, tokens)
    return data[:_LONGEST]


def _span(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 2, 4, 8, 16, 64, len(data) // 2 + 1)))


def _flip(data: bytes, rng: random.Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    if not data:
        return rng.randbytes(1)
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        place = rng.randrange(len(changed))
        changed[place] = rng.choice((changed[place] ^ 1 << rng.randrange(8), rng.randrange(256), 0, 255))
    return bytes(changed)


def _insert(data: bytes, rng: random.Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + _piece(rng, tokens) + data[place:]


def _replace(data: bytes, rng: random.Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    start, end = _span(data, rng)
    return data[:start] + _piece(rng, tokens) + data[end:]


def _delete(data: bytes, rng: random.Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    start, end = _span(data, rng)
    return data[:start] + data[end:]


def _truncate(data: bytes, rng: random.Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _repeat(data: bytes, rng: random.Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    start, end = _span(data, rng)
    times = rng.choice((2, 2, 3, 10, 100, 5000 if rng.random() < 0.1 else 30))
    times = min(times, _LONGEST // max(1, end - start) + 1)
    return (data[:start] + data[start:end] * times + data[end:])[:_LONGEST]


def _splice(data: bytes, rng: random.Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    other = rng.choice(seeds)
    start, end = _span(other, rng)
    place = rng.randrange(len(data) + 1)
    return rng.choice((data[:place] + other[start:], data[:place] + other[start:end] + data[place:]))


def _swap(data: bytes, rng: random.Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    c = rng.randrange(b, len(data) + 1)
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def _piece(rng: random.Random, tokens: Sequence[bytes]) -> bytes:
    return rng.choice(tokens if tokens and rng.random() < 0.7 else ODD)


_EDITS = (_flip, _insert, _insert, _replace, _replace, _delete, _truncate, _repeat, _splice, _swap)


_OTHERS: tuple[Any, ...] = (
    None, True, -1, 0, 10**6, 10**9, 2**40, 2**63, 2**70, -(2**40), 1.5, 1e300, "", "x", [], [[]], {}, [1], {"x": [1]},
)  # fmt: skip


def with_other_values(record: dict[str, Any], rng: random.Random) -> Any:
    """A plain mapping in which some value, at any depth, is another one or missing; or none is."""
    record = deepcopy(record)
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        holder: Any = record
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.6:
                holder = holder[key]
                continue
            if rng.random() < 0.2:
                del holder[key]
            else:
                holder[key] = deepcopy(rng.choice(_OTHERS))
            break
    return record
