"""Targets: every reader of pickles, which never run one."""

# ruff: noqa: E501  (tables of bytes)
from __future__ import annotations

import bz2
import io
import os
import pickle
import pickletools
import random
import struct
import zipfile
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.benchmarks.importers.nasbench201.official_file import iter_architectures, recognize
from prejudge.benchmarks.importers.nasbench201.trials import MalformedTrial, Trials
from prejudge.cache import ScoreCache, import_pickles
from prejudge.errors import FileFormatError
from prejudge.formats.pickle.files import read_pickles
from prejudge.formats.pickle.unpickler import Unpickler
from tests.benchmarks.importers import official_files
from tests.fuzz.harness import SENTINEL, file_target
from tests.hostile_pickles import Call

_CODES = [op.code.encode("latin-1") for op in pickletools.opcodes]
_NAMES = [
    ("os", "system"), ("posix", "system"), ("builtins", "eval"), ("builtins", "exec"), ("builtins", "getattr"),
    ("numpy", "load"), ("numpy", "dtype"), ("numpy", "ndarray"), ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"), ("_codecs", "encode"), ("collections", "OrderedDict"), ("builtins", "bytes"),
    ("builtins", "set"), ("torch._utils", "_rebuild_tensor_v2"), ("torch", "FloatStorage"), ("pathlib", "Path.touch"),
    ("numpy._core.numeric", "_frombuffer"), ("collections", "defaultdict"), ("builtins", "list"), ("__main__", "x"),
]  # fmt: skip


def _bombs() -> list[bytes]:
    """Pickles that are small, and large or endless where they are read in the obvious way."""
    lists = b"]q\x00" + b"".join(b"]q" + bytes([n]) + b"(h" + bytes([n - 1]) * 1 + b"h" + bytes([n - 1]) + b"e"
                                 for n in range(1, 60))  # fmt: skip
    tuples = b"K\x01" + b"".join(b"q\x01h\x01\x86" for _ in range(60))
    return [
        b"\x80\x04" + lists + b".",
        b"\x80\x04}" + tuples + b"K\x01s.",
        b"\x80\x04" + b"]" * 3_000 + b"a" * 2_999 + b".",
        b"\x80\x04" + b"(" * 3_000 + b".",
        b"\x80\x04" + b"K\x01" + b"\x85" * 3_000 + b".",
        b"\x80\x04K\x01r\xff\xff\xff\x7f.", b"\x80\x04K\x01r\xff\xff\xff\xff.", b"\x80\x04j\xff\xff\xff\xff.",
        b"\x80\x04X\xff\xff\xff\xff.", b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x04B\xff\xff\xff\x7f.", b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\xff.", b"\x80\x04\x8e\xff\xff\xff\xff.",
        b"\x80\x04\x8b\xff\xff\xff\x7f.", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xffN.", b"\x82\x01.", b"P0\n.", b"Q.",
        pickle.dumps(1 << 20_000), pickle.dumps({"arch": "x", "logmeasures": {"snip": 1 << 20_000}}),
        pickle.dumps({"arch": "x", "logmeasures": {"snip": [[[["1"]]]] * 50, ("a", 1): "é" * 999, None: "\ud800"}}),
        pickle.dumps(Call(os.system, f"touch {SENTINEL}")), pickle.dumps({"data": Call(eval, f"open({SENTINEL!r}, 'w')")}),
        f"cos\nsystem\n(S'touch {SENTINEL}'\ntR.".encode(), f"(S'touch {SENTINEL}'\nios\nsystem\n.".encode(),
        f"(cos\nsystem\nS'touch {SENTINEL}'\no.".encode(), pickle.dumps(np.zeros(0)), pickle.dumps(np.zeros((0, 5))),
        pickle.dumps(np.array([None], dtype=object)), pickle.dumps(np.zeros(1, "f8,i4")),
    ]  # fmt: skip


def _program(rng: random.Random) -> bytes:
    """Opcodes at random, with arguments that fit them more often than not."""
    parts = [rng.choice((b"", b"\x80\x02", b"\x80\x04", b"\x80\x05", b"\x80\xff"))]
    parts += [_instruction(rng) for _ in range(rng.choice((3, 8, 20, 60, 200)))]
    return b"".join(parts) + b"."


