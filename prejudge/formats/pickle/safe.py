"""Reading pickles of other programs without running anything in them.

A pickle is a program: it may name any function and have it called. Here it is only written down what would be called
(:mod:`prejudge.formats.pickle.inert`), and numbers and plain containers are made of that.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from prejudge.errors import FileFormatError, MissingDataError
from prejudge.formats.pickle.inert import Refused, read_inert
from prejudge.formats.pickle.values import plain


def read_pickles(path: Path) -> Iterator[tuple[int, Any]]:
    """Read a file of pickles, one after another.

    Args:
        path: The file.

    Yields:
        ``(offset in bytes, value)``: plain containers, texts, numbers; numpy scalars and arrays of numbers become plain
        numbers and nested lists.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is no pickle, is truncated (the message gives the byte where the last pickle starts), or
            names anything that could run.
    """
    if not path.is_file():
        raise MissingDataError(f"no file {path}")
    size = path.stat().st_size
    if not size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        while (offset := content.tell()) < size:
            try:
                found = read_inert(content, _outside)
            except Refused as error:
                if error.__cause__ is None:
                    raise _not_run(path, offset, error) from None
                what = "is truncated or damaged" if offset or content.tell() > 64 else "is no pickle, or is truncated"
                raise FileFormatError(f"{path} {what} in the pickle that starts at byte {offset}") from None
            try:
                value = plain(found, content.tell() - offset, array=np.ndarray.tolist)
            except Refused as error:
                raise _not_run(path, offset, error) from None
            yield offset, value


def _not_run(path: Path, offset: int, error: Refused) -> FileFormatError:
    return FileFormatError(f"{path}: the pickle at byte {offset} {error}; nothing in it was run")


def _outside(pid: Any) -> NoReturn:
    raise Refused("refers to objects outside the file")
