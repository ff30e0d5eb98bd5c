"""Zip archives, also of NumPy arrays, that may come from anywhere: looked through before anything is unpacked.

Nothing is ever unpacked to the disk: entries are read into memory by their names, which are never made paths.
"""

from __future__ import annotations

import io
import lzma
import mmap
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from math import prod
from pathlib import Path, PurePosixPath

import numpy as np

from prejudge.errors import FileFormatError

MOST_ENTRIES = 200_000
"""More than any benchmark has."""

READ_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, RuntimeError,
               NotImplementedError, KeyError, IndexError, TypeError, struct.error, OverflowError,
               MemoryError)  # fmt: skip
"""The exceptions of :mod:`zipfile` for damaged files."""

MOST_ARRAY_BYTES = 8 * 2**30
_PIECE = 2**20


def open_zip(path: Path, *, most_bytes: int) -> zipfile.ZipFile:
    """Open an archive, if it is one that a program wrote which meant no harm.

    Args:
        path: The archive.
        most_bytes: Sum of what its entries may become.

    Raises:
        FileFormatError: It is damaged; it has names with ``..``, absolute ones, links, encrypted entries, two of one
            name or entries that overlap; or it would become larger than allowed. The message names the entry.
    """
    try:
        archive = zipfile.ZipFile(path)
    except READ_ERRORS as error:
        raise FileFormatError(f"{path} is not a zip archive, or it is truncated or damaged ({error})") from error
    try:
        _check(path, archive.infolist(), path.stat().st_size, most_bytes)
    except FileFormatError:
        archive.close()
        raise
    return archive


def damaged_entry(path: Path, archive: zipfile.ZipFile) -> str | None:
    """The first entry that is compressed, or whose checksum is wrong; many times faster than ``testzip``."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        view = memoryview(content)
        try:
            for info in archive.infolist():
                name, extra = struct.unpack_from("<HH", view, info.header_offset + 26)
                start = info.header_offset + 30 + name + extra
                if info.compress_type or zlib.crc32(view[start : start + info.file_size]) != info.CRC:
                    return info.filename
        finally:
            view.release()
    return None


def _check(where: Path, entries: list[zipfile.ZipInfo], size: int, most_bytes: int) -> None:
    if len(entries) > MOST_ENTRIES:
        raise FileFormatError(f"{where} has {len(entries):,} entries, more than the {MOST_ENTRIES:,} that are read")
    known: set[str] = set()
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        shown = entry.filename[:80]
        if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
            raise FileFormatError(f"{where} has an entry {shown!r} that points outside the archive; do not unpack it")
        if entry.filename in known:
            raise FileFormatError(f"{where} has two entries called {shown!r}; get it again from where it comes")
        known.add(entry.filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise FileFormatError(f"{where} has an entry {shown!r} that is a link or device; do not unpack it")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FileFormatError(f"{where} has an entry {shown!r} of a rare compression; zip it again without")
        if entry.flag_bits & 1:
            raise FileFormatError(f"{where} has an encrypted entry {shown!r}; save it again without a password")
    if sum(entry.compress_size for entry in entries) > size:
        raise FileFormatError(f"{where} is damaged or made to do harm: its entries overlap; get it again")
    total = sum(entry.file_size for entry in entries)
    if total > most_bytes:
        raise FileFormatError(f"{where} would unpack to {total:,} bytes; no more than {most_bytes:,} are read")


def read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """All of an entry, which is never more than it says to be.

    Raises:
        FileFormatError: There is no such entry, or it is damaged.
    """
    where, parts = archive.filename, []
    try:
        with archive.open(name) as entry:
            while part := entry.read(_PIECE):  # in pieces: what it really holds may be far more than it says
                parts.append(part)
            content = b"".join(parts)
        if len(content) != archive.getinfo(name).file_size:
            raise EOFError("it ends too early")
    except READ_ERRORS as error:
        raise FileFormatError(f"{where} is damaged: {name[:80]!r} cannot be read ({error})") from error
    return content


class PickledObjects(FileFormatError):
    """A file of arrays holds pickled objects instead."""


def read_arrays(
    path: Path, *, most_bytes: int = MOST_ARRAY_BYTES, wanted: Callable[[str], bool] = lambda name: True
) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name, in the order of the file.

    Args:
        path: The file.
        most_bytes: Sum of what all of them may take.
        wanted: Which arrays are read, by their name; the others are only looked at where they are pickled objects.

    Raises:
        PickledObjects: A wanted one holds pickled objects, which may run code and are never read.
        FileFormatError: It is no such file, or it is damaged.
    """
    with open_zip(path, most_bytes=most_bytes) as archive:
        names = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
        return {name: _array(path, name, read_entry(archive, member)) for name, member in names.items() if wanted(name)}


def _array(path: Path, name: str, content: bytes) -> np.ndarray:
    shown = repr(name[:80])
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except Exception as error:  # a header is a Python literal, and can be wrong in any way
        raise FileFormatError(f"{path} is damaged: {shown} is not an array ({type(error).__name__})") from error
    if dtype.hasobject:
        raise PickledObjects(f"{path} holds pickled objects in {shown}, which may run code and are not read")
    data = memoryview(content)[stream.tell() :]
    if prod(shape) * dtype.itemsize != len(data) or not dtype.itemsize or dtype.names or any(n < 0 for n in shape):
        raise FileFormatError(f"{path} is damaged: {shown} is not of {dtype.str} {shape}, as it says")
    try:
        return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C").copy()
    except (ValueError, TypeError, OverflowError) as error:
        raise FileFormatError(f"{path} is damaged: {shown} is not an array of {dtype.str} {shape}") from error
