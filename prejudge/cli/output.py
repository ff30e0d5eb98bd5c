"""Printing: results go to standard output (tables, or JSON), messages to standard error."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from prejudge.errors import quoted, visible
from prejudge.formats.escape import json_text

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table as RichTable
    from rich.text import Text as RichText

_MOST_BITS = 4096
"""Python does not print integers of 15,000 bits; no figure has more than these."""

Json = Annotated[bool, Parameter(name="--json", help="Print JSON instead of text.")]
"""The option that every command has."""


def plain(value: Any) -> Any:
    """The same value made of what JSON has; NaN becomes null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return quoted(value)
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # numpy scalars and arrays, pandas series
        return plain(value.tolist())
    if isinstance(value, Iterable):
        return [plain(v) for v in value]
    return str(value)


def print_json(value: Any) -> None:
    """Print ``value`` as JSON on standard output."""
    text = json_text(plain(value), indent=2)
    print(text if can_show(text) else json.dumps(plain(value), indent=2))


def can_show(text: str) -> bool:
    """Whether standard output takes every character of a text."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def terminal_width() -> int | None:
    """Columns of the terminal; None where the output goes elsewhere and may be as wide as it likes."""
    from rich.console import Console

    console = Console()
    return console.width if console.is_terminal else None


def tell(text: object) -> None:
    """Print one line of the result; whatever a file put into it can be seen, and does nothing."""
    print(visible(str(text)))


def say(text: str) -> None:
    """Print a line for the person at the terminal; it is never part of the result."""
    print(visible(text), file=sys.stderr)


def say_report(notes: Iterable[str], written: Any, hint: str = "") -> None:
    """Print the notes of a report, and the place of the full one or the option that writes it."""
    for note in notes:
        say(f"note: {note}")
    if written is not None:
        say(f"wrote {written}")
    elif hint:
        say(f"next: {hint}")


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    numeric: Collection[str] = (),
    fold_first: bool = False,
) -> None:
    """Print a table.

    Args:
        title: Its heading; empty for none.
        columns: Headings of the columns.
        rows: The cells; those that are rich texts, of what can be seen, keep their style.
        numeric: Columns that are aligned to the right.
        fold_first: Whether the first column may be broken into lines too, as the others are.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    unbroken = {*numeric} | ({columns[0]} if not fold_first else set())
    heading = Text(visible(title), style="bold") if title else None
    table = Table(title=heading, title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column in numeric else "left"
        table.add_column(Text(visible(column)), justify=justify, overflow="fold", no_wrap=column in unbroken)
    for row in rows:
        table.add_row(*[_styled(value) for value in row])
    _print(table)


def print_fields(title: str, fields: Mapping[str, Any]) -> None:
    """Print labels and values, one pair a line."""
    shown = {visible(label): visible(_cell(value)) for label, value in fields.items()}
    width = max(map(len, shown), default=0)
    if title:
        tell(title)
    for label, value in shown.items():
        print(f"  {label:<{width}}  {value}")


def print_columns(title: str, columns: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the columns of a score cache."""
    print_table(
        title,
        ["proxy", "scored", "failed", "repeats", "seconds", "definition", "digest"],
        [
            [n, c["ok"], c["failed"], c["repeats"], c["seconds"], c["source"] or f"version {c['version']}", c["digest"]]
            for n, c in columns.items()
        ],
        numeric=["scored", "failed", "repeats", "seconds"],
    )


def check_file(out: Path | None) -> bool:
    """Refuse what cannot be written before the work begins, not after it; raises what writing would.

    Returns:
        Whether it is a file, which can be replaced and have others beside it; false for a pipe or a device.
    """
    if out is None:
        return False
    from prejudge.formats.atomic import destination

    return destination(out) is not None


def check_cache(out: Path) -> None:
    """Refuse what cannot be a score cache before the work begins; raises what opening it would."""
    from prejudge.cache.store import check_place

    check_place(out)


def check_folder(out: Path) -> None:
    """Refuse a place where no folder can be made before the work begins; nothing is made."""
    from prejudge.formats import atomic

    atomic.check_folder(out)


def run_folder(out: Path | None) -> Path | None:
    """The folder beside a result file that keeps the work until the file is there; None where there is no file."""
    return out.with_name(f"{out.name}.run") if out is not None and check_file(out) else None


def _styled(value: Any) -> RichText:
    """A cell of a table; its lines stay apart, everything else can be seen."""
    from rich.text import Text

    return value if isinstance(value, Text) else Text(visible(_cell(value), keep="\n"))


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if value.bit_length() <= _MOST_BITS else quoted(value)
    if isinstance(value, list | tuple):
        return ", ".join(str(v) for v in value)
    return str(value)


def _print(table: RichTable) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        # Redirected output must not be cut to the 80 columns that rich assumes where there is no terminal.
        console = Console(
            width=max(80, console.measure(table, options=console.options.update(max_width=10_000)).maximum)
        )
    with console.capture() as captured:
        console.print(table)
    print(captured.get(), end="")
