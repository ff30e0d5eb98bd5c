"""Writing a frame of scores as a CSV or Parquet file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from prejudge.errors import InputError, unknown
from prejudge.formats.atomic import write_atomically
from prejudge.formats.escape import csv_text

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("csv", "parquet")


def check_format(path: Path, format: str | None) -> str:
    """The format to write, by default that of the file's ending; raises :class:`InputError` for an unknown one."""
    chosen = format or path.suffix.lstrip(".").lower()
    if chosen not in FORMATS:
        raise unknown("export format", chosen, FORMATS)
    return chosen


def write_frame(frame: pd.DataFrame, path: Path, format: str) -> None:
    """Write a frame without its index; texts of a CSV file that a spreadsheet would compute get a ``'`` in front."""
    if format == "csv":
        content = csv_text(frame).encode()
    else:
        buffer = io.BytesIO()
        try:
            frame.to_parquet(buffer, index=False)
        except ImportError:
            raise InputError("Parquet needs pyarrow: pip install 'prejudge[parquet]', or export to .csv") from None
        content = buffer.getvalue()
    write_atomically(path, content)
