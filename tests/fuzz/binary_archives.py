"""Targets: TFRecord files, NumPy archives, zip files of results, compressed CSV files and images."""

# ruff: noqa: E501  (tables of bytes)
from __future__ import annotations

import base64
import gzip
import io
import json
import random
import shutil
import struct
import warnings
import zipfile
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from prejudge.benchmarks.importers.csv import import_csv
from prejudge.benchmarks.importers.nasbench101.importer import read_file
from prejudge.benchmarks.importers.nasbench301 import import_nasbench301
from prejudge.benchmarks.importers.npz import import_npz
from prejudge.data.folder import read_folder
from prejudge.data.npz import read_npz
from prejudge.formats.tfrecord import masked_crc32c
from prejudge.spaces import space
from tests.fuzz.harness import file_target

_NAMES = ("../x", "/etc/x", "..\\x", "C:/x", "a/../../x", "x.npy", "results_1.json", "results_1.json", "", "x" * 500)


def _zip(entries: dict[str, bytes], rng: random.Random | None = None) -> bytes:
    """An archive, with entries that no program writes where random numbers are given."""
    memory = io.BytesIO()
    deflated = rng is None or rng.random() < 0.5
    with (
        zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as archive,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        for name, data in entries.items():
            archive.writestr(name, data)
        if rng is not None and rng.random() < 0.5:
            odd = zipfile.ZipInfo(rng.choice((*_NAMES, *entries)))
            odd.external_attr = rng.choice((0, 0o120777, 0o060777, 0o100644)) << 16
            odd.compress_type = rng.choice((0, 8, 12, 14))
            archive.writestr(odd, rng.choice((b"", b"/etc/passwd", bytes(100_000), *entries.values())))
    data = bytearray(memory.getvalue())
    if rng is not None and rng.random() < 0.3:
        at = rng.choice((data.find(b"PK\x01\x02"), data.rfind(b"PK\x01\x02"), data.find(b"PK\x03\x04")))
        place = at + rng.choice((6, 8, 10, 18, 20, 22, 24, 42))
        data[place : place + 4] = rng.choice(
            (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\0\0\0", b"\0\0\0\x10", b"\0\0\0\x7f")
        )
    return bytes(data)


def _npy(array: np.ndarray) -> bytes:
    memory = io.BytesIO()
    np.lib.format.write_array(memory, array)
    return memory.getvalue()


def _odd_npy(rng: random.Random) -> bytes:
    shape = rng.choice(("(2,)", "()", "(2, 4, 4, 3)", "(1099511627776,)", "(-1,)", "(0, 1099511627776)", "(2" * 3000, "x",
                        "(1,) * 99", "[2]", "(2.0,)", "(True,)", "None", "(2**70,)"))  # fmt: skip
    kind = rng.choice(("'<f8'", "'|u1'", "'|O'", "'<i8'", "'<U9'", "'|V0'", "[('a', '<f8')]", "'|S2000000000'", "'x'", "'<M8'",
                       "'>f8'", "'<c16'", "('<f8', (3,))", "'\\ud800'"))  # fmt: skip
    text = f"{{'descr': {kind}, 'fortran_order': {rng.choice(('False', 'True', '1', 'x'))}, 'shape': {shape}, }}\n"
    header = text.encode()
    version = rng.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", rng.choice((len(header),) * 5 + (0, 65535)) & 65535)
    return b"\x93NUMPY" + version + length + header + bytes(rng.choice((0, 16, 96, 2, 50_000)))


_SHAPES = ((2,), (2, 4, 4, 3), (2, 4, 4), (0,), (), (3,), (2, 1), (2, 16), (2, 5), (1, 1, 1, 50_000), (2, 3, 4, 9))
_KINDS = ("u1", "i8", "f8", "f4", "u8", "i1", "?", "U20", "S20", "c8", "M8[s]", ">i4")


def _odd_array(rng: random.Random) -> bytes:
    if rng.random() < 0.4:
        return _odd_npy(rng)
    array = np.zeros(rng.choice(_SHAPES), rng.choice(_KINDS))
    if array.dtype.kind in "iuf" and array.size:
        limits = np.iinfo(array.dtype) if array.dtype.kind in "iu" else np.finfo(array.dtype)
        array[...] = rng.choice((0, 1, 2, limits.max, limits.min))
    return _npy(array)


def _odd_archive(rng: random.Random, arrays: dict[str, np.ndarray], more: tuple[str, ...]) -> bytes:
    entries = {f"{name}.npy": _npy(array) for name, array in arrays.items()}
    for _ in range(rng.choice((1, 1, 2, 4))):
        name = rng.choice((*arrays, *more))
        if rng.random() < 0.15:
            entries.pop(f"{name}.npy", None)
        else:
            entries[f"{name}.npy"] = _odd_array(rng)
    return _zip(entries, rng)


_IMAGES = {"x": np.zeros((2, 4, 4, 3), np.uint8), "y": np.array([0, 1])}
_201 = space("nasbench201")
_LISTED = {"architectures": np.array([str(_201[i]) for i in range(2)]), "cifar10_test_200ep": np.array([90.0, 80.0])}
_CELLS = {
    "hash": np.frombuffer(bytes.fromhex("00005c142e6f48ac74fdcf73e3439874"), np.uint8)[None],
    "num_vertices": np.array([7]), "adjacency_bits": np.array([5]), "ops": np.zeros((1, 5), np.int8),
    "test_acc_108": np.array([0.9]),
}  # fmt: skip


def _import(path: Path, read: Any) -> None:
    Path("t.h5").unlink(missing_ok=True)
    read(path, "t.h5")


def _varint(n: int) -> bytes:
    return bytes([n & 127 | 128]) + _varint(n >> 7) if n > 127 else bytes([n])


def _record(payload: bytes, rng: random.Random | None = None) -> bytes:
    length = struct.pack("<Q", len(payload))
    if rng is not None and rng.random() < 0.1:
        length = struct.pack("<Q", rng.choice((0, 1, 2**24, 2**24 + 1, 2**31, 2**40, 2**63, 2**64 - 1)))
    return length + struct.pack("<I", masked_crc32c(length)) + payload + struct.pack("<I", masked_crc32c(payload))


def _metrics(rng: random.Random | None = None) -> bytes:
    evaluations = b""
    for epoch in (0.0, 54.0, 108.0):
        doubles = b"".join(
            bytes([field << 3 | 1]) + struct.pack("<d", v) for field, v in enumerate((epoch, 9, 0.9, 0.8, 0.8), 1)
        )
        if rng is not None and rng.random() < 0.3:
            doubles += rng.choice(
                (b"\x80" * 9 + b"\x01", b"\x32" + _varint(2**40), b"\x31", b"\x0d1234", b"\x0b", b"\0", b"\xff" * 11)
            )
        size = len(doubles) if rng is None or rng.random() < 0.9 else rng.choice((0, 2**31, 2**63, 2**69))
        evaluations += b"\x0a" + _varint(size) + doubles
    params = 8_555_530 if rng is None else rng.choice((0, 2**31, 2**64, 2**69, 8_555_530))
    return evaluations + b"\x10" + _varint(params) + b"\x19" + struct.pack("<d", 1e4)


_101 = ("00005c142e6f48ac74fdcf73e3439874", "0100100001000000001000010000001000000100000001", "x")


@cache
def _cell() -> tuple[str, str, str]:
    where = space("nasbench101")
    arch = where.parse({"matrix": [[0, 1, 0], [0, 0, 1], [0, 0, 0]], "ops": ["input", "conv3x3-bn-relu", "output"]})
    return where.canonical(arch), "010001000", "input,conv3x3-bn-relu,output"


def _tfrecord(rng: random.Random | None = None) -> bytes:
    records = []
    for number in range(4 if rng is None else rng.choice((1, 4, 12))):
        key, adjacency, operations = _cell()
        row: list[Any] = [
            key,
            108 if number % 2 else 4,
            adjacency,
            operations,
            base64.b64encode(_metrics(rng)).decode(),
        ]
        if rng is not None and rng.random() < 0.3:
            row[rng.randrange(5)] = rng.choice((
                "", "x", 1, -1, 2**70, None, [], "0" * 32, key[:-1] + "\u00e9", adjacency * 40, "1" * 9, "input", "a" * 9999, 9999,
                "input," * 40, base64.b64encode(bytes(90)).decode(), "=", "A===", "input,nothing,output", number + 5, 1e308, True,
            ))  # fmt: skip
        text = json.dumps(row)
        if rng is not None and rng.random() < 0.1:
            text = rng.choice(
                (text[:-1], text * 2, "[" * 5000, text.replace(", ", ","), "NaN", "", text.replace("0", "\\u0030", 1))
            )
        records.append(_record(text.encode(), rng))
    return b"".join(records)


@cache
def _result() -> str:
    rng = np.random.default_rng(0)
    config = {"NetworkSelectorDatasetInfo:darts:layers": 8, "NetworkSelectorDatasetInfo:darts:init_channels": 16}
    genotype = space("darts").sample(rng)
    for cell in ("normal", "reduce"):
        edges = getattr(genotype, cell)
        for node in range(4):
            first, second = sorted(edges[2 * node : 2 * node + 2], key=lambda edge: edge[1])
            start = sum(range(2, 2 + node))
            for operation, source in (first, second):
                config[f"NetworkSelectorDatasetInfo:darts:edge_{cell}_{start + source}"] = operation
            config[f"NetworkSelectorDatasetInfo:darts:inputs_node_{cell}_{node + 2}"] = f"{first[1]}_{second[1]}"
    info = {"train_accuracy": 99.0, "val_accuracy": 90.0, "train_cross_entropy": 0.1, "val_cross_entropy": 0.4,
            "model_parameters": 1e6}  # fmt: skip
    curves = {"Train/train_accuracy": [10.0, 99.0], "Train/val_accuracy": [9.0, 90.0]}
    return json.dumps({"optimized_hyperparamater_config": config, "info": [info], "budget": 50, "runtime": 9.0,
                       "test_accuracy": 91.0, "learning_curves": curves})  # fmt: skip


def _odd_result(rng: random.Random) -> bytes:
    whole = [json.loads(_result())]
    for _ in range(rng.choice((1, 1, 3))):
        at: Any = whole
        key: Any = 0
        while isinstance(at[key], dict | list) and at[key] and rng.random() < 0.9:
            at = at[key]
            key = rng.choice(list(at)) if isinstance(at, dict) else rng.randrange(len(at))
        at[key] = rng.choice((None, True, 0, -1, 10**400, 1e308, float("inf"), float("nan"), "", "x", [], {}, [[]], "0_1", 2**63, 1.5,
                              "none", "sep_conv_3x3", [None], ["x"], [1e308, -1e308], {"x": 1}))  # fmt: skip
        if not isinstance(whole[0], dict):
            break
    text = json.dumps(whole[0])
    return (text if rng.random() < 0.9 else rng.choice(("[" * 9000, "1" * 9000, "", '{"a":' * 9000))).encode()


def _results(rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return _odd_result(rng)
    return _zip({f"r/results_{n}.json": _odd_result(rng) for n in range(rng.choice((1, 2)))}, rng)


def _read_results(path: Path) -> None:
    _import(path, lambda source, out: import_nasbench301(source, out, curves=True))


def _csv() -> list[bytes]:
    text = "arch_str,cifar10_test_200ep\n" + "".join(f"{_201[i]},{80 + i}\n" for i in range(3))
    return [gzip.compress(text.encode(), mtime=0), gzip.compress(text.encode(), mtime=0) * 3,
            gzip.compress(bytes(2_000_000), mtime=0)]  # fmt: skip


def _pictures() -> list[bytes]:
    rng = np.random.default_rng(0)
    made = []
    for mode, formats in (("RGB", ("png", "jpeg", "bmp", "gif", "webp", "tiff", "ppm")), ("L", ("png", "jpeg", "tiff", "pgm")),
                          ("P", ("png", "gif", "bmp")), ("RGBA", ("png", "webp", "tiff")), ("I;16", ("png", "tiff"))):  # fmt: skip
        shape = (6, 5, len(mode)) if mode in ("RGB", "RGBA") else (6, 5)
        pixels = rng.integers(0, 256, shape).astype(np.uint16 if mode == "I;16" else np.uint8)
        image = Image.fromarray(pixels) if mode != "P" else Image.fromarray(pixels).convert("P")
        for name in formats:
            memory = io.BytesIO()
            image.save(memory, "ppm" if name == "pgm" else name)
            made.append(memory.getvalue())
    bombs = [
        _png(*size) for size in ((60_000, 60_000), (8192, 8192), (67_000_000, 1), (2**31 - 1, 2**31 - 1), (1, 6000))
    ]
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 5\n%%EndComments\n(executed) (w) file closefile\nshowpage\n"
    return [*made, *bombs, eps, b"8BPS\0\x01", b"\xd7\xcd\xc6\x9a" + bytes(40), b"<svg/>", b"P6 99999 99999 255\n",
            b"P6 4 4 999999999999\n" + bytes(48)]  # fmt: skip


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(100_000)))
        + chunk(b"IEND", b"")
    )


