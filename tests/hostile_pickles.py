"""Objects whose pickles run something when they are read carelessly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


class Call:
    """Pickled as a call of a function with given arguments."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class Touch(Call):
    """Pickled as the making of a file."""

    def __init__(self, path: Path) -> None:
        super().__init__(Path.touch, path)
