"""What an importer answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ImportResult:
    """The table of an import.

    Attributes:
        path: The table file.
        already_there: Whether it was there already, made of the same source, so that nothing was written.
    """

    path: Path
    already_there: bool
