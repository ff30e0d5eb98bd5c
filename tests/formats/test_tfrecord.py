"""TFRecord framing: what was written is read, at any block size, and damage is told with its place."""

from __future__ import annotations

import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prejudge.errors import FileFormatError, MissingDataError
from prejudge.formats.tfrecord import masked_crc32c, read_blocks
from tests.benchmarks.importers.nasbench101_files import frame, write_tfrecord

PAYLOADS = [b"first", b"", b"x" * 5000, bytes(range(256)), b"last"]


def crc32c_bit_by_bit(data: bytes) -> int:
    """The definition: the remainder of the reflected polynomial 0x1EDC6F41, one bit at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def read(path: Path, **options: int) -> list[bytes]:
    return [block[i] for block in read_blocks(path, **options) for i in range(len(block))]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_tfrecord(tmp_path / "some.tfrecord", PAYLOADS)


def start_of(record: int) -> int:
    """Byte at which a record (from 1) of ``PAYLOADS`` begins."""
    return sum(len(p) + 16 for p in PAYLOADS[: record - 1])


def change(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 64
    path.write_bytes(data)


def test_the_known_checksum() -> None:
    assert crc32c_bit_by_bit(b"123456789") == 0xE3069283  # the check value of CRC-32C (RFC 3720)
    rotated = (0xE3069283 >> 15 | 0xE3069283 << 17) & 0xFFFFFFFF
    assert masked_crc32c(b"123456789") == (rotated + 0xA282EAD8) & 0xFFFFFFFF


@given(st.binary(max_size=300))
def test_checksums_equal_the_definition(data: bytes) -> None:
    crc = crc32c_bit_by_bit(data)
    assert masked_crc32c(data) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize("block_bytes", [1, 7, 16, 17, 100, 4096, 2**20])
def test_a_file_is_read_at_any_block_size(file: Path, block_bytes: int) -> None:
    assert read(file, block_bytes=block_bytes) == PAYLOADS
    digest = hashlib.sha256()
    blocks = list(read_blocks(file, block_bytes=block_bytes, digest=digest))
    assert digest.digest() == hashlib.sha256(file.read_bytes()).digest()
    assert [b.first for b in blocks] == np.cumsum([0, *map(len, blocks)])[:-1].tolist()
    places = [b.where(i) for b in blocks for i in range(len(b))]
    assert places == [f"record {r} at byte {start_of(r)}" for r in range(1, len(PAYLOADS) + 1)]


@given(payloads=st.lists(st.binary(max_size=60), min_size=1, max_size=20), block_bytes=st.integers(1, 200))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], block_bytes: int) -> None:
    path = tmp_path_factory.mktemp("round") / "trip.tfrecord"
    assert read(write_tfrecord(path, payloads), block_bytes=block_bytes) == payloads


@pytest.mark.parametrize("block_bytes", [64, 2**20])
@pytest.mark.parametrize("cut", [1, 10, 15, 19, 30, 1000])
def test_a_truncated_file_names_record_and_byte(file: Path, cut: int, block_bytes: int) -> None:
    data = file.read_bytes()[:-cut]
    file.write_bytes(data)
    record = next(r for r in range(len(PAYLOADS), 0, -1) if start_of(r) < len(data))
    pattern = rf"truncated: record {record} at byte {start_of(record)} needs .*, at byte {len(data)}; download it again"
    with pytest.raises(FileFormatError, match=pattern):
        read(file, block_bytes=block_bytes)


def test_a_file_cut_between_two_records_is_whole(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: start_of(4)])
    assert read(file) == PAYLOADS[:3]


@pytest.mark.parametrize("block_bytes", [100, 2**20])
@pytest.mark.parametrize("record", range(1, len(PAYLOADS) + 1))
def test_a_flipped_bit_names_the_record(file: Path, record: int, block_bytes: int) -> None:
    whole = file.read_bytes()
    payload = start_of(record) + 12
    for at in {payload, payload + len(PAYLOADS[record - 1])}:  # in the payload, if it has bytes, and in its checksum
        change(file, at)
        with pytest.raises(FileFormatError, match=rf"record {record} at byte {start_of(record)} does not match"):
            read(file, block_bytes=block_bytes)
        file.write_bytes(whole)


@pytest.mark.parametrize("block_bytes", [100, 2**20])
@pytest.mark.parametrize("byte", [0, 7, 8, 11])
def test_a_wrong_length_is_told_at_once(file: Path, byte: int, block_bytes: int) -> None:
    """Also one that claims more bytes than the file has: it is no truncation."""
    change(file, start_of(3) + byte)
    with pytest.raises(FileFormatError, match=rf"length of record 3 at byte {start_of(3)} does not match its checksum"):
        read(file, block_bytes=block_bytes)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (pickle.dumps({"a": list(range(100))}), "a pickle"),
        (b"\x1f\x8b\x08" + bytes(50), "a gzip file"),
        (b"PK\x03\x04" + bytes(50), "a zip file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "an HDF5 file"),
        (b"arch_str,cifar10_test_200ep\n|none~0|,94.37\n", "a text file"),
        (b"short", "a text file"),
        (bytes(64), ""),
    ],
)
def test_a_foreign_file_is_told_in_one_line(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / "foreign.tfrecord"
    path.write_bytes(content)
    with pytest.raises(FileFormatError) as caught:
        read(path)
    assert "is not a TFRecord file" in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no TFRecord file"):
        read(tmp_path / "missing.tfrecord")
    empty = tmp_path / "empty.tfrecord"
    empty.touch()
    with pytest.raises(FileFormatError, match="is empty"):
        read(empty)


def test_a_huge_length_with_a_right_checksum_is_not_read(tmp_path: Path) -> None:
    length = struct.pack("<Q", 2**62)
    path = tmp_path / "huge.tfrecord"
    path.write_bytes(frame(b"one") + length + struct.pack("<I", masked_crc32c(length)) + b"few")
    with pytest.raises(FileFormatError, match=r"record 2 at byte 19 claims 4,611,686,018,427,387,904 bytes, more than"):
        read(path)


class Counter:
    """Stands where a digest is fed: how many bytes were read."""

    total = 0

    def update(self, data: bytes) -> None:
        self.total += len(data)


def test_a_wrong_length_does_not_make_it_read_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "large.tfrecord"
    path.write_bytes(frame(b"one") + struct.pack("<Q", 2**40) + bytes(100_000))
    counter = Counter()
    with pytest.raises(FileFormatError, match="length of record 2"):
        list(read_blocks(path, block_bytes=1000, digest=counter))  # type: ignore[arg-type]
    assert counter.total == 1000
