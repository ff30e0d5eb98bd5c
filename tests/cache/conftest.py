"""Small caches and protocols for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prejudge.cache import Protocol, ScoreCache
from prejudge.data.dataset import ImageDataset
from prejudge.proxies.score import Score


@pytest.fixture
def protocol() -> Protocol:
    return Protocol("nasbench201", {"channels": 16}, data="digits", data_digest="0123")


@pytest.fixture
def other_protocol() -> Protocol:
    return Protocol("nasbench201", {"channels": 8}, data="digits", data_digest="0123")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scores.h5"


@pytest.fixture
def filled(path: Path, protocol: Protocol) -> Path:
    """A closed cache of 30 architectures, two columns, some failures."""
    with ScoreCache(path) as cache:
        cache.declare(protocol, "snip", {"proxy": "snip", "version": 1, "invariant_to_dead_edges": True})
        run = cache.begin_run({"torch": "2"})
        for i in range(30):
            failed = Score.failed("no path", seconds=0.5)
            cache.put(
                protocol,
                f"arch {i}",
                {"snip": failed if i % 10 == 3 else Score(i / 7, seconds=0.25), "params": i},
                run=run,
            )
    return path


@pytest.fixture(scope="session")
def data() -> ImageDataset:
    rng = np.random.default_rng(0)
    labels = np.arange(40, dtype=np.int64) % 10
    images = (rng.integers(0, 128, (40, 8, 8, 1)) + labels[:, None, None, None] * 12).astype(np.uint8)
    return ImageDataset("digit-like", images, labels, 10, (0.4,), (0.2,))
