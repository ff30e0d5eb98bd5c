"""Whole files of pickles of plain values, read without running anything in them."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.errors import FileFormatError, MissingDataError
from prejudge.formats.pickle.unpickler import Refused, Unpickler
from prejudge.formats.pickle.values import plain


def load_pickle(path: Path) -> Any:
    """The value in a file of one pickle.

    Args:
        path: A file that Python 2 or 3 pickled.

    Returns:
        Dicts, lists, tuples, numbers, texts and arrays, as they were pickled; NumPy's numbers as Python's.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is not a pickle, is truncated, or names anything but NumPy arrays of numbers.
    """
    if not _size(path):
        raise FileFormatError(f"{path} is not a pickle, or it is truncated: it is empty")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            machine = Unpickler(content)
            found = machine.load()
            return plain(found, machine.offset)
    except Refused as error:
        raise FileFormatError(f"{path} {error}; nothing in it was run") from None


def read_pickles(path: Path) -> Iterator[tuple[int, Any]]:
    """Read a file of pickles, one after another.

    Args:
        path: The file.

    Yields:
        ``(offset in bytes, value)``: plain containers, texts, numbers; numpy scalars and arrays of numbers become plain
        numbers and nested lists.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is not a pickle, is truncated (the message gives the byte where the last pickle starts), or
            names anything that could run.
    """
    size = _size(path)
    if not size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        machine = Unpickler(content)
        while (offset := machine.offset) < size:
            try:
                value = plain(machine.load(), machine.offset - offset, array=np.ndarray.tolist)
            except Refused as error:
                if error.__cause__ is None:
                    raise FileFormatError(
                        f"{path}: the pickle at byte {offset} {error}; nothing in it was run"
                    ) from None
                kind = "is truncated or damaged" if offset or machine.offset > 64 else "is not a pickle or truncated"
                raise FileFormatError(f"{path} {kind} in the pickle that starts at byte {offset}") from None
            yield offset, value


def _size(path: Path) -> int:
    if not path.is_file():
        raise MissingDataError(f"no file {path}")
    return path.stat().st_size
