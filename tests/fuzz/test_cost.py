"""No reader needs more time or memory than the stated multiple of its input; ``make fuzz`` searches all, and longer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz import cost, test_binaries, test_texts
from tests.fuzz.harness import INPUTS, TARGETS, Target

NAMES = sorted({*test_binaries.TARGETS, *test_texts.TARGETS})


RISKY = ["csv", "genotype", "pickle-scores", "recipe", "scores-json", "torch-foreign"]


@pytest.mark.parametrize("name", NAMES if INPUTS > 300 else RISKY)
def test_no_input_costs_more_than_its_size_allows(name: str) -> None:
    """Known bombs first, then what a search makes of them."""
    target = TARGETS[name]
    bombs = len(target.seeds()) + len(cost.bombs())
    found = cost.search(target, max(bombs, INPUTS // 3 // target.one_in))
    assert not found.excessive, str(found)


def _quadratic(data: bytes) -> object:
    return [data.count(b"x", 0, n) for n in range(0, min(len(data), 30_000), 3)]


def _hungry(data: bytes) -> object:
    return [bytes(40_000) for _ in data[:20_000]]


@pytest.mark.parametrize(("read", "kind"), [(_quadratic, "slowest"), (_hungry, "largest")])
def test_the_search_sees_what_costs_too_much(read: object, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost.CostReport, "save", lambda self: None)
    monkeypatch.setattr(cost, "SECONDS_ANYWAY", 0.01)
    monkeypatch.setattr(cost, "MICROSECONDS_PER_BYTE", 0.5)
    target = Target(f"dear-{kind}", read, lambda: [b"x" * 10], [b"x"])  # type: ignore[arg-type]
    found = cost.search(target, 200)
    assert getattr(found, kind).excessive, str(found)


def _pickle_of_equal_hashes(n: int) -> bytes:
    return b"\x80\x04}(" + b"".join(cost.pickled_integer(k * (2**61 - 1)) + b"K\x01" for k in range(1, n)) + b"u."


def _pairs_of_equal_hashes(n: int) -> bytes:
    pairs = b"".join(cost.pickled_integer(k * (2**61 - 1)) + b"K\x01\x86" for k in range(1, n))
    return b"\x80\x02}(U\x04archU\x01xU\x0blogmeasuresccollections\nOrderedDict\n](" + pairs + b"e\x85Ruu."


def _one_text_encoded_often(n: int) -> bytes:
    text = b"X" + (10 * n).to_bytes(4, "little") + b"a" * (10 * n)
    made = b"c_codecs\nencode\n" + text + b"U\x06latin1\x86Rq\x01"
    return b"\x80\x02}(U\x04archU\x01xU\x0blogmeasures}(U\x01a](" + made + b"h\x01" * n + b"euu" + b"u."


def _long_tuple_as_key(n: int) -> bytes:
    key = b"(" + b"N" * n + b"tq\x01"
    return b"\x80\x02" + key + b"0}(" + b"h\x01K\x01" * n + b"u."


def _tuples_of_one_hash(n: int) -> bytes:
    def key(k: int) -> bytes:
        return (
            b"(" + b"".join(b"J" + (-1 - (k >> bit & 1)).to_bytes(4, "little", signed=True) for bit in range(16)) + b"t"
        )

    return b"\x80\x02}(" + b"".join(key(k) + b"K\x01" for k in range(min(n, 65_536))) + b"u."


def _journal_of_turns(n: int) -> bytes:
    return b"\na3a6bf43 {}\n" * n


def _heaps_in_heaps(n: int) -> bytes:
    heap = b"".join(
        b"GCOL\x01\0\0\0" + (32 * (n - k)).to_bytes(8, "little") + (1).to_bytes(8, "little") + (8).to_bytes(8, "little")
        for k in range(n)
    )
    return b"\x89HDF\r\n\x1a\n" + bytes(8) + heap


def _deep_yaml(n: int) -> bytes:
    return b"[" * min(n, 30_000)


BOMBS = [
    ("pickle-scores", _pickle_of_equal_hashes, 2_000),
    ("pickle-scores", _pairs_of_equal_hashes, 2_000),
    ("pickle-scores", _one_text_encoded_often, 2_000),
    ("pickle-scores", _long_tuple_as_key, 4_000),
    ("pickle-scores", _tuples_of_one_hash, 4_000),
    ("score-journal", _journal_of_turns, 4_000),
    ("hdf5-scores", _heaps_in_heaps, 2_000),
    ("recipe", _deep_yaml, 4_000),
]


@pytest.mark.parametrize(("name", "make", "n"), BOMBS, ids=[make.__name__.strip("_") for _, make, _ in BOMBS])
def test_twice_the_input_costs_at_most_about_twice_as_much(
    name: str, make: Callable[[int], bytes], n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target = TARGETS[name]
    cost.measure(target, target.seeds()[0])  # imports
    small, large = (min(cost.measure(target, make(size)).seconds for _ in range(3)) for size in (n, 4 * n))
    assert large < 8 * small + 0.05, f"{small:.3f} s, four times the input: {large:.3f} s"
