"""Proxies that vote together: the rank average, and the majority of three as in Abdelfattah et al. (ICLR 2021)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from prejudge.benchmarks.rank_statistics import ranks

VOTERS = ("synflow", "jacob_cov", "snip")
"""The three proxies of the published vote."""

SUBSTITUTES = ("logsynflow", "grad_norm", "fisher", "grasp", "plain", "naswot")
"""Who steps in, in this order, for a voter that was not scored."""

EXACT_UP_TO = 4000
"""Number of architectures up to which every pair is voted on; above it, each against this many drawn at random."""

_CHUNK = 2_000_000


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
    """Ranking by majority vote: how many opponents each architecture beats, minus how many beat it.

    Args:
        scores: Oriented scores, shape ``(P, n)``; NaN where one failed.
        seed: Seed of the draw of opponents above :data:`EXACT_UP_TO` architectures.

    Returns:
        Mean majority over the opponents, -1 to 1, shape ``(n,)``; NaN where any of the proxies has no score.
    """
    whole = ~np.isnan(scores).any(axis=0)
    result = np.full(scores.shape[1], np.nan)
    known = scores[:, whole]
    wins = np.zeros(known.shape[1])
    opponents = _opponents(known.shape[1], seed)
    for rows, majority in _majorities(known, opponents):
        wins[rows] = majority.sum(axis=1, dtype=np.int64) / max(1, len(opponents))
    result[whole] = wins
    return result


def vote_pairs(scores: np.ndarray, accuracies: np.ndarray, *, seed: int = 0) -> float:
    """Share of the pairs of different accuracy that the majority orders rightly; an undecided vote counts half.

    Args:
        scores: Oriented scores, shape ``(P, n)``, without NaN.
        accuracies: Shape ``(n,)``, without NaN.
        seed: Seed of the draw of opponents above :data:`EXACT_UP_TO` architectures.
    """
    opponents = _opponents(len(accuracies), seed)
    order = ranks(accuracies).astype(np.float32)
    agreement = pairs = 0
    for rows, majority in _majorities(scores, opponents):
        truth = _signs(order[rows, None], order[None, opponents])
        agreement += int((majority * truth).sum(dtype=np.int64))
        pairs += int(np.count_nonzero(truth))
    return 0.5 + 0.5 * agreement / pairs if pairs else float("nan")


def _opponents(n: int, seed: int) -> np.ndarray:
    if n <= EXACT_UP_TO:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, EXACT_UP_TO, replace=False))


def _majorities(scores: np.ndarray, opponents: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """The sign of the majority of each row of a chunk against each opponent, int8 ``(rows, opponents)``."""
    order = [ranks(row).astype(np.float32) for row in scores]
    step = max(1, _CHUNK // max(1, len(opponents)))
    for start in range(0, scores.shape[1], step):
        rows = slice(start, start + step)
        total = np.zeros((len(order[0][rows]), len(opponents)), dtype=np.int8)
        for row in order:
            total += _signs(row[rows, None], row[None, opponents])
        yield rows, np.sign(total)


def _signs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one > other).view(np.int8) - (one < other).view(np.int8)
