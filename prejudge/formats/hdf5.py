"""Reading HDF5 files that may come from anywhere: only what lies in the file itself, and no more than it can hold.

HDF5 can do more than a reader expects: a member may be a link into another file, an array may lie in any other file of
the disk or be pieced together from several, a filter may be a library that is loaded, and an array of terabytes takes
a few bytes where nothing was written to it. The functions here read members that are plainly there, and refuse the
rest before anything is allocated.

A damaged file can also make the HDF5 library itself crash, which takes the whole process with it. So files from
elsewhere are read by a process of their own first (:func:`check_in_child`), whose crash is one line.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prejudge.errors import FileFormatError, PrejudgeError
from prejudge.formats.atomic import replacing

if TYPE_CHECKING:
    import h5py

FREE_BYTES = 64 * 2**20
"""So large may all arrays of a file be, whatever its size."""

MOST_GROWTH = 1100
"""Bytes of arrays that a byte of the file may become beyond that; deflate makes at most 1,032 of one."""

LARGEST_BYTES = 16 * 2**30
"""No array of a file may be larger."""

READ_ERRORS = (OSError, KeyError, ValueError, TypeError, RuntimeError, IndexError, AttributeError, MemoryError,
               OverflowError, RecursionError, NotImplementedError)  # fmt: skip
"""The exceptions of h5py, and of plain readers of the content, for damaged files."""

_LOOKED_THROUGH = 16 * 2**20
_HEAP, _HEAP_HEADER = b"GCOL\x01\0\0\0", 16
_SECONDS, _BYTES_PER_SECOND = 60.0, 2 * 2**20
_CRASHED, _LONGEST_TEXT = 70, 200


class ReadBudget:
    """The bytes of arrays that may still be read from a file.

    Args:
        size: Bytes of the file.
    """

    def __init__(self, size: int) -> None:
        self._file = size
        self._left = min(FREE_BYTES + MOST_GROWTH * self._file, LARGEST_BYTES)

    def take(self, nbytes: int, stored: int) -> None:
        """Take so many bytes, which claim to be stored in so many; raises :class:`ValueError` where that cannot be."""
        self._left -= nbytes
        if self._left < 0 or nbytes > FREE_BYTES + MOST_GROWTH * min(stored, self._file):
            raise ValueError(f"it claims arrays of {nbytes:,} bytes, more than it can hold")


@contextmanager
def writing(path: Path, **options: Any) -> Iterator[h5py.File]:
    """Give an HDF5 file to write, which takes the place of ``path`` in one step when the block ends well.

    The HDF5 library, which crashes where the disk is full, is not told of writes that fail.

    Args:
        path: The file.
        options: For :class:`h5py.File`.

    Raises:
        PrejudgeError: The file cannot be written; ``path`` is untouched.
    """
    import h5py

    with replacing(path) as part, _Deferring(part, "w+b") as stream:
        try:
            with h5py.File(stream, "w", **options) as file:
                yield file
        except Exception:
            if stream.failed is None:  # else what was lost could not be read again
                raise
        if stream.failed is not None:
            raise stream.failed


class _Deferring(io.FileIO):
    """A file whose first failed write is kept for later; nothing is written after it."""

    failed: OSError | None = None

    def write(self, content: Any) -> int:
        left = memoryview(content).cast("B")
        size = len(left)
        try:
            while left and self.failed is None:
                left = left[super().write(left) or 0 :]
        except OSError as error:
            self.failed = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failed = self.failed or error
            return size or 0


def open_file(path: Path) -> h5py.File:
    """Open a file to read it, without a lock; close it as any file of h5py.

    Raises:
        OSError: It is not an HDF5 file, or it is damaged.
        ValueError: It would make the HDF5 library hang. Only files of up to 16 MB are looked through for that; those
            that are larger and from elsewhere are for :func:`check_in_child`.
    """
    import h5py

    if path.stat().st_size <= _LOOKED_THROUGH:
        _check_text_heaps(path.read_bytes())
    return h5py.File(path, "r", locking=False)


def _check_text_heaps(content: bytes) -> None:
    """Refuse heaps of texts whose objects do not follow each other: HDF5 (2.0) looks for the next one for ever."""
    at, left = content.find(_HEAP), len(content) // _HEAP_HEADER + 1
    while at >= 0:
        place, end = at + _HEAP_HEADER, at + int.from_bytes(content[at + 8 : at + 16], "little")
        if end > len(content):
            raise ValueError("a heap of texts reaches beyond the end of the file")
        while place + _HEAP_HEADER <= end:
            number = int.from_bytes(content[place : place + 2], "little")
            size = int.from_bytes(content[place + 8 : place + 16], "little")
            need = _HEAP_HEADER + -(-size // 8) * 8 if number else size  # the free space counts its own header
            if need < _HEAP_HEADER or place + need > end:
                raise ValueError("a heap of texts is damaged")
            place += need
            left -= 1
            if left < 0:  # each byte is in one object, so there are no more objects than that
                raise ValueError("heaps of texts overlap")
        at = content.find(_HEAP, at + 1)


def attribute(node: h5py.Group | h5py.Dataset, name: str) -> Any:
    """A number or text that is an attribute of a node, or None where there is none of that name.

    Raises:
        ValueError: It is an array, a reference, a text that is not UTF-8 or something else.
    """
    import h5py

    if not h5py.h5a.exists(node.id, name.encode()):
        return None
    found = h5py.h5a.open(node.id, name.encode())
    _check_type(found.dtype, found.shape, f"attribute {name}")
    value = node.attrs[name]
    if isinstance(value, str):
        value.encode()  # h5py gives bytes that are not UTF-8 as lone surrogates, which nobody can write again
    return value.decode() if isinstance(value, bytes) else value


def member(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset:
    """A member of a group, or of a group within it, that lies in this file and not behind a link.

    Raises:
        KeyError: There is none.
        ValueError: It is a soft or external link, or neither group nor array.
    """
    import h5py

    node = group
    for name in path.split("/"):
        if not isinstance(node, h5py.Group):
            raise KeyError(f"there is no {path}")
        try:
            kind = node.id.links.get_info(name.encode()).type
        except KeyError:
            raise KeyError(f"there is no {path}") from None
        if kind != h5py.h5l.TYPE_HARD:
            raise ValueError(f"{path} is a link to another place")
        node = node[name]
    if not isinstance(node, h5py.Group | h5py.Dataset):
        raise ValueError(f"{path} is neither a group nor an array")
    return node


def has(group: h5py.Group, name: str) -> bool:
    """Whether a group has a member of this name, of whatever kind."""
    return bool(group.id.links.exists(name.encode()))


def members(group: h5py.Group, path: str = "") -> Iterator[h5py.Group]:
    """The groups that a group consists of; raises as :func:`member` does, and where one of them is an array."""
    import h5py

    whole = member(group, path) if path else group
    if not isinstance(whole, h5py.Group):
        raise ValueError(f"{path} is not a group")
    for name in whole:
        found = member(whole, name)
        if not isinstance(found, h5py.Group):
            raise ValueError(f"{found.name} is not a group")
        yield found


def array(group: h5py.Group, path: str, budget: ReadBudget, kind: str = "", dims: tuple[int, ...] = ()) -> np.ndarray:
    """An array of numbers or of texts of fixed width, whole.

    Args:
        group: Where it is.
        path: Its name there.
        budget: That of the file.
        kind: Kinds of NumPy types that it may have, such as ``"iu"``, or one type, such as ``"<f8"``; any if empty.
        dims: How many dimensions it may have; any number if empty.

    Raises:
        KeyError: There is none.
        ValueError: It is of another kind, lies outside the file, is larger than the file can hold, or uses a filter
            that prejudge does not write.
    """
    return np.asarray(_checked(group, path, budget, kind, dims)[()])


def text(group: h5py.Group, path: str, budget: ReadBudget) -> str:
    """A single text; raises as :func:`array` does."""
    value = _checked(group, path, budget)[()]
    if not isinstance(value, bytes):
        raise ValueError(f"{path} is not text")
    return value.decode()


def _checked(
    group: h5py.Group, path: str, budget: ReadBudget, kind: str = "", dims: tuple[int, ...] = ()
) -> h5py.Dataset:
    import h5py

    found = member(group, path)
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"{path} is not an array")
    dtype, shape = found.dtype, found.shape
    _check_type(dtype, shape, path)
    if (kind and dtype.kind not in kind and dtype.str != kind) or (dims and len(shape) not in dims):
        raise ValueError(f"{path} is of another type, {str(dtype)[:40]} of {len(shape)} dimensions")
    made = found.id.get_create_plist()
    if made.get_layout() == h5py.h5d.VIRTUAL or made.get_external_count():
        raise ValueError(f"{path} lies in another file")
    filters = [made.get_filter(i)[0] for i in range(made.get_nfilters())]
    known = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32)
    if not set(filters) <= set(known) or len(filters) != len(set(filters)):
        raise ValueError(f"{path} is stored with filters that prejudge does not use")
    if 0 in shape and max(shape) > FREE_BYTES:
        raise ValueError(f"{path} has the shape {shape}")
    sizes = [prod(map(int, numbers)) * dtype.itemsize for numbers in (shape, found.chunks or (0,))]
    budget.take(max(sizes), found.id.get_storage_size())
    return found


def _check_type(dtype: np.dtype[Any], shape: tuple[int, ...] | None, what: str) -> None:
    import h5py

    plain = dtype.kind in "iufbS" and dtype.subdtype is None
    single_text = shape == () and h5py.check_string_dtype(dtype) is not None
    if shape is None or not (plain or single_text) or (what.startswith("attribute") and shape != ()):
        raise ValueError(f"{what} is of a type ({str(dtype)[:40]}) that prejudge does not write")


def describe(error: BaseException) -> str:
    """The message of h5py, on one line that is not too long."""
    said = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
    said = "".join(character if character.isprintable() else "?" for character in said)
    return f"{said[:_LONGEST_TEXT]}…" if len(said) > _LONGEST_TEXT else said or type(error).__name__


def check_in_child(path: str | os.PathLike[str]) -> None:
    """Read all of an HDF5 file in a process of its own, so that a crash of the HDF5 library does not end this one.

    It takes 0.3 s and the time of reading the file once. What is in the file is not looked at: the readers of score
    caches, tables and search results do that.

    Args:
        path: The file; one that is not there is left to its reader.

    Raises:
        FileFormatError: Reading it ends the process, takes for ever, or the file holds what the readers refuse.
    """
    file = Path(path)
    if not file.is_file():
        return
    seconds = _SECONDS + file.stat().st_size / _BYTES_PER_SECOND
    command = [sys.executable, "-m", "prejudge.formats.hdf5", str(file.absolute())]
    places = os.pathsep.join([str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": places.rstrip(os.pathsep), "HDF5_PLUGIN_PATH": "", "PYTHONSAFEPATH": "1"}
    again = "it is damaged or made to do harm; get it again from where it comes"
    try:
        ended = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise FileFormatError(f"{path} cannot be read within {seconds:.0f} s: {again}") from None
    except OSError as error:
        raise PrejudgeError(f"cannot start a process to check {path}: {error.strerror or error}") from error
    if ended.returncode == _CRASHED:
        said = " ".join(ended.stderr.decode(errors="replace").split())[: 2 * _LONGEST_TEXT]
        raise FileFormatError(f"{path} {said}")
    if ended.returncode:
        raise FileFormatError(f"{path} makes the HDF5 library crash ({_how(ended.returncode)}): {again}")


def _how(status: int) -> str:
    if status < 0:
        try:
            return signal.Signals(-status).name
        except ValueError:
            return f"signal {-status}"
    return f"exit status {status}"


def read_everything(path: Path) -> None:
    """Read each array and attribute of a file, once.

    Raises:
        FileFormatError: The message, without the file's name, says what is wrong.
    """
    import h5py

    try:
        budget, seen = ReadBudget(path.stat().st_size), set()
        with open_file(path) as file:
            waiting: list[h5py.Group] = [file["/"]]
            while waiting:
                group = waiting.pop()
                for name in group.attrs:
                    attribute(group, name)
                for name in group:
                    found = member(group, name)
                    at = h5py.h5o.get_info(found.id).addr
                    if at in seen:
                        continue
                    seen.add(at)
                    if isinstance(found, h5py.Group):
                        waiting.append(found)
                        continue
                    for key in found.attrs:
                        attribute(found, key)
                    _checked(group, name, budget)[()]
    except READ_ERRORS as error:
        raise FileFormatError(f"is not an HDF5 file that can be read, or it is damaged ({describe(error)})") from error


def _main(path: str) -> int:
    try:
        read_everything(Path(path))
    except FileFormatError as error:
        print(error, file=sys.stderr)
        return _CRASHED
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
