"""A small fabricated score cache over NAS-Bench-201, and the values that a search is to find."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import prejudge
from prejudge.cache import Protocol, ScoreCache
from prejudge.spaces import EnumerableSpace

MACRO = {"cells": 1, "channels": 16, "form": "official", "in_channels": 1, "num_classes": 10, "stages": 3}
PROTOCOL = Protocol(space="nasbench201", macro=tuple(MACRO.items()), data="digits")


@pytest.fixture(scope="session")
def space() -> EnumerableSpace:
    found = prejudge.space("nasbench201")
    assert isinstance(found, EnumerableSpace)
    return found


@pytest.fixture(scope="session")
def fabricate(tmp_path_factory: pytest.TempPathFactory, space: EnumerableSpace) -> Callable[..., Path]:
    """Makes a cache of the first ``count`` representatives; ``scores(i) -> {column: value}``."""

    def make(count: int, scores: Callable[[int], dict[str, float]]) -> Path:
        path = tmp_path_factory.mktemp("cache") / "scores.h5"
        with ScoreCache(path) as cache:
            for i, arch in enumerate(space.unique()[:count]):
                cache.put(PROTOCOL, arch, scores(i))
        return path

    return make


def metric_of(i: int) -> float:
    """Spread like the real metrics: most between 10 and 100, some a thousand times as large, some failed."""
    rng = np.random.default_rng(i)
    if i % 97 == 0:
        return 1e4 + i
    return float("nan") if i % 53 == 0 else float(np.exp(rng.normal(3.5, 0.6)))


def condition_of(i: int) -> float:
    return float("nan") if i % 71 == 0 else float(np.exp(np.random.default_rng(i + 10**6).normal(5, 1)))


def value_of(i: int) -> float:
    """Best near a metric of 45 and a small condition number; the outliers and failed ones would be best of all."""
    m, k = metric_of(i), condition_of(i)
    if not (np.isfinite(m) and np.isfinite(k)) or m > 1e3:
        return 99.0
    return float(90 - 8 * np.log(m / 45) ** 2 - np.log(k))


@pytest.fixture(scope="session")
def cache_path(fabricate: Callable[..., Path]) -> Path:
    return fabricate(400, lambda i: {"ntk_trace": metric_of(i), "ntk_condition": condition_of(i)})


@pytest.fixture(scope="session")
def values(space: EnumerableSpace) -> dict[str, float]:
    return {str(arch): value_of(i) for i, arch in enumerate(space.unique()[:400])}
