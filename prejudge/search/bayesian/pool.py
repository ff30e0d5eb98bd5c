"""The pool that a ranking selects from: fixed, or growing with every selection as HNAS's on NAS-Bench-201 does."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from prejudge.errors import InputError


class Draws(Protocol):
    """What a growing pool draws with: NumPy's ``Generator``, or its older ``RandomState`` as the original."""

    def choice(self, a: int, size: int) -> np.ndarray: ...


class FixedPool:
    """Candidates that are there from the beginning; each can be selected once.

    Args:
        rows: The candidates' rows, without repetition, shape ``(n,)``.
    """

    def __init__(self, rows: np.ndarray) -> None:
        self._open = np.asarray(rows, dtype=np.intp)
        self._taken: list[int] = []

    def offer(self) -> np.ndarray:
        """Rows for the next selection, in the order of their arrival; of equals the first is selected."""
        return self._open

    def take(self, row: int) -> None:
        """``row`` has been selected, and never will be again."""
        self._open = self._open[self._open != row]
        self._taken.append(row)

    @property
    def remaining(self) -> np.ndarray:
        """Rows that can be selected, as they were at the last selection; nothing grows by asking."""
        return self._open

    @property
    def members(self) -> np.ndarray:
        """All rows that ever were in the pool, selected ones included."""
        return np.concatenate([np.array(self._taken, dtype=np.intp), self._open])


class GrowingPool(FixedPool):
    """Every selection first draws more candidates, with replacement: repeated ones change nothing.

    The original draws 2,000 of 15,625 before each of its 20 selections; the pool then has nearly all of them at the
    end, but the first selections see a small part.

    Args:
        candidates: How many candidates there are.
        draws: Candidates drawn before each selection.
        rng: Draws them.
    """

    def __init__(self, candidates: int, draws: int, rng: Draws) -> None:
        if draws < 1:
            raise InputError(f"a growing pool draws at least one candidate for every selection, not {draws}")
        super().__init__(np.empty(0, dtype=np.intp))
        self._seen = np.zeros(candidates, dtype=bool)
        self._draws = draws
        self._rng = rng

    def offer(self) -> np.ndarray:
        drawn = self._rng.choice(len(self._seen), self._draws)
        drawn = drawn[~self._seen[drawn]]
        _, first = np.unique(drawn, return_index=True)
        arrived = drawn[np.sort(first)]
        self._seen[arrived] = True
        self._open = np.concatenate([self._open, arrived])
        return self._open
