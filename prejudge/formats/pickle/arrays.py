"""Pickled arrays, read without running anything: plain containers, numbers, texts and NumPy arrays of numbers."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, NoReturn

from prejudge.errors import FileFormatError, MissingDataError
from prejudge.formats.pickle.inert import Refused, read_inert
from prejudge.formats.pickle.values import plain


def load_pickle(path: Path) -> Any:
    """The value in a pickle.

    Args:
        path: A file that Python 2 or 3 pickled.

    Returns:
        Dicts, lists, tuples, numbers, texts and arrays, as they were pickled; NumPy's numbers as Python's.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is no pickle, is truncated, or names anything but NumPy arrays of numbers.
    """
    if not path.is_file():
        raise MissingDataError(f"no file {path}")
    if not path.stat().st_size:
        raise FileFormatError(f"{path} is no pickle, or it is truncated: it is empty")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = read_inert(content, _outside)
            return plain(found, content.tell())
    except Refused as error:
        raise FileFormatError(f"{path} {error}; nothing in it was run") from None


def _outside(pid: Any) -> NoReturn:
    raise Refused("refers to objects outside the file")
