"""Files that ``torch.save`` wrote, read without running anything in them; both the zip format and the one before it.

In either format a pickle describes tensors as calls on storages, which lie beside it as raw numbers. The pickle is read
by :mod:`prejudge.formats.pickle.unpickler`; here the descriptions are checked against the storages, and tensors made of
them.
"""

from __future__ import annotations

import mmap
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prejudge.errors import FileFormatError, MissingDataError, PrejudgeError
from prejudge.formats.pickle.unpickler import Made, Name, Refused, Unpickler, one_line
from prejudge.formats.zip import READ_ERRORS, open_zip

_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle in a file of the old format
_LEGACY_VERSION = 1001
_STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}  # fmt: skip
_DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in _STORAGES.values()}
_REBUILD = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3")
_PARAMETERS = {
    Name("torch._utils", "_rebuild_parameter"),
    Name("torch._utils", "_rebuild_parameter_with_state"),
    Name("torch.nn.parameter", "Parameter"),  # torch 0.3 and before
    Name("torch.autograd.variable", "Variable"),
}


@dataclass(frozen=True, eq=False, slots=True)
class Storage:
    """A reference to numbers beside the pickle.

    Attributes:
        key: The name of the storage.
        dtype: Of its numbers.
        start: The first number that is meant.
        size: How many are meant.
        whole: How many there are.
    """

    key: str
    dtype: torch.dtype
    start: int
    size: int
    whole: int


