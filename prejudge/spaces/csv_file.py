"""CSV files with one row per architecture; errors name the line."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from prejudge.errors import FileFormatError, InputError, MissingDataError, quoted, unknown
from prejudge.formats.text import is_file
from prejudge.spaces.base import Architecture, Space

ARCHITECTURE_COLUMNS = ("arch_str", "arch", "architecture")

_MOST_COLUMNS = 10_000
_FREE_BYTES, _MOST_GROWTH = 64 * 2**20, 100  # bytes of text that a byte of a .csv.gz may be beyond that


class CsvFile:
    """A ``.csv`` or ``.csv.gz`` file with a header and a column of architectures.

    Args:
        path: The file.
        column: Name of the column of architectures; by default the first of :data:`ARCHITECTURE_COLUMNS` that it has.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is not text, or its gzip stream is damaged.
        InputError: It is empty, a column is there twice, or none names architectures.
    """

    def __init__(self, path: Path, column: str | None = None) -> None:
        self.path = path
        self._reader = csv.reader(io.StringIO(_content(path), newline=""))
        self.header = [c.strip() for c in next(self._lines(), [])]
        if not any(self.header):
            raise InputError(f"{path} is empty; a CSV file with a header is needed")
        if len(self.header) > _MOST_COLUMNS:
            raise InputError(f"{path} has {len(self.header):,} columns; at most {_MOST_COLUMNS:,} can be read")
        odd = [c for c in self.header if not c.isprintable()]
        if odd:
            raise InputError(f"{path}: the header has {quoted(odd[0])}, which is not a name of a column")
        twice = [c for c, count in Counter(self.header).items() if c and count > 1]
        if twice:
            raise InputError(f"{path}: column {quoted(twice[0])} is there twice")
        if column is not None and column not in self.header:
            raise unknown(f"column of {path}", column, self.header)
        found = [c for c in ARCHITECTURE_COLUMNS if c in self.header] if column is None else [column]
        if not found:
            known = ", ".join(self.header)
            raise InputError(
                f"{path} has no column {' or '.join(ARCHITECTURE_COLUMNS)} (it has {known}); say which one names the "
                "architectures: --column NAME (column=), and for integers --notation (notation=)"
            )
        self.column = found[0]

    @cached_property
    def sha256(self) -> str:
        """Digest of the file as it is."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def rows(self, space: Space[Any], notation: str | None = None) -> Iterator[tuple[int, Architecture, list[str]]]:
        """Yield ``(line, architecture, fields)``; raises :class:`InputError` for a malformed row, or if none.

        Args:
            space: Parses the architectures.
            notation: What integers in them mean, as for ``space.parse``.
        """
        empty, place = True, self.header.index(self.column)
        for fields in self._lines():
            if not fields:
                continue
            line, empty = self._reader.line_num, False
            if len(fields) != len(self.header):
                raise self.error(line, f"{len(fields)} fields, the header has {len(self.header)}")
            try:
                yield line, space.parse(fields[place], notation=notation), fields
            except InputError as error:
                raise self.error(line, error) from error
        if empty:
            raise InputError(f"{self.path} has a header but no rows")

    def _lines(self) -> Iterator[list[str]]:
        try:
            yield from self._reader
        except csv.Error as error:
            raise self.error(self._reader.line_num, f"no line of a CSV file: {error}") from None

    def number(self, line: int, column: int, fields: list[str]) -> float:
        """The number in a field, NaN where it is empty; raises :class:`InputError` for anything else."""
        text = fields[column]
        try:
            if "_" in text:  # float() takes 1_0 for ten
                raise ValueError
            value = float(text) if text.strip() else math.nan
        except ValueError:
            raise self.error(line, f"{self.header[column]} is {quoted(text)}, which is not a number") from None
        if math.isinf(value):
            raise self.error(line, f"{self.header[column]} is infinite")
        return value

    def error(self, line: int, what: Any) -> InputError:
        """An error that names the file and the line."""
        return InputError(f"{self.path}, line {line}: {what}")


def _content(path: Path) -> str:
    if not is_file(path):
        raise MissingDataError(f"no CSV file {path}")
    data = path.read_bytes()
    try:
        if data[:2] == b"\x1f\x8b":
            most = _FREE_BYTES + _MOST_GROWTH * len(data)
            with gzip.open(io.BytesIO(data)) as file:
                data = file.read(most + 1)
            if len(data) > most:
                raise FileFormatError(
                    f"{path} unpacks to more than {most:,} bytes, which no table does; unpack it first"
                )
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path} is not a CSV file: byte {error.start} is not UTF-8 text") from error
    except (OSError, EOFError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        raise FileFormatError(f"{path} is truncated or damaged: {error}") from error