def _instruction(rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.25:
        return rng.choice((b"(", b"}", b"]", b")", b"N", b"\x88", b"\x89", b"0", b"2", b"1", b"\x94", b"\x8f"))
    if kind < 0.5:
        return rng.choice((b"s", b"u", b"a", b"e", b"t", b"\x85", b"\x86", b"\x87", b"d", b"l", b"R", b"b", b"\x81", b"o",
                           b"\x90", b"\x91", b"\x92", b"Q", b"\x93"))  # fmt: skip
    if kind < 0.6:
        module, name = rng.choice(_NAMES)
        if rng.random() < 0.5:
            return f"c{module}\n{name}\n".encode()
        return _text(module) + _text(name) + b"\x93"
    if kind < 0.75:
        return _text(rng.choice(("a", "arch", "logmeasures", "hash", "data", "labels", "latin1", "f8", "O", "<", "é" * 9,
                                 f"touch {SENTINEL}", "arch2infos", "meta_archs", "x" * 300)))  # fmt: skip
    if kind < 0.85:
        return rng.choice((b"q", b"h")) + bytes([rng.choice((0, 1, 2, 3, 255))])
    if kind < 0.9:
        return rng.choice((b"r", b"j")) + struct.pack("<I", rng.choice((0, 1, 2, 2**20, 2**31, 2**32 - 1)))
    if kind < 0.97:
        return rng.choice((
            b"K" + rng.randbytes(1), b"J" + rng.randbytes(4), b"M" + rng.randbytes(2), b"G" + rng.randbytes(8),
            b"\x8a" + bytes([n := rng.randrange(12)]) + rng.randbytes(n), b"I%d\n" % rng.randrange(-9, 10**9),
            b"L" + b"9" * rng.choice((1, 30, 5000)) + b"L\n", b"F1e999\n", b"S'a'\n", b"Va\\ud800\n", b"p0\n", b"g0\n",
            b"C" + bytes([n := rng.randrange(20)]) + rng.randbytes(n), b"T\x02\0\0\0\xe9a", b"U\x01a", b"\x82\x01",
            b"B" + struct.pack("<I", rng.choice((1, 2**31))) + b"a", b"X" + struct.pack("<I", rng.choice((1, 9, 2**32 - 1)))
            + b"a", b"\x95" + rng.randbytes(8), b"ios\nsystem\n", b"Pa\n", b"\x96" + struct.pack("<Q", 3) + b"abc",
        ))  # fmt: skip
    return rng.choice(_CODES)


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


_TOKENS = (*_CODES, *(f"c{m}\n{n}\n".encode() for m, n in _NAMES), b"\xff\xff\xff\x7f", b"\xff" * 8, b"\x80\x02")


def _scores() -> list[bytes]:
    records = [
        {"i": i, "arch": "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", "logmeasures":
         OrderedDict(snip=np.float64(i), zen=np.float32(2), x=np.arange(3.0), y="no", z=None)} for i in range(3)
    ]  # fmt: skip
    made = [b"".join(pickle.dumps(r, protocol) for r in records) for protocol in (2, 4)]
    return [*made, pickle.dumps(records, 0), *_bombs()]


def _import_scores(path: Path) -> None:
    for _ in read_pickles(path):
        pass
    Path("scores.h5").unlink(missing_ok=True)
    Path("scores.h5.journal").unlink(missing_ok=True)
    with ScoreCache("scores.h5") as scores:
        import_pickles(scores, path)


def _read_scores(path: Path) -> None:
    for _ in read_pickles(path):
        pass


def _images() -> list[bytes]:
    rng = np.random.default_rng(0)
    value = {"data": rng.integers(0, 256, (2, 768), dtype=np.uint8), "labels": [1, 2], "mean": np.zeros(3)}
    return [*(pickle.dumps(value, protocol) for protocol in (2, 4, 5)), *_bombs()]


def _read_images(path: Path) -> None:
    from prejudge.data.published import _imagenet16_batch

    _imagenet16_batch(path)


def _unpickle(path: Path) -> None:
    Unpickler(path.read_bytes(), lambda pid: None).load()


@cache
def _content() -> Any:
    """What a file of one architecture with two short trainings holds."""
    chosen = {(12, "cifar10-valid"): (111, 777), (200, "cifar100"): ()}
    return official_files.contents(1, chosen=chosen)


def _official() -> list[bytes]:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(_content(), 2))
    return [official_files.legacy_bytes(_content()), memory.getvalue(), bz2.compress(pickle.dumps(_content(), 4)),
            *_bombs(), *(bz2.compress(bomb) for bomb in _bombs()),
            *(bz2.compress(b"\x80\x04" + piece * (200_000 // len(piece))) for piece in (b"]", b"(", b"\0", b"K\0")),
            ]  # fmt: skip


_ODD = (None, True, 0, -1, 3, 2**31, 2**62, 1e308, float("nan"), "", "x", "777", "less", [], {}, (), [1], {"a": 1}, b"x",
        set(), ("cifar100", 777), [[]], {0: None}, 10**15)  # fmt: skip


def _official_content(rng: random.Random) -> bytes:
    """A file in which values are of another type, missing, or there twice."""
    whole: list[Any] = [pickle.loads(pickle.dumps(_content()))]
    for _ in range(rng.choice((1, 1, 2, 4))):
        at: Any = whole
        key: Any = 0
        while isinstance(at[key], dict | list) and at[key] and rng.random() < 0.9:
            at = at[key]
            key = rng.choice(list(at)) if isinstance(at, dict) else rng.randrange(len(at))
        kind = rng.random()
        if kind < 0.2 and isinstance(at, dict):
            del at[key]
        elif kind < 0.4 and isinstance(at, dict):
            at[rng.choice([k for k in _ODD if isinstance(k, str | int | tuple | float)])] = at[key]
        else:
            at[key] = rng.choice(_ODD)
        if not whole or not isinstance(whole[0], dict | list):
            break
    made = pickle.dumps(whole[0], rng.choice((2, 4)))
    return bz2.compress(made, 1) if rng.random() < 0.3 else official_files.legacy_bytes(whole[0])


def _read_official(path: Path) -> None:
    file = recognize(path)
    trials = Trials(2, (12,))
    for index, _, results in iter_architectures(file, partial=True):
        try:
            trials.add(index % 2, results)
        except MalformedTrial as error:
            raise FileFormatError(f"{path}: {error}") from error
    trials.columns()
    trials.extras()
    trials.curves()


file_target("pickle-scores", "f.p", _read_scores, _scores, _TOKENS, generate=_program)
file_target("pickle-scores-import", "f.p", _import_scores, _scores, _TOKENS, generate=_program)
file_target("pickle-images", "f", _read_images, _images, _TOKENS, generate=_program)
file_target("pickle-unpickler", "f.pkl", _unpickle, _scores, _TOKENS, generate=_program)
file_target("pickle-official", "f.pth", _read_official, _official, _TOKENS,
            generate=lambda rng: _official_content(rng) if rng.random() < 0.7 else bz2.compress(_program(rng), 1))  # fmt: skip
