"""Reading the caches that tests fill."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from prejudge import ScoreCache


def frame(file: Path) -> pd.DataFrame:
    """The scores of a cache, in the order of the architectures."""
    with ScoreCache(file, "r") as cache:
        return cache.frame().sort_index()
