"""A ranking with ties, sorted once: ranks, ties and those of any subset follow by counting."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class TiedRanking:
    """The order of ``n`` values, which themselves are forgotten.

    Attributes:
        codes: Position of each value among ``groups`` ascending ones, shape ``(n,)``, integer; equal values share it.
        groups: Number of positions; some may be empty in a subset.
    """

    codes: np.ndarray
    groups: int

    @classmethod
    def of(cls, values: np.ndarray) -> TiedRanking:
        """The ranking of ``values``, shape ``(n,)``; NaN ranks highest, to be left out by :meth:`among`."""
        distinct, codes = np.unique(values, return_inverse=True)
        return cls(codes.reshape(-1), len(distinct))

    def __len__(self) -> int:
        return len(self.codes)

    def among(self, inside: np.ndarray) -> TiedRanking:
        """The ranking of a subset, without sorting again.

        Args:
            inside: Which values, boolean, shape ``(n,)``.
        """
        return TiedRanking(self.codes[inside], self.groups)

    @cached_property
    def counts(self) -> np.ndarray:
        """Number of values at each position, shape ``(groups,)``."""
        return np.bincount(self.codes, minlength=self.groups)

    @cached_property
    def below(self) -> np.ndarray:
        """Number of values below those of each position, shape ``(groups,)``."""
        result: np.ndarray = np.cumsum(self.counts) - self.counts
        return result

    @property
    def ranks(self) -> np.ndarray:
        """Ranks from 1 to n, tied values sharing their mean rank, float64 ``(n,)``."""
        result: np.ndarray = (self.below + (self.counts + 1) / 2)[self.codes]
        return result

    @property
    def tied(self) -> int:
        """Number of values that are shared with another entry."""
        return int(self.counts[self.counts > 1].sum())

    @property
    def constant(self) -> bool:
        """Whether all values are the same."""
        return int(np.count_nonzero(self.counts)) < 2
