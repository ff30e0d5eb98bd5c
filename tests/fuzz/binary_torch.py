"""Targets: files of networks, whoever wrote them, and checkpoints."""

# ruff: noqa: E501  (tables of bytes)
from __future__ import annotations

import io
import os
import pickle
import random
import warnings
import zipfile
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any

import torch

from prejudge.spaces import space
from prejudge.train.checkpoint import CheckpointManager, read_checkpoint
from prejudge.train.export.stored_network import read_network
from prejudge.train.export.third_party import read_model, read_state_dict
from prejudge.train.export.weights import export_weights, load_weights
from tests.fuzz.binary_pickles import _TOKENS, _bombs, _program
from tests.fuzz.harness import SENTINEL, file_target
from tests.hostile_pickles import Call
from tests.train.hostile_files import MAGIC, Outside, program, rebuild, storage

_SPACE = space("nasbench201")
_NUMBERS = {"channels": 2, "cells": 1}
_ODD: tuple[Any, ...] = (0, -1, 1, 3, 4, 5, 2**31, 2**63 - 1, -(2**63), 1.5, None, "0", "x", b"0", (), (4,), (2, 2), [4],
                         (2**31, 2**31), (-4,), (1,) * 40, {}, "storage", True)  # fmt: skip


@cache
def _files() -> dict[str, bytes]:
    import tempfile

    torch.manual_seed(0)
    network = _SPACE.network(_SPACE[5], **_NUMBERS)
    made: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export_weights(network, Path(folder) / "w.safetensors", space=_SPACE, architecture=_SPACE[5], macro=_NUMBERS)
        made["safetensors"] = (Path(folder) / "w.safetensors").read_bytes()
        plan = {"space": "nasbench201", "architecture": str(_SPACE[5]), "macro": _NUMBERS}
        CheckpointManager(Path(folder) / "c", plan).save(
            1, {"learner": {"network": network.state_dict()}, "seed": 3, "rng": b"x"}
        )
        made["checkpoint"] = (Path(folder) / "c" / "last.pt").read_bytes()
    small = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    for name, value in (
        ("state", small.state_dict()),
        ("model", small),
        ("nested", {"state_dict": small.state_dict()}),
    ):
        for new in (True, False):
            memory = io.BytesIO()
            torch.save(value, memory, _use_new_zipfile_serialization=new)
            made[f"{name} {new}"] = memory.getvalue()
    return made


def _zip(content: bytes, rng: random.Random) -> bytes:
    """A torch file around a pickle, not always as torch writes one."""
    memory = io.BytesIO()
    how = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(memory, "w", how) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        archive.writestr(rng.choice(("archive/data.pkl",) * 6 + ("data.pkl", "/data.pkl", "../data.pkl")), content)
        for _ in range(rng.choice((1, 1, 1, 2))):
            name = rng.choice(("archive/data/0",) * 6 + ("../../x", "/tmp/x", "C:\\x", "archive/data.pkl"))
            archive.writestr(name, bytes(rng.choice((16, 16, 16, 0, 15, 100_000))))
        if rng.random() < 0.1:
            link = zipfile.ZipInfo("archive/link")
            link.external_attr = 0o120777 << 16
            archive.writestr(link, "/etc/passwd")
    data = bytearray(memory.getvalue())
    if rng.random() < 0.2:  # lying sizes
        at = data.rfind(b"PK\x01\x02")
        place = at + rng.choice((8, 10, 20, 24, 42))
        data[place : place + 4] = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\0\0\0", b"\0\0\0\x10"))
    return bytes(data)


def _one(rng: random.Random, value: Any) -> Any:
    return rng.choice(_ODD) if rng.random() < 0.25 else value


def _described(rng: random.Random) -> bytes:
    """A state dict in which what describes the tensors is not right."""
    kind = rng.choice((torch.FloatStorage, torch.FloatStorage, torch.LongStorage, torch.BoolStorage, torch.Tensor, int))
    stored = Outside((_one(rng, "storage"), kind, _one(rng, "0"), _one(rng, "cpu"), _one(rng, 4)))
    tensor = rebuild(stored, _one(rng, 0), _one(rng, (4,)), _one(rng, (1,)))
    other = Call(rng.choice((os.system, eval, getattr, OrderedDict, torch.nn.Linear, torch.load)),
                 *[rng.choice((f"touch {SENTINEL}", tensor, 1)) for _ in range(rng.randrange(3))])  # fmt: skip
    value: Any = {"weight": tensor, "bias": rng.choice((tensor, other, storage(), *_ODD))}
    if rng.random() < 0.4:
        plan = {
            "space": _one(rng, "nasbench201"),
            "architecture": _one(rng, str(_SPACE[5])),
            "macro": _one(rng, _NUMBERS),
        }
        state = _one(rng, {"learner": _one(rng, {"network": _one(rng, value)})})
        value = {"format": "prejudge checkpoint", "version": _one(rng, 1), "plan": _one(rng, plan),
                 "epoch": _one(rng, 1), "state": state}  # fmt: skip
    try:
        content = program(value)
    except (TypeError, ValueError, OverflowError, pickle.PicklingError):
        content = program(None)
    if rng.random() < 0.3:
        return (
            b"".join(program(part) for part in MAGIC) + content + program(["0"]) + (4).to_bytes(8, "little") + bytes(16)
        )
    return _zip(content, rng)


def _generated(rng: random.Random) -> bytes:
    return _described(rng) if rng.random() < 0.7 else _zip(_program(rng), rng)


def _seeds(first: str) -> list[bytes]:
    files = _files()
    return [files[first], *(data for name, data in files.items() if name != first and "safe" not in name), *_bombs()]


def _read_foreign(path: Path) -> None:
    read_state_dict(path)
    read_model(path)


file_target("torch-foreign", "f.pth", _read_foreign, lambda: _seeds("model True"), _TOKENS, generate=_generated)
file_target("torch-checkpoint", "last.pt", read_checkpoint, lambda: _seeds("checkpoint"), _TOKENS, generate=_generated)
file_target("torch-network", "f.pt", read_network, lambda: _seeds("checkpoint"), _TOKENS, generate=_generated)
file_target(
    "safetensors", "f.safetensors", load_weights, lambda: [_files()["safetensors"]],
    (b'"dtype":"F32"', b'"shape":[2,2]', b'"data_offsets":[0,16]', b"[18446744073709551615]", b'"macro":"{}"', b"\\u0000"),
)  # fmt: skip
