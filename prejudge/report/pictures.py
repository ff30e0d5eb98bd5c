"""Writing of pictures, and the colors of operations in all of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from prejudge.errors import InputError, visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("svg", "png", "pdf")

_COLORS = {
    "skip": "#6b7280",
    "max": "#15803d",
    "avg": "#15803d",
    "sep": "#1d4ed8",
    "dil": "#7e22ce",
    "conv": "#b91c1c",
    "nor": "#b91c1c",
    "none": "#9ca3af",
}
"""Color of an operation, by the first syllable of its name."""


def color_of(operation: str) -> str:
    """The color of an operation."""
    return next((c for syllable, c in _COLORS.items() if operation.startswith(syllable)), "#6b7280")


def picture_format(path: Path) -> str:
    """The format that the ending of a file chooses.

    Raises:
        InputError: It is none of :data:`FORMATS`.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise InputError(f"{path} should end in .{', .'.join(FORMATS)}")
    return kind


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure; the same figure gives the same file.

    Returns:
        The path written.

    Raises:
        InputError: The ending names no format.
        PrejudgeError: The file cannot be written.
    """
    import matplotlib
    from matplotlib.text import Text

    from prejudge.formats.atomic import write_atomically

    kind = picture_format(path)
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a name between two $ is no formula
        text.set_text(visible(text.get_text(), keep="\n"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "prejudge"}):
        metadata = {"Date": None} if kind == "svg" else {"CreationDate": None} if kind == "pdf" else None
        picture = io.BytesIO()
        figure.savefig(picture, format=kind, dpi=160, metadata=metadata, facecolor="white")
    write_atomically(path, picture.getbuffer())
    return path