class TorchFile:
    """The content of a file that ``torch.save`` wrote.

    Args:
        path: The file.

    Attributes:
        value: The value that was saved, as :class:`~prejudge.formats.pickle.unpickler.Unpickler` gives it;
            :meth:`tensor` makes tensors of the parts that describe one.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is no such file, or it is truncated or damaged.
    """

    value: Any

    def __init__(self, path: Path | str):
        self.path = Path(path)
        if not self.path.is_file():
            raise MissingDataError(f"no file {self.path}")
        self._storages: dict[str, Storage] = {}
        self._numbers: dict[str, Tensor] = {}
        self._unread = self.path.stat().st_size  # all storages together cannot have more bytes
        self._raw: Callable[[str, int], bytes]
        try:
            with self.path.open("rb") as file:
                is_zip = file.read(4) == b"PK\x03\x04"
            self._open_zip() if is_zip else self._open_legacy()
        except Refused as error:
            raise FileFormatError(f"{self.path} {error}") from None
        except PrejudgeError:
            raise
        except READ_ERRORS as error:
            raise FileFormatError(
                f"{self.path} is not a torch file, or it is truncated or damaged ({type(error).__name__})"
            ) from error

    def tensor(self, value: Any, name: str) -> Tensor | None:
        """The tensor or parameter that a part of :attr:`value` describes, on the CPU; None where it describes none.

        Args:
            value: The part.
            name: What it is, for messages.

        Raises:
            FileFormatError: It describes one that does not lie within its storage, or the storage is not there.
        """
        while isinstance(value, Made) and _is(value.by, _PARAMETERS) and isinstance(value.args, tuple) and value.args:
            value = value.args[0]
        if not isinstance(value, Made) or not isinstance(value.by, Name):
            return None
        if value.by.module != "torch._utils" or value.by.name not in _REBUILD:
            return None
        try:
            return self._rebuild(value.args, value.by.name.endswith("v3"))
        except Refused as error:
            raise FileFormatError(f"{self.path}: {name} {error}") from None
        except READ_ERRORS as error:
            raise FileFormatError(
                f"{self.path}: {name} cannot be read, the file is damaged ({type(error).__name__})"
            ) from error

    def _rebuild(self, args: Any, has_dtype: bool) -> Tensor:
        if not isinstance(args, tuple) or len(args) < (7 if has_dtype else 4) or not isinstance(args[0], Storage):
            raise Refused("is no tensor as torch describes one")
        storage, offset, size, stride = args[0], args[1], _plain_size(args[2]), _plain_size(args[3])
        numbers = self._read(storage)
        if has_dtype:
            named = args[6].name if isinstance(args[6], Name) and args[6].module == "torch" else ""
            if named not in _DTYPES or numbers.numel() % _DTYPES[named].itemsize:
                raise Refused("has numbers of a type which no network needs")
            numbers = numbers.view(_DTYPES[named])
        values = [offset, *size, *stride]
        if len(size) != len(stride) or any(type(v) is not int or v < 0 for v in values) or len(size) > 16:
            raise Refused("has a shape that no tensor has")
        count = prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        # No tensor of a network names a number twice: one that does may be small in the file and huge in memory.
        if count > numbers.numel() or (count and last >= numbers.numel()):
            raise Refused(f"of shape {size} does not lie within its storage of {numbers.numel()} numbers")
        if not count:
            return numbers.new_empty(size)
        return numbers.as_strided(size, stride, numbers.storage_offset() + offset)

    def _read(self, storage: Storage) -> Tensor:
        if storage.key not in self._numbers:
            nbytes = storage.whole * storage.dtype.itemsize
            self._unread -= nbytes
            if self._unread < 0:
                raise Refused(f"needs a storage of {nbytes:,} bytes; so much is not in the file")
            raw = bytearray(self._raw(storage.key, nbytes))
            empty = torch.empty(0, dtype=storage.dtype)
            self._numbers[storage.key] = torch.frombuffer(raw, dtype=storage.dtype) if raw else empty
        return self._numbers[storage.key][storage.start : storage.start + storage.size]

    def _outside(self, pid: Any) -> Any:
        """The thing that a persistent id stands for: a storage, or in the old format also a class."""
        if isinstance(pid, tuple) and len(pid) >= 2 and pid[0] == "module" and isinstance(pid[1], Name):
            return pid[1]
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage" or not isinstance(pid[1], Name):
            raise Refused("refers to something outside the file")
        kind, key, whole = pid[1], pid[2], pid[4]
        if kind.module.split(".")[0] != "torch" or kind.name not in _STORAGES:
            raise Refused(f"has a storage of type {kind}, which no network needs")
        if not isinstance(key, str) or type(whole) is not int or whole < 0:
            raise Refused("has a storage without a name or a size")
        start, size = 0, whole
        if len(pid) == 6 and pid[5] is not None:  # a part of a storage, in files of torch before 0.4
            if not isinstance(pid[5], tuple) or len(pid[5]) != 3 or any(type(v) is not int for v in pid[5][1:]):
                raise Refused("has a part of a storage without a size")
            start, size = pid[5][1:]
            if start < 0 or size < 0 or start + size > whole:
                raise Refused("has a part of a storage that does not lie within it")
        storage = Storage(key, _STORAGES[kind.name], start, size, whole)
        first = self._storages.setdefault(key, storage)
        if (first.dtype, first.whole) != (storage.dtype, storage.whole):
            raise Refused(f"describes storage {one_line(key)} in two ways")
        return storage

    def _open_zip(self) -> None:
        # It stays open: to read its list for every storage would take minutes.
        archive = open_zip(self.path, most_bytes=self._unread)
        entries = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise Refused("is a zip file, but not one of torch")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}constants.pkl" in entries:
            raise Refused("is a TorchScript file; save the network's state_dict() instead")
        if f"{folder}byteorder" in entries and _stored(archive, entries[f"{folder}byteorder"], 8) != b"little":
            raise Refused("was written on a machine of another byte order; save it again on this one")
        program = _stored(archive, entries[pickles[0]], self._unread)
        self.value = Unpickler(program, self._outside).load()

        def raw(key: str, nbytes: int) -> bytes:
            info = entries.get(f"{folder}data/{key}")
            if info is None or info.file_size != nbytes:
                raise Refused(f"needs storage {one_line(key)} of {nbytes:,} bytes, which is not in the file")
            return _stored(archive, info, nbytes)

        self._raw = raw

    def _open_legacy(self) -> None:
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            machine = Unpickler(memory, self._outside)
            if memory[:1] != b"\x80" or machine.load() != _MAGIC:
                raise Refused("is not a torch file")
            version, system = machine.load(), machine.load()
            if version != _LEGACY_VERSION or not isinstance(system, dict):
                raise Refused("is a torch file of an unknown version")
            if system.get("little_endian") is not True:
                raise Refused("was written on a machine of another byte order; save it again on this one")
            self.value = machine.load()
            keys = machine.load()
            if not isinstance(keys, list) or any(not isinstance(key, str) for key in keys):
                raise Refused("has no list of its storages")
            places = self._places(machine.offset, keys)

        def raw(key: str, nbytes: int) -> bytes:
            if key not in places:
                raise Refused(f"needs storage {one_line(key)}, which is not in the file")
            with self.path.open("rb") as file:
                file.seek(places[key])
                return file.read(nbytes)

        self._raw = raw

    def _places(self, place: int, keys: list[str]) -> dict[str, int]:
        """Where the numbers of each storage start: they follow one after the other, each after its size."""
        places, end = {}, self._unread
        with self.path.open("rb") as file:
            for key in keys:
                file.seek(place)
                count = int.from_bytes(file.read(8), "little", signed=True)
                storage = self._storages.get(key)
                if storage is None or count != storage.whole:
                    raise Refused(f"is damaged: storage {one_line(key)} is not as the pickle describes it")
                places[key] = place + 8
                place += 8 + count * storage.dtype.itemsize
                if place > end:
                    raise Refused("is truncated")
        return places


def _is(value: Any, names: set[Name]) -> bool:
    return isinstance(value, Name) and value in names


def _plain_size(value: Any) -> tuple[Any, ...]:
    if isinstance(value, Made) and value.by == Name("torch", "Size") and isinstance(value.args, tuple):
        value = value.args[0] if value.args else ()
    if not isinstance(value, tuple | list):
        raise Refused("has a shape that no tensor has")
    return tuple(value)


def _stored(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    """The bytes of an entry; torch compresses nothing, and what is not compressed is no larger than the file."""
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > most:
        raise Refused(f"has a compressed or oversized entry {one_line(info.filename)}, which torch does not write")
    return archive.read(info)
