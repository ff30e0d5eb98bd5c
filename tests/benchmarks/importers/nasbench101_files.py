"""Fabricates files in the published format of NAS-Bench-101 and reads them as plainly as can be; nothing is measured.

Accuracies and times are doubles that come from float32, as those of the published files do.
"""

from __future__ import annotations

import base64
import json
import random
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from prejudge.formats.tfrecord import masked_crc32c

FIELDS = ("current_epoch", "training_time", "train_accuracy", "validation_accuracy", "test_accuracy")
IMAGES = 9984
"""Images that an accuracy is a mean over: 39 batches of 256."""

Cell = tuple[str, str, str]
"""Hash, adjacency digits, operations."""


def frame(payload: bytes) -> bytes:
    """One record of a TFRecord file."""
    length = struct.pack("<Q", len(payload))
    checksums = [struct.pack("<I", masked_crc32c(part)) for part in (length, payload)]
    return b"".join([length, checksums[0], payload, checksums[1]])


def write_tfrecord(path: Path, payloads: Iterable[bytes]) -> Path:
    with path.open("wb") as file:
        file.writelines(map(frame, payloads))
    return path


def varint(value: int) -> bytes:
    digits = bytearray()
    value &= 2**64 - 1
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


def tagged(field: int, kind: int, content: bytes) -> bytes:
    return varint(field << 3 | kind) + (varint(len(content)) if kind == 2 else b"") + content


def evaluation(values: dict[str, float], extra: bytes = b"") -> bytes:
    return b"".join(tagged(FIELDS.index(k) + 1, 1, struct.pack("<d", v)) for k, v in values.items()) + extra


def message(evaluations: Iterable[bytes], params: int | None, total: float | None, extra: bytes = b"") -> bytes:
    parts = [tagged(1, 2, e) for e in evaluations]
    parts += [tagged(2, 0, varint(params))] if params is not None else []
    parts += [tagged(3, 1, struct.pack("<d", total))] if total is not None else []
    return b"".join(parts) + extra


def single(value: float) -> float:
    """The double that a float32 of ``value`` is."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def random_message(rng: random.Random, epochs: int, params: int, extra: bytes = b"") -> bytes:
    seconds = rng.uniform(5, 25) * epochs
    evaluations = []
    for part in (0.0, 0.5, 1.0):
        accuracies = [single(rng.randrange(IMAGES) / IMAGES) for _ in range(3)]
        numbers = [part * epochs, single(part * seconds), *accuracies]
        evaluations.append(evaluation(dict(zip(FIELDS, numbers, strict=True)), extra))
    return message(evaluations, params, seconds * 1.07)


def payload(cell: Cell, epochs: int, metrics: bytes, *, lines: bool = False) -> bytes:
    """The published form; ``lines`` breaks the base64 as older encoders do."""
    text = (base64.encodebytes if lines else base64.b64encode)(metrics).decode()
    return json.dumps([cell[0], epochs, cell[1], cell[2], text]).encode()


def payloads(
    cells: Iterable[Cell], schedules: tuple[int, ...] = (108,), repeats: int = 3, *, lines: bool = False
) -> Iterator[bytes]:
    for number, cell in enumerate(cells):
        rng = random.Random(number)
        params = rng.randrange(200_000, 50_000_000)
        for _ in range(repeats):
            for epochs in schedules:
                yield payload(cell, epochs, random_message(rng, epochs, params), lines=lines)


def plain_fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """(number, wire type, value) of each field of a message, written for clarity and with no thought of speed."""

    def take_varint() -> int:
        nonlocal data
        size = next(i for i, byte in enumerate(data) if byte < 128) + 1
        digits, data = data[:size], data[size:]
        return sum((byte & 127) << (7 * i) for i, byte in enumerate(digits))

    while data:
        tag = take_varint()
        if tag & 7 == 0:
            value: Any = take_varint()
        else:
            size = {1: 8, 2: 0, 5: 4}[tag & 7] or take_varint()
            value, data = data[:size], data[size:]
            if tag & 7 == 1:
                value = struct.unpack("<d", value)[0]
        yield tag >> 3, tag & 7, value


def plain_reading(payload: bytes) -> dict[str, Any]:
    """A record as nested plain values: the oracle."""
    key, epochs, adjacency, operations, metrics = json.loads(payload)
    fields = list(plain_fields(base64.b64decode(metrics)))
    evaluations = [
        {FIELDS[n - 1]: v for n, kind, v in plain_fields(value) if kind == 1 and n <= len(FIELDS)}
        for number, kind, value in fields
        if (number, kind) == (1, 2)
    ]
    params = [v for number, kind, v in fields if (number, kind) == (2, 0)]
    total = [v for number, kind, v in fields if (number, kind) == (3, 1)]
    return {"hash": key, "epochs": epochs, "adjacency": adjacency, "operations": operations, "evaluations": evaluations,
            "params": params[-1] if params else None, "total": total[-1] if total else None}  # fmt: skip
