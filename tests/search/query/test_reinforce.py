"""REINFORCE, against torch's autograd and Adam."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from prejudge import search
from prejudge.errors import InputError
from prejudge.search import Budget
from prejudge.search.query.reinforce import Policy
from prejudge.spaces import space
from tests.search.toy_objectives import Anywhere, Convolutions, rng_of

S = space("nasbench201")


class Oracle:
    """The published algorithm with torch: categorical distributions, log probabilities, autograd, Adam."""

    def __init__(self, logits: np.ndarray, learning_rate: float, momentum: float) -> None:
        self.logits = [torch.tensor(row[np.isfinite(row)], requires_grad=True) for row in logits]
        self.adam = torch.optim.Adam(self.logits, lr=learning_rate)
        self.momentum = momentum
        self.numerator = self.denominator = 0.0

    def learn(self, decisions: np.ndarray, reward: float) -> None:
        self.numerator = self.momentum * self.numerator + (1 - self.momentum) * reward
        self.denominator = self.momentum * self.denominator + (1 - self.momentum)
        chosen = zip(self.logits, decisions.tolist(), strict=True)
        logp = torch.stack([torch.distributions.Categorical(logits=row).log_prob(torch.tensor(d)) for row, d in chosen])
        loss = (-logp * (reward - self.numerator / self.denominator)).sum()
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()


@pytest.mark.parametrize("choices", [(5,) * 6, (1, 7, 7, 3), (2, 2, 3)])
def test_learning_is_torchs(choices: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    policy = Policy(choices, 0.01, rng)
    oracle = Oracle(policy.logits, 0.01, 0.9)
    average = weight = 0.0
    for _ in range(100):
        decisions = policy.draw(rng)
        reward = 60 + 30 * rng.random()
        average, weight = 0.9 * average + 0.1 * reward, 0.9 * weight + 0.1
        policy.learn(decisions, reward - average / weight)
        oracle.learn(decisions, reward)
    for row, expected, count in zip(policy.logits, oracle.logits, choices, strict=True):
        np.testing.assert_allclose(row[:count], expected.detach().numpy(), atol=1e-7)
        assert np.isneginf(row[count:]).all()


def test_a_whole_run_is_torchs() -> None:
    """The trajectory again: draws from the oracle's probabilities with the run's own random numbers."""
    run = search.run("reinforce(learning_rate=0.1)", Convolutions(), Budget(queries=80), seeds=[4]).trajectories[0]
    rng = rng_of(4)
    oracle = Oracle(1e-3 * rng.standard_normal((6, 5)), 0.1, 0.9)
    for text, value in zip(run.architectures, run.values.tolist(), strict=True):
        decisions = []
        for row, uniform in zip(oracle.logits, rng.random(6).tolist(), strict=True):
            below = torch.softmax(row, 0).cumsum(0) < uniform
            decisions.append(int(below.sum()))
        assert str(S.decode(decisions)) == text
        oracle.learn(np.array(decisions), value)


def test_draws_follow_the_probabilities() -> None:
    rng = np.random.default_rng(0)
    policy = Policy((3, 2, 1), 0.1, rng)
    policy.logits[:2, :2] = [[0.0, math.log(2.0)], [0.0, math.log(9.0)]]
    policy.logits[0, 2] = math.log(3.0)
    np.testing.assert_allclose(policy.probabilities()[:2], [[1 / 6, 1 / 3, 1 / 2], [0.1, 0.9, 0.0]])
    assert policy.most_likely() == [2, 1, 0]
    drawn = np.array([policy.draw(rng) for _ in range(6000)])
    assert (drawn[:, 2] == 0).all()
    np.testing.assert_allclose(np.bincount(drawn[:, 0]) / 6000, [1 / 6, 1 / 3, 1 / 2], atol=0.03)
    np.testing.assert_allclose(np.bincount(drawn[:, 1]) / 6000, [0.1, 0.9], atol=0.02)


def test_a_sure_policy_stays_within_its_options() -> None:
    policy = Policy((2, 5), 0.1, np.random.default_rng(0))
    policy.logits[0] = [-800.0, 800.0, -np.inf, -np.inf, -np.inf]
    always_one = type("", (), {"random": lambda self, shape: np.full(shape, np.nextafter(1.0, 0.0))})()
    assert policy.draw(always_one)[0] == 1
    policy.learn(np.array([1, 4]), 5.0)
    assert not np.isnan(policy.logits).any()


def test_the_answer_may_be_the_policys() -> None:
    run = search.run(
        "reinforce(recommend='policy', learning_rate=0.1)", Convolutions(), Budget(queries=300)
    ).trajectories[0]
    assert run.recommendation.count("nor_conv_3x3") >= 4
    seen = search.run("reinforce(learning_rate=0.1)", Convolutions(), Budget(queries=300)).trajectories[0]
    assert seen.architectures == run.architectures
    assert seen.recommendation == seen.architectures[int(np.argmax(seen.values))]


def test_failures_become_less_likely() -> None:
    run = search.run("reinforce(learning_rate=0.1)", Convolutions(fail=True), Budget(queries=400)).trajectories[0]
    failed = np.isnan(run.values)
    assert failed[:50].mean() > 0.05
    assert failed[-100:].mean() < 0.02


def test_decisions_that_make_nothing_are_drawn_again() -> None:
    run = search.run("reinforce", Anywhere("nasbench101"), Budget(queries=50)).trajectories[0]
    assert len(run.values) == 50
    stuck = search.run("reinforce", Never("nasbench101"), Budget(queries=20)).trajectories[0]
    assert len(set(stuck.architectures)) > 10


class Never(Anywhere):
    """A space whose decisions hardly ever make an architecture."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        real = self.space

        class Mute(type(real)):  # type: ignore[misc]
            def decode(self, decisions: Any) -> None:
                return None

        self.space = Mute()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("reinforce(recommend='last')", "unknown recommendation of reinforce 'last'"),
        ("reinforce(learning_rate=0)", "learning_rate must be positive"),
        ("reinforce(momentum=1.0)", r"momentum in \[0, 1\)"),
    ],
)
def test_options_that_make_no_sense(method: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        search.run(method, Convolutions(), Budget(queries=5))
