"""TFRecord files without TensorFlow: a sequence of byte strings, each with a checksum of its length and of itself.

A record is its length (8 bytes, little endian), the masked CRC-32C of these eight bytes, the payload, and the masked
CRC-32C of the payload (both 4 bytes). There is neither a header nor an index, so a file is read from its start.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from prejudge.errors import FileFormatError, MissingDataError, PrejudgeError

if TYPE_CHECKING:
    from hashlib import _Hash

BLOCK_BYTES = 2**20
"""Bytes read at a time: large enough to work on many records at once, small enough not to be felt in memory."""

MOST_BYTES = 2**24
"""No record is longer; the longest of NAS-Bench-101 has 700 bytes."""

_HEADER, _FOOTER = 12, 4
_LENGTH = struct.Struct("<Q").unpack_from
_MASK = 0xA282EAD8
_FOREIGN = {
    b"\x80": "a pickle",
    b"\x1f\x8b": "a gzip file; unpack it first",
    b"BZh": "a bzip2 file; unpack it first",
    b"PK": "a zip file; unpack it first",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy file",
}
"""First bytes of what is given by mistake, and its name."""


@dataclass(frozen=True)
class RecordBlock:
    """Consecutive records in one piece of memory.

    Attributes:
        data: Bytes of the file.
        starts: Where each payload begins in ``data``, shape ``(records,)``.
        ends: Where each payload ends.
        offset: Position of ``data`` in the file.
        first: Records of the file before this block.
    """

    data: bytes
    starts: np.ndarray
    ends: np.ndarray
    offset: int
    first: int

    def __len__(self) -> int:
        """Records in the block."""
        return len(self.starts)

    def __getitem__(self, i: int) -> bytes:
        """Payload of the block's record ``i``."""
        return self.data[self.starts[i] : self.ends[i]]

    def where(self, i: int) -> str:
        """The name of the block's record ``i`` in messages: its number in the file, from 1, and its first byte."""
        return f"record {self.first + i + 1} at byte {self.offset + int(self.starts[i]) - _HEADER}"


def masked_crc32c(data: bytes) -> int:
    """The checksum of a TFRecord: CRC-32C, rotated right by 15 bits, plus a constant, modulo 2**32."""
    return int(_checksums([data])[0])


def read_blocks(path: Path, *, block_bytes: int = BLOCK_BYTES, digest: _Hash | None = None) -> Iterator[RecordBlock]:
    """Read a TFRecord file piece by piece and check every record.

    Args:
        path: The file.
        block_bytes: Bytes read at a time; a longer record is read whole all the same.
        digest: Is fed every byte of the file.

    Yields:
        Blocks of at least one record, in the order of the file.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is not a TFRecord file, it ends within a record, or a checksum is wrong; the message names
            the record and the byte at which it begins.
        PrejudgeError: The file cannot be read.
    """
    if not path.is_file():
        raise MissingDataError(f"no TFRecord file {path}")
    offset = first = 0
    rest = b""
    try:
        with path.open("rb") as file:
            while piece := file.read(block_bytes):
                if digest is not None:
                    digest.update(piece)
                data = rest + piece
                block, used = _frames(path, data, offset, first)
                if len(block):
                    _check(path, block)
                    yield block
                rest = data[used:]
                offset += used
                first += len(block)
    except OSError as error:
        raise PrejudgeError(f"cannot read {path}: {error.strerror or error}") from error
    if rest:
        # Without a whole header nothing has shown yet that this is a TFRecord file at all.
        needed = _LENGTH(rest)[0] + _HEADER + _FOOTER if len(rest) >= _HEADER else _HEADER
        if not first and len(rest) < _HEADER:
            raise _foreign(path, rest)
        raise FileFormatError(
            f"{path} is truncated: record {first + 1} at byte {offset} needs {needed} bytes, but the file ends after "
            f"{len(rest)} of them, at byte {offset + len(rest)}; download it again"
        )
    if not first:
        raise FileFormatError(f"{path} is empty; a TFRecord file has at least one record")


def _frames(path: Path, data: bytes, offset: int, first: int) -> tuple[RecordBlock, int]:
    """The whole records of ``data``, their payloads unchecked, and how many bytes they take."""
    headers: list[int] = []
    position, last, add, length, frame = 0, len(data) - _HEADER, headers.append, _LENGTH, _HEADER + _FOOTER
    while position <= last:  # once for each record of the file: names that are local
        add(position)
        position += length(data, position)[0] + frame
    at = np.array(headers, dtype=np.int64)
    # Of the record that is not whole too: a wrong length must not make us read all of the file in search of its end.
    kept = _at(data, at, 8).view("<u8").ravel()
    lengths, which = np.unique(kept, return_inverse=True)
    wrong = np.flatnonzero(
        _checksums([n.tobytes() for n in lengths])[which] != _at(data, at + 8, 4).view("<u4").ravel()
    )
    if wrong.size:
        if not first and not wrong[0]:
            raise _foreign(path, data)
        raise FileFormatError(
            f"{path} is damaged: the length of record {first + int(wrong[0]) + 1} at byte {offset + at[wrong[0]]} does "
            f"not match its checksum; download it again"
        )
    long = np.flatnonzero(kept > MOST_BYTES)
    if long.size:
        raise FileFormatError(
            f"{path}: record {first + int(long[0]) + 1} at byte {offset + at[long[0]]} claims {int(kept[long[0]]):,} "
            f"bytes, more than the {MOST_BYTES:,} that are read; download it again"
        )
    if position > len(data):
        position = headers[-1]
        at, kept = at[:-1], kept[:-1]
    starts = at + _HEADER
    return RecordBlock(data, starts, starts + kept.astype(np.int64), offset, first), position


def _check(path: Path, block: RecordBlock) -> None:
    found = _checksums([block.data[a:b] for a, b in zip(block.starts.tolist(), block.ends.tolist(), strict=True)])
    wrong = np.flatnonzero(found != _at(block.data, block.ends, 4).view("<u4").ravel())
    if wrong.size:
        raise FileFormatError(
            f"{path} is damaged: {block.where(int(wrong[0]))} does not match its checksum; download it again"
        )


def _at(data: bytes, starts: np.ndarray, width: int) -> np.ndarray:
    """``width`` bytes from each start, shape ``(starts, width)``."""
    if not starts.size:
        return np.zeros((0, width), dtype=np.uint8)
    result: np.ndarray = np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, dtype=np.uint8), width)[starts]
    return result


def _checksums(pieces: list[bytes]) -> np.ndarray:
    from google_crc32c import value

    return _masked(np.fromiter(map(value, pieces), dtype=np.uint32, count=len(pieces)))


def _masked(crcs: np.ndarray) -> np.ndarray:
    return ((crcs >> np.uint32(15)) | (crcs << np.uint32(17))) + np.uint32(_MASK)


def _foreign(path: Path, data: bytes) -> FileFormatError:
    known = [name for start, name in _FOREIGN.items() if data.startswith(start)]
    if not known and "".join(data[:64].decode("utf-8", errors="replace").split()).isprintable():
        known = ["a text file"]
    return FileFormatError(f"{path} is not a TFRecord file{f' (it looks like {known[0]})' if known else ''}")
