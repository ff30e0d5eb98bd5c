"""REINFORCE: a policy of independent choices that learns from the accuracy of what it draws. Without torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from prejudge.errors import InputError, unknown
from prejudge.search.protocol import Questions, SearchContext
from prejudge.search.registry import search_method
from prejudge.spaces.base import Architecture, Space

RECOMMENDED = ("best", "policy")
_TRIES = 100
"""Draws without a valid architecture after which the space draws one: a policy may come to draw none."""


@search_method(
    "reinforce", reference="Williams, Machine Learning 1992; set as Dong & Yang, ICLR 2020 (arXiv:2001.00326)"
)
def reinforce(
    search: SearchContext, learning_rate: float = 0.01, momentum: float = 0.9, recommend: str = "best"
) -> Questions:
    """Draw an architecture from a policy, and make it more likely by how much its value exceeds the recent average.

    The average takes in the newest value before it is compared, as in the original. Decisions that make no valid
    architecture are drawn again. An architecture that failed (NaN) teaches as if it had the worst value so far, and
    does not enter the average.

    Args:
        search: The context.
        learning_rate: Adam's.
        momentum: Of the moving average of values.
        recommend: ``"best"``, the best architecture seen; or ``"policy"``, the one that the policy holds most likely in
            the end, as the first version of the benchmark's script took.

    Raises:
        InputError: An option is out of range.
    """
    if recommend not in RECOMMENDED:
        raise unknown("recommendation of reinforce", recommend, RECOMMENDED)
    if not learning_rate > 0 or not 0 <= momentum < 1:
        raise InputError(
            f"reinforce: learning_rate must be positive and momentum in [0, 1), not {learning_rate}, {momentum}"
        )
    policy = Policy(search.space.choices, learning_rate, search.rng)
    average = weight = 0.0
    worst = math.inf
    while True:
        decisions, arch = _valid_draw(search.space, policy, search.rng)
        value = yield arch
        if value == value:
            worst = min(worst, value)
            average = momentum * average + (1 - momentum) * value
            weight = momentum * weight + (1 - momentum)
            policy.learn(decisions, value - average / weight)
        elif weight:
            policy.learn(decisions, worst - average / weight)
        if recommend == "policy":
            search.recommendation = search.space.decode(policy.most_likely())


def _valid_draw(space: Space[Any], policy: Policy, rng: np.random.Generator) -> tuple[np.ndarray, Architecture]:
    for _ in range(_TRIES):
        decisions = policy.draw(rng)
        arch = space.decode(decisions.tolist())
        if arch is not None:
            return decisions, arch
    arch = space.sample(rng)
    return np.array(space.encode(arch)), arch


class Policy:
    """Independent categorical distributions, one for each decision, that follow the policy gradient with Adam.

    Args:
        choices: Number of options of each decision.
        learning_rate: Adam's; betas 0.9 and 0.999, epsilon 1e-8.
        rng: Draws the first logits, normal with deviation 1e-3.

    Attributes:
        logits: Shape ``(decisions, most options)``, float64; ``-inf`` where a decision has fewer options.
    """

    def __init__(self, choices: tuple[int, ...], learning_rate: float, rng: np.random.Generator) -> None:
        self._last = np.array(choices) - 1
        options = np.arange(max(choices))
        self.logits = np.where(
            options <= self._last[:, None], 1e-3 * rng.standard_normal((len(choices), len(options))), -np.inf
        )
        self._learning_rate = learning_rate
        self._mean = np.zeros_like(self.logits)
        self._square = np.zeros_like(self.logits)
        self._steps = 0
        self._rows = np.arange(len(choices))

    def probabilities(self) -> np.ndarray:
        """Of each option, in the shape of :attr:`logits`."""
        likelihood = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        result: np.ndarray = likelihood / likelihood.sum(axis=1, keepdims=True)
        return result

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One option of each decision, shape ``(decisions,)``."""
        below = self.probabilities().cumsum(axis=1) < rng.random((len(self._rows), 1))
        result: np.ndarray = np.minimum(
            below.sum(axis=1), self._last
        )  # the sum of all probabilities may round to less than 1
        return result

    def most_likely(self) -> list[int]:
        """The likeliest option of each decision."""
        found: list[int] = self.logits.argmax(axis=1).tolist()
        return found

    def learn(self, decisions: np.ndarray, advantage: float) -> None:
        """One step down the gradient of ``-advantage * sum of log probabilities of the decisions``."""
        gradient = self.probabilities()
        gradient[self._rows, decisions] -= 1.0
        gradient *= advantage
        self._steps += 1
        self._mean += 0.1 * (gradient - self._mean)
        self._square += 0.001 * (gradient**2 - self._square)
        mean = self._mean / (1 - 0.9**self._steps)
        square = self._square / (1 - 0.999**self._steps)
        self.logits -= self._learning_rate * mean / (np.sqrt(square) + 1e-8)
