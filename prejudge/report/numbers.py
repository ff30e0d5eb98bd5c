"""Numbers as a reader wants to see them: the same text on the screen, on a page and in a paper."""

from __future__ import annotations

import math

DASH = "–"
"""The sign for a missing number."""


def fixed(value: float, digits: int) -> str:
    """``value`` with a fixed number of decimals, a true minus sign, and none in front of a zero."""
    if not math.isfinite(value):
        return DASH
    text = f"{value:.{digits}f}"
    return text if not text.startswith("-") else ("−" + text[1:] if float(text) else text[1:])


def correlation(value: float) -> str:
    """A correlation, or another number near 1."""
    return fixed(value, 3)


def points(value: float) -> str:
    """An accuracy, or accuracy points."""
    return fixed(value, 2)


def loss(value: float) -> str:
    """A loss."""
    return fixed(value, 4)


def percent(value: float) -> str:
    """A share, in per cent."""
    return fixed(100 * value, 1)


def signed(value: float) -> str:
    """A difference in accuracy, with its sign."""
    text = points(value)
    return text if text == DASH or not float(text.replace("−", "-")) or value < 0 else f"+{text}"


def count(value: float) -> str:
    """A whole number."""
    return f"{round(value):,}" if math.isfinite(value) else DASH


def significant(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}" if math.isfinite(value) else DASH


def p_value(value: float) -> str:
    """A p-value."""
    return DASH if not math.isfinite(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def size(value: float) -> str:
    """A number of weights or operations: whole below 100,000, else in millions with three significant digits."""
    if not math.isfinite(value):
        return DASH
    millions = value / 1e6
    if millions < 0.1:
        return f"{round(value):,}"
    return f"{millions:,.{0 if millions >= 100 else 1 if millions >= 10 else 2}f} M"


def duration(seconds: float) -> str:
    """A duration in the unit that reads best, three significant digits: ``"12.3 ms"``, ``"4.56 s"``, ``"2.1 h"``."""
    if not math.isfinite(seconds):
        return DASH
    if seconds < 1e-3:
        return f"{seconds * 1e6:.3g} µs"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:,.1f} h"


def budget(seconds: float) -> str:
    """Seconds of evaluations, in seconds where there are many: budgets are given in them."""
    return f"{seconds:,.0f} s" if seconds >= 100 else duration(seconds)


def finite(value: float) -> float | None:
    """``value`` to six significant digits for a page's JSON; None where it is NaN or infinite."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
