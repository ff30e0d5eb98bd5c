"""CSV files with one row per architecture: what every reader of one needs, with errors that name the line."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from prejudge.errors import FileFormatError, InputError, MissingDataError
from prejudge.spaces.base import Architecture, Space

ARCHITECTURE_COLUMNS = ("arch_str", "arch", "architecture")


class CsvFile:
    """A ``.csv`` or ``.csv.gz`` file with a header and a column of architectures.

    Args:
        path: The file.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is no text, or its gzip stream is damaged.
        InputError: It is empty, a column is there twice, or none names architectures.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = csv.reader(io.StringIO(_content(path), newline=""))
        self.header = [c.strip() for c in next(self._reader, [])]
        if not any(self.header):
            raise InputError(f"{path} is empty; a CSV file with a header is needed")
        twice = [c for c in self.header if c and self.header.count(c) > 1]
        if twice:
            raise InputError(f"{path}: column {twice[0]!r} is there twice")
        found = [c for c in ARCHITECTURE_COLUMNS if c in self.header]
        if not found:
            known = ", ".join(self.header)
            raise InputError(f"{path} has no column {' or '.join(ARCHITECTURE_COLUMNS)} (it has {known})")
        self._architecture = self.header.index(found[0])

    @cached_property
    def sha256(self) -> str:
        """Digest of the file as it is."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def rows(self, space: Space) -> Iterator[tuple[int, Architecture, list[str]]]:
        """Yield ``(line, architecture, fields)``; raises :class:`InputError` for a malformed row, or if none."""
        empty = True
        for fields in self._reader:
            if not fields:
                continue
            line, empty = self._reader.line_num, False
            if len(fields) != len(self.header):
                raise self.error(line, f"{len(fields)} fields, the header has {len(self.header)}")
            try:
                yield line, space.parse(fields[self._architecture]), fields
            except InputError as error:
                raise self.error(line, error) from error
        if empty:
            raise InputError(f"{self.path} has a header but no rows")

    def number(self, line: int, column: int, fields: list[str]) -> float:
        """The number in a field, NaN where it is empty; raises :class:`InputError` for anything else."""
        text = fields[column]
        try:
            value = float(text) if text.strip() else math.nan
        except ValueError:
            raise self.error(line, f"{self.header[column]} is {text!r}, which is no number") from None
        if math.isinf(value):
            raise self.error(line, f"{self.header[column]} is infinite")
        return value

    def error(self, line: int, what: Any) -> InputError:
        """An error that names the file and the line."""
        return InputError(f"{self.path}, line {line}: {what}")


def _content(path: Path) -> str:
    if not path.is_file():
        raise MissingDataError(f"no CSV file {path}")
    data = path.read_bytes()
    try:
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path} is no CSV file: byte {error.start} is no UTF-8 text") from error
    except (OSError, EOFError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        raise FileFormatError(f"{path} is truncated or damaged: {error}") from error
