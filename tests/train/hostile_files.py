"""Pickles and torch files made by hand, as no program would write them."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from tests.hostile_pickles import Call

MAGIC = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}]
"""What a file of the format before the zip format starts with, pickle by pickle."""


class Outside:
    """Pickled as a reference to something outside."""

    def __init__(self, pid: Any):
        self.pid = pid


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return obj.pid if isinstance(obj, Outside) else None


def program(value: Any) -> bytes:
    file = io.BytesIO()
    _Pickler(file, 2).dump(value)
    return file.getvalue()


def storage(key: Any = "0", size: Any = 4, kind: Any = torch.FloatStorage, *more: Any) -> Outside:
    return Outside(("storage", kind, key, "cuda:0", size, *more))


def rebuild(at: Any = None, offset: Any = 0, size: Any = (4,), stride: Any = (1,)) -> Call:
    return Call(torch._utils._rebuild_tensor_v2, at or storage(), offset, size, stride, False, OrderedDict())


def write_zip(path: Path, content: bytes, numbers: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content)
        for key, raw in numbers.items():
            archive.writestr(f"archive/data/{key}", raw)
