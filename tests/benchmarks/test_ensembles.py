"""Rank average and majority vote against loops over all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from prejudge.benchmarks import ensembles


def _scores(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    accuracies = rng.integers(0, n // 2, n).astype(float)
    return np.vstack([np.round(accuracies + rng.normal(size=n) * n / 5) for _ in range(3)]), accuracies


def test_vote_equals_a_loop_over_pairs() -> None:
    scores, accuracies = _scores(40)
    right = pairs = 0.0
    wins = np.zeros(40)
    for i in range(40):
        for j in range(40):
            majority = np.sign(np.sign(scores[:, i] - scores[:, j]).sum())
            wins[i] += majority / 40
            if i < j and accuracies[i] != accuracies[j]:
                pairs += 1
                right += 0.5 + 0.5 * majority * np.sign(accuracies[i] - accuracies[j])
    np.testing.assert_allclose(ensembles.vote_wins(scores), wins, atol=1e-12)
    assert ensembles.vote_pairs(scores, accuracies) == pytest.approx(right / pairs)


def test_sampled_opponents_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, accuracies = _scores(3000, 1)
    wins, pairs = ensembles.vote_wins(scores), ensembles.vote_pairs(scores, accuracies)
    monkeypatch.setattr(ensembles, "EXACT_UP_TO", 1000)
    sampled = ensembles.vote_wins(scores, seed=3)
    assert np.corrcoef(sampled, wins)[0, 1] > 0.999
    np.testing.assert_array_equal(sampled, ensembles.vote_wins(scores, seed=3))
    assert ensembles.vote_pairs(scores, accuracies, seed=3) == pytest.approx(pairs, abs=0.005)


def test_a_missing_score_leaves_the_architecture_out() -> None:
    scores, _ = _scores(30)
    whole_wins, whole_average = ensembles.vote_wins(scores[:, 1:]), ensembles.rank_average(scores[:, 1:])
    scores[1, 0] = np.nan
    for found, whole in ((ensembles.vote_wins(scores), whole_wins), (ensembles.rank_average(scores), whole_average)):
        assert np.isnan(found[0])
        np.testing.assert_array_equal(found[1:], whole)
    assert np.isnan(ensembles.rank_average(np.full((3, 5), np.nan))).all()
    assert np.isnan(ensembles.vote_wins(np.full((3, 5), np.nan))).all()


def test_rank_average_is_free_of_scale() -> None:
    scores, _ = _scores(30)
    np.testing.assert_array_equal(ensembles.rank_average(scores), ensembles.rank_average(np.exp(scores / 3)))


def test_voters() -> None:
    assert ensembles.voters(["snip", "zen", "synflow", "jacob_cov"]) == ["synflow", "jacob_cov", "snip"]
    assert ensembles.voters(["fisher", "snip", "jacob_cov(images=32)"]) == ["jacob_cov(images=32)", "snip", "fisher"]
    assert ensembles.voters(["synflow", "logsynflow", "zen"]) == ["synflow"]