def _read_picture(path: Path) -> None:
    folder = Path("images") / "a"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, folder / "x.png")
    read_folder(Path("images"), "train", size=4)


_ZIP_TOKENS = (
    b"PK\x03\x04",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"PK\x06\x06",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\x08\0",
    b"..",
)

file_target(
    "npz-images", "f.npz", lambda path: read_npz(path, "train"),
    lambda: [_zip({f"{k}.npy": _npy(v) for k, v in _IMAGES.items()})], (*_ZIP_TOKENS, b"\x93NUMPY", b"'|O'", b"(9999999999,)"),
    generate=lambda rng: _odd_archive(rng, _IMAGES, ("num_classes", "x_train", "y_train", "x_test", "y_test")),
)  # fmt: skip
file_target(
    "npz-table", "f.npz", lambda path: _import(path, import_npz),
    lambda: [_zip({f"{k}.npy": _npy(v) for k, v in _LISTED.items()}), _zip({f"{k}.npy": _npy(v) for k, v in _CELLS.items()})],
    (*_ZIP_TOKENS, b"\x93NUMPY", b"'|O'", b"(9999999999,)"),
    generate=lambda rng: _odd_archive(rng, rng.choice((_LISTED, _CELLS)), ("params", "cifar10_test_12ep", "flops_x", "valid_acc_4")),
)  # fmt: skip
file_target(
    "tfrecord",
    "f.tfrecord",
    read_file,
    lambda: [_tfrecord()],
    (b"\x80" * 10, b'", "', b"\\n", b"\xff" * 8),
    generate=_tfrecord,
)
file_target(
    "nasbench301", "results_1.json", _read_results, lambda: [_result().encode(), _zip({"r/results_1.json": _result().encode()})],
    (*_ZIP_TOKENS, b"Infinity", b"NaN", b"1e999", b"null", b"[" * 900), generate=_results,
)  # fmt: skip
file_target("csv-gz", "f.csv.gz", lambda path: _import(path, import_csv), _csv, (b"\x1f\x8b\x08", b"\0\0\0\xff"))
file_target("images", "x.png", _read_picture, _pictures, (b"IHDR", b"IDAT", b"acTL", b"iCCP", b"zTXt", b"\xff\xd8", b"\xff\xc0", b"II*\0",
            b"RIFF", b"WEBPVP8 ", b"GIF89a", b"BM", b"P6\n", b"\xff\xff\xff\x7f", b"\0\0\0\0"), generate=None)  # fmt: skip
