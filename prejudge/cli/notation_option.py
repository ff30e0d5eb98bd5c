"""The option that says what integers in an architecture mean."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

Notation = Annotated[
    str | None,
    Parameter(
        help="What integers in an architecture mean: official, naslib, naszilla, flan, bananas (docs/spaces.md)."
    ),
]
"""For architectures that are written in integers, which nothing else tells apart."""
