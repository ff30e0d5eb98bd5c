"""The number of digits of a score that mean anything: its comparison with a twin in float64."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import nn

from prejudge.proxies.network.private_copy import private_copy
from prejudge.proxies.score import Score

LARGEST = 7.0
"""Digits of a float32, at most."""


def float64_twin(network: nn.Module) -> nn.Module:
    """A copy in float64, with the weights of ``network`` to the bit."""
    return private_copy(network).double()


def with_digits(score: Score, twin: Score) -> Score:
    """A score with the number of its digits that its float64 twin confirms.

    That is ``-log10(|score - twin| / |twin|)`` within 0 and 7. A difference of large terms that comes out near zero has
    few, also where its absolute error is small; a score that has no value in float64 has none. A failed score has no
    digits to count.
    """
    if not score.ok:
        return score
    if not twin.ok:
        return replace(score, digits=0.0, remarks=(*score.remarks, f"in float64 it fails: {twin.reason}"))
    return replace(score, digits=agreement(score.value, twin.value))


def agreement(value: float, exact: float) -> float:
    """The decimal digits in which ``value`` agrees with ``exact``, 0 to 7."""
    error = abs(value - exact)
    if error == 0.0:
        return LARGEST
    if exact == 0.0:
        return 0.0
    relative = error / abs(exact)
    return LARGEST if relative == 0.0 else min(max(-math.log10(relative), 0.0), LARGEST)
