"""Rank average and majority vote against loops over all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from prejudge.benchmarks.statistics import ensembles


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


def test_any_number_of_opponents_and_numpy_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensembles, "_ROWS", 7)
    for n in (1, 2, 63, 64, 65, 130):
        scores, accuracies = np.random.default_rng(n).integers(0, 9, (2, 3, n)).astype(float)
        signs = np.sign(np.sign(scores[:, :, None] - scores[:, None]).sum(axis=0))
        truth = np.sign(accuracies[0][:, None] - accuracies[0])
        for ones in (ensembles._ones, ensembles._ones_by_table):
            monkeypatch.setattr(ensembles, "_ones", ones)
            np.testing.assert_allclose(ensembles.vote_wins(scores), signs.mean(axis=1), atol=1e-12)
            share = ensembles.vote_pairs(scores, accuracies[0])
            expected = 0.5 + 0.5 * (signs * truth).sum() / max(1, np.count_nonzero(truth))
            assert share == pytest.approx(expected) if truth.any() else np.isnan(share)


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
