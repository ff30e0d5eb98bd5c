"""A cache's scores as a CSV or Parquet file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from prejudge.cache.protocol import Protocol
from prejudge.errors import InputError, unknown
from prejudge.formats.atomic import write_atomically

if TYPE_CHECKING:
    from prejudge.cache.reader import ScoreReader

FORMATS = ("csv", "parquet")


def export(
    cache: ScoreReader,
    path: Path,
    protocol: Protocol | str | None = None,
    repeat: int | Literal["mean", "std", "count"] = "mean",
    format: str | None = None,
    long: bool = False,
) -> Path:
    """Write the scores of one protocol; see :meth:`ScoreReader.export`."""
    import pandas as pd

    chosen = format or path.suffix.lstrip(".").lower()
    if chosen not in FORMATS:
        raise unknown("export format", chosen, FORMATS)
    if long:
        columns = cache.columns(protocol)
        parts = [cache.scores(protocol, column).assign(proxy=column) for column in columns]
        frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    else:
        frame = cache.frame(protocol, repeat).reset_index()
    if chosen == "csv":
        content = frame.to_csv(index=False, lineterminator="\n").encode()
    else:
        buffer = io.BytesIO()
        try:
            frame.to_parquet(buffer, index=False)
        except ImportError:
            raise InputError("Parquet needs pyarrow: pip install 'prejudge[parquet]', or export to .csv") from None
        content = buffer.getvalue()
    write_atomically(path, content)
    return path
