"""NAS-Bench-101's ``ModelMetrics`` messages without protobuf: one at a time, or many of the same length at once.

Proto2, as published with the data set (Ying et al., ICML 2019)::

    ModelMetrics    1 repeated EvaluationData    2 int32 trainable_parameters    3 double total_time
    EvaluationData  doubles: 1 current_epoch  2 training_time  3 train_accuracy  4 validation_accuracy
                    5 test_accuracy;  6 string checkpoint_path

The evaluations are those before training, half way through and at its end; the last two are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

QUANTITIES = ("seconds", "train", "valid", "test")
"""Values of an evaluation: training seconds so far, and three accuracies as fractions."""

VALUES = (*(f"halfway-{q}" for q in QUANTITIES), *QUANTITIES, "total-seconds")
"""Names of the numbers of a message, in the order in which :class:`ModelMetrics` has them."""

_EVALUATION, _PARAMS, _TOTAL = 1, 2, 3
_FIRST_QUANTITY = 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_HALFWAY, _END = 1, 2
_LAYOUTS = 16
"""Layouts of one length whose messages are looked for among all the others."""


class NotModelMetrics(ValueError):
    """The bytes are no ``ModelMetrics`` message, or one without the evaluations half way and at the end."""


@dataclass(frozen=True)
class ModelMetrics:
    """The numbers of some messages.

    Attributes:
        values: Shape ``(messages, len(VALUES))``, float64; NaN where a message does not have the field.
        params: Trainable parameters, shape ``(messages,)``, int64; -1 where a message does not have the field.
    """

    values: np.ndarray
    params: np.ndarray


@dataclass(frozen=True)
class _MessageLayout:
    """Where the numbers of a message are, and which bits make another message of its length one of the same layout.

    Attributes:
        places: The bytes that are structure (tags, lengths) or partly so (varints, by their continuation bits).
        mask: The bits of each that are structure.
        structure: Those bits.
        values: First byte of each of :data:`VALUES`, or None where the message does not have it.
        params: First byte of the trainable parameters and the byte behind it, if the message has them.
    """

    places: np.ndarray
    mask: np.ndarray
    structure: np.ndarray
    values: tuple[int | None, ...]
    params: tuple[int, int] | None


def read_messages(messages: np.ndarray) -> ModelMetrics:
    """Read messages of one length.

    Nearly all messages of one length have the same fields in the same places, so one message is parsed, and its places
    serve for all that agree with it in every bit of structure; then the first of the others is parsed, and so on.

    Args:
        messages: Shape ``(messages, length)``, uint8.

    Raises:
        NotModelMetrics: One of them is none.
    """
    values = np.full((len(messages), len(VALUES)), np.nan)
    params = np.full(len(messages), -1, dtype=np.int64)
    left = np.arange(len(messages))
    for number in range(len(messages)):
        if not left.size:
            break
        chosen = left if number < _LAYOUTS else left[:1]  # each of its own layout: comparing all would be quadratic
        rows = messages if chosen.size == len(messages) else messages[chosen]
        layout = _layout(rows[0].tobytes())
        similar = ((rows[:, layout.places] & layout.mask) == layout.structure).all(axis=1)
        where: Any = slice(None)
        if not (similar.all() and chosen.size == len(messages)):
            rows, where = rows[similar], chosen[similar]
        for column, at in enumerate(layout.values):
            if at is not None:
                values[where, column] = rows[:, at : at + 8].view("<f8")[:, 0]
        if layout.params is not None:
            params[where] = _varints(rows[:, slice(*layout.params)])
        left = left[~similar] if number < _LAYOUTS else left[1:]
    return ModelMetrics(values, params)


def _layout(message: bytes) -> _MessageLayout:
    mask = np.full(len(message), 255, dtype=np.uint8)
    evaluations: list[dict[int, int]] = []
    params = total = None
    for field, kind, start, end in _fields(message, 0, len(message)):
        if (field, kind) == (_EVALUATION, _BYTES):
            doubles: dict[int, int] = {}
            for inner, inner_kind, inner_start, inner_end in _fields(message, start, end):
                mask[inner_start:inner_end] = 128 if inner_kind == _VARINT else 0
                if inner_kind == _FIXED64:
                    doubles[inner] = inner_start  # the last one counts, as everywhere in protobuf
            evaluations.append(doubles)
            continue
        mask[start:end] = 128 if kind == _VARINT else 0
        if (field, kind) == (_PARAMS, _VARINT):
            params = (start, end)
        elif (field, kind) == (_TOTAL, _FIXED64):
            total = start
    if len(evaluations) <= _END:
        raise NotModelMetrics(f"it has {len(evaluations)} evaluations, but those half way and at the end are needed")
    wanted = range(_FIRST_QUANTITY, _FIRST_QUANTITY + len(QUANTITIES))
    found = [evaluations[e].get(f) for e in (_HALFWAY, _END) for f in wanted]
    places = np.flatnonzero(mask)
    structure = np.frombuffer(message, dtype=np.uint8)[places] & mask[places]
    return _MessageLayout(places, mask[places], structure, (*found, total), params)


def _fields(data: bytes, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(field number, wire type, first byte of the value, byte behind it) of each field of a message."""
    while position < end:
        tag, position = _varint(data, position, end)
        field, kind = tag >> 3, tag & 7
        start = position
        if kind == _VARINT:
            _, position = _varint(data, position, end)
        elif kind == _BYTES:
            length, start = _varint(data, position, end)
            position = start + length
        elif kind in (_FIXED64, _FIXED32):
            position += 8 if kind == _FIXED64 else 4
        else:
            raise NotModelMetrics(f"it has a field of wire type {kind}")
        if not field or position > end:
            raise NotModelMetrics("it ends within a field" if field else "it has a field of number 0")
        yield field, kind, start, position


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """A base-128 number and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise NotModelMetrics("it ends within a number")
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise NotModelMetrics("it has a number of more than ten bytes")


def _varints(digits: np.ndarray) -> np.ndarray:
    """Base-128 numbers of one length, shape ``(numbers, length)``, as int32 reads them."""
    value = np.zeros(len(digits), dtype=np.uint64)
    for i in range(digits.shape[1]):
        value |= (digits[:, i] & np.uint8(127)).astype(np.uint64) << np.uint64(7 * i)
    return value.astype(np.uint32).view(np.int32).astype(np.int64)
