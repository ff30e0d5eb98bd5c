"""Proxies that vote together: the rank average, and the majority of three as in Abdelfattah et al. (ICLR 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from prejudge.benchmarks.statistics.rank_statistics import ranks

VOTERS = ("synflow", "jacob_cov", "snip")
"""The three proxies of the published vote."""

SUBSTITUTES = ("logsynflow", "grad_norm", "fisher", "grasp", "plain", "naswot")
"""Who steps in, in this order, for a voter that was not scored."""

EXACT_UP_TO = 4000
"""Number of architectures up to which every pair is voted on; above it, each against this many drawn at random."""

_ROWS = 2048
"""Architectures whose votes are counted together: their sets of opponents stay in the processor's cache."""


def voters(columns: Iterable[str]) -> list[str]:
    """The three columns that vote.

    Args:
        columns: Names of the scored columns; options in parentheses are ignored.

    Returns:
        The published three where they were scored, substitutes for the others; fewer where there are no more.
    """
    known: dict[str, str] = {}
    for column in columns:
        known.setdefault(column.partition("(")[0], column)
    chosen = [known[v] for v in VOTERS if v in known]
    for name in SUBSTITUTES:
        if len(chosen) < len(VOTERS) and name in known and not (name == "logsynflow" and "synflow" in known):
            chosen.append(known[name])
    return chosen


def rank_average(scores: np.ndarray) -> np.ndarray:
    """Mean rank over several proxies.

    Args:
        scores: Oriented scores, shape ``(P, n)``; NaN where one failed.

    Returns:
        Shape ``(n,)``; NaN where any of the proxies has no score.
    """
    whole = ~np.isnan(scores).any(axis=0)
    result = np.full(scores.shape[1], np.nan)
    if whole.any():
        result[whole] = np.mean([ranks(row[whole]) for row in scores], axis=0)
    return result


def vote_wins(scores: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Ranking by majority vote: opponents that an architecture beats, less those that beat it.

    Args:
        scores: Oriented scores of the three voters, shape ``(3, n)``; NaN where one failed.
        seed: Seed of the draw of opponents above :data:`EXACT_UP_TO` architectures.

    Returns:
        Mean majority over the opponents, -1 to 1, shape ``(n,)``; NaN where any of the proxies has no score.
    """
    whole = ~np.isnan(scores).any(axis=0)
    result = np.full(scores.shape[1], np.nan)
    known = scores[:, whole]
    wins = np.zeros(known.shape[1])
    opponents = _opponents(known.shape[1], seed)
    ballots = [_Ballot(row, opponents) for row in known]
    for rows in _chunks(known.shape[1]):
        won, lost = _majority(ballots, rows)
        wins[rows] = (_size(won) - _size(lost)) / max(1, len(opponents))
    result[whole] = wins
    return result


def vote_pairs(scores: np.ndarray, accuracies: np.ndarray, *, seed: int = 0) -> float:
    """Share of the pairs of different accuracy that the majority orders rightly; an undecided vote counts half.

    Args:
        scores: Oriented scores of the three voters, shape ``(3, n)``, without NaN.
        accuracies: Shape ``(n,)``, without NaN.
        seed: Seed of the draw of opponents above :data:`EXACT_UP_TO` architectures.
    """
    opponents = _opponents(len(accuracies), seed)
    ballots, truth = [_Ballot(row, opponents) for row in scores], _Ballot(accuracies, opponents)
    agreement = pairs = 0
    for rows in _chunks(len(accuracies)):
        (won, lost), (better, worse) = _majority(ballots, rows), truth.of(rows)
        agreement += int(_size((won & better) | (lost & worse)).sum())
        agreement -= int(_size((won & worse) | (lost & better)).sum())
        pairs += int(_size(better | worse).sum())
    return 0.5 + 0.5 * agreement / pairs if pairs else float("nan")


def _opponents(n: int, seed: int) -> np.ndarray:
    if n <= EXACT_UP_TO:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, EXACT_UP_TO, replace=False))


def _chunks(n: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS) for start in range(0, n, _ROWS))


class _Ballot:
    """The votes of one proxy: for each architecture the set of opponents that it beats, one bit per opponent.

    Args:
        values: What the voter goes by, shape ``(n,)``.
        opponents: Who is compared with, shape ``(m,)``.
    """

    def __init__(self, values: np.ndarray, opponents: np.ndarray) -> None:
        theirs = values[opponents]
        order = np.argsort(theirs, kind="stable")
        bits = np.zeros((len(order) + 1, max(1, (len(order) + 63) // 64)), dtype=np.uint64)
        bits[np.arange(1, len(order) + 1), order // 64] = np.uint64(1) << (order % 64).astype(np.uint64)
        self._lowest = np.bitwise_or.accumulate(bits, axis=0)  # row k: the k opponents with the lowest values
        self._below = np.searchsorted(theirs[order], values, side="left")
        self._up_to = np.searchsorted(theirs[order], values, side="right")

    def of(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """The opponents that each architecture beats, and those that beat it, as bits: uint64 ``(rows, words)``."""
        return self._lowest[self._below[rows]], self._lowest[-1] ^ self._lowest[self._up_to[rows]]


def _majority(ballots: list[_Ballot], rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """The opponents that each architecture beats, and those that beat it, by the sign of the sum of three votes."""
    (beats, beaten), *others = (ballot.of(rows) for ballot in ballots)
    (second, second_by), (third, third_by) = others
    any_for, any_against = beats | second | third, beaten | second_by | third_by
    won = (beats & second) | (third & (beats | second)) | (any_for & ~any_against)
    lost = (beaten & second_by) | (third_by & (beaten | second_by)) | (any_against & ~any_for)
    return won, lost


def _size(sets: np.ndarray) -> np.ndarray:
    """Number of opponents in each set, int64 ``(rows,)``."""
    result: np.ndarray = _ones(sets).sum(axis=1, dtype=np.int64)
    return result


def _ones_by_table(words: np.ndarray) -> np.ndarray:
    return _ONES[np.ascontiguousarray(words).view(np.uint16)]


_ONES = np.array([f"{half:b}".count("1") for half in range(2**16)], dtype=np.uint8)
_ones: Callable[[np.ndarray], np.ndarray] = getattr(np, "bitwise_count", _ones_by_table)
"""Number of bits that are set; NumPy 1 has no function for it."""
