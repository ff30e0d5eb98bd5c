"""The one rule of accuracies: tables hold per cent, and what might be fractions says so."""

from __future__ import annotations

import numpy as np

from prejudge.errors import InputError


def to_per_cent(values: np.ndarray, what: str, fractions: bool | None = None) -> np.ndarray:
    """Accuracies in per cent, NaN where there is none.

    Args:
        values: One column, of any shape.
        what: Its name, for messages.
        fractions: True: these are fractions, which are multiplied by 100. False: they are per cent. None: they are per
            cent, but a column of which none is above 1 is refused, since it nearly always holds fractions.

    Raises:
        InputError: A value is outside the range, or a column may be either.
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return values
    low, high = float(known.min()), float(known.max())
    if fractions:
        if low < 0 or high > 1:
            raise InputError(
                f"{what}: fractions are from 0 to 1, these reach from {low:g} to {high:g}; if they are per cent, leave "
                "--fractions (fractions=True) out"
            )
        return np.asarray(values * 100)
    if low < 0 or high > 100:
        raise InputError(f"{what}: accuracies must be per cent, from 0 to 100; these reach from {low:g} to {high:g}")
    if fractions is None and high <= 1:
        raise InputError(
            f"{what}: accuracies must be per cent; the highest of these is {high:g}: multiply fractions by 100, or say "
            "--fractions (fractions=True); if it is per cent, say --percent (fractions=False)"
        )
    return values
