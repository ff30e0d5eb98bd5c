"""Learning rates over a training, as the published recipes let them fall."""

from __future__ import annotations

import math

SCHEDULES = {
    "cosine": "half a cosine, set before every step",
    "cosine-epochs": "half a cosine, set before every epoch: DARTS and most of its followers",
    "cosine-power": "half a cosine as an exponent, set before every epoch: an option of StacNAS",
    "linear": "a straight line, set before every epoch, flatter in the last five: ISTA-NAS and HNAS on ImageNet",
    "exponential": "times a constant after every epoch: DARTS on ImageNet",
    "constant": "always the same",
}
"""Every schedule, with what it is. Those of epochs have the papers' order: epoch e (from 0) trains with the rate of e,
so the first with the full rate and the last with a little more than the least. The original scripts, which step the
scheduler before an epoch, did the same under the PyTorch of their time; under PyTorch 1.1 and later they train epoch e
with the rate of e + 1."""

SLOW_EPOCHS = 5
"""Epochs at the end of the linear schedule that have a smaller slope: a steep step would be too large there."""


def cosine(at: int, of: int, highest: float, least: float) -> float:
    """Half a cosine from ``highest`` at 0 to ``least`` at ``of``."""
    falling = 0.5 * (highest - least)
    return least + falling * (1 + math.cos(math.pi * at / of))


def cosine_power(at: int, of: int, highest: float, least: float, power: float) -> float:
    """Half a cosine as the exponent of ``power``, above 1: it stays high for less long than :func:`cosine`.

    With x = (1 + cos(pi at / of)) / 2 it is least + (highest - least) (power^(x + 1) - power) / (power^2 - power).
    """
    x = 0.5 * (1 + math.cos(math.pi * at / of))
    return float(least + (highest - least) * (power ** (x + 1) - power) / (power**2 - power))


def linear(epoch: int, epochs: int, highest: float) -> float:
    """A line that would reach zero :data:`SLOW_EPOCHS` before the end, and from there a flatter one to the end."""
    steep = epochs - SLOW_EPOCHS
    if epoch < steep:
        return highest * (steep - epoch) / steep
    return highest * (epochs - epoch) / (steep * SLOW_EPOCHS)


def exponential(epoch: int, highest: float, decay: float) -> float:
    """``highest`` times ``decay`` for every epoch before."""
    return highest * decay**epoch
