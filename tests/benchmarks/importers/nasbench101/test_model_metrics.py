"""Messages of NAS-Bench-101's records, read as Google's protobuf reads them."""

from __future__ import annotations

import random
import struct
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prejudge.benchmarks.importers.nasbench101.model_metrics import NotModelMetrics, read_messages
from tests.benchmarks.importers import nasbench101_files as files

FIELD = st.one_of(
    st.builds(lambda n, v: files.tagged(n, 0, files.varint(v)), st.integers(1, 40), st.integers(0, 2**64 - 1)),
    st.builds(lambda n, v: files.tagged(n, 1, struct.pack("<d", v)), st.integers(1, 40), st.floats(0, 1)),
    st.builds(lambda n, v: files.tagged(n, 5, struct.pack("<f", v)), st.integers(1, 40), st.floats(0, 1, width=32)),
    st.builds(lambda n, v: files.tagged(n, 2, v), st.integers(4, 40), st.binary(max_size=9)),
)
MESSAGE = st.builds(
    lambda evaluations, rest: b"".join([*(files.tagged(1, 2, b"".join(e)) for e in evaluations), *rest]),
    st.lists(st.lists(FIELD, max_size=7), min_size=3, max_size=4),
    st.lists(FIELD, max_size=5),
)


def google_class() -> Any:
    """Google's own reading of the published message type."""
    descriptor = pytest.importorskip("google.protobuf.descriptor_pb2", reason="protobuf is not installed")
    pool = pytest.importorskip("google.protobuf.descriptor_pool")
    factory = pytest.importorskip("google.protobuf.message_factory")
    kinds, optional, repeated = descriptor.FieldDescriptorProto, 1, 3
    file = descriptor.FileDescriptorProto(name="oracle.proto", syntax="proto2")
    evaluation = file.message_type.add(name="EvaluationData")
    for number, name in enumerate(files.FIELDS, start=1):
        evaluation.field.add(name=name, number=number, type=kinds.TYPE_DOUBLE, label=optional)
    evaluation.field.add(name="checkpoint_path", number=6, type=kinds.TYPE_STRING, label=optional)
    metrics = file.message_type.add(name="ModelMetrics")
    metrics.field.add(
        name="evaluation_data", number=1, type=kinds.TYPE_MESSAGE, type_name=".EvaluationData", label=repeated
    )
    metrics.field.add(name="trainable_parameters", number=2, type=kinds.TYPE_INT32, label=optional)
    metrics.field.add(name="total_time", number=3, type=kinds.TYPE_DOUBLE, label=optional)
    own = pool.DescriptorPool()
    own.Add(file)
    return factory.GetMessageClass(own.FindMessageTypeByName("ModelMetrics"))


def google_reading(message: Any) -> tuple[list[float], int]:
    evaluations = [message.evaluation_data[e] for e in (1, 2)]
    values = [getattr(e, f) if e.HasField(f) else np.nan for e in evaluations for f in files.FIELDS[1:]]
    values.append(message.total_time if message.HasField("total_time") else np.nan)
    return values, message.trainable_parameters if message.HasField("trainable_parameters") else -1


@given(messages=st.lists(MESSAGE, min_size=1, max_size=6))
def test_messages_equal_googles_reading(messages: list[bytes]) -> None:
    """Of any fields in any order: unknown ones, doubled ones, ones of a wrong type, missing ones."""
    parse = google_class()
    by_length = defaultdict(list)
    for message in messages * 2:
        by_length[len(message)].append(message)
    for length, group in by_length.items():
        found = read_messages(np.frombuffer(b"".join(group), dtype=np.uint8).reshape(-1, length))
        for i, message in enumerate(group):
            read = parse()
            try:
                read.ParseFromString(message)
            except Exception:
                continue  # a checkpoint path that is not UTF-8: Google refuses the message, we do not read the path
            values, params = google_reading(read)
            np.testing.assert_array_equal(found.values[i], values)
            assert found.params[i] == params


def test_more_layouts_of_one_length_than_are_sought_together() -> None:
    rng = random.Random(0)
    unknown = [files.tagged(n, 0, files.varint(5)) for n in range(20, 20 + 40)]
    messages = [files.random_message(rng, 108, 300_000 + i) + extra for i, extra in enumerate(unknown * 2)]
    length = max(map(len, messages))
    messages = [m for m in messages if len(m) == length]
    found = read_messages(np.frombuffer(b"".join(messages), dtype=np.uint8).reshape(len(messages), -1))
    alone = [read_messages(np.frombuffer(m, dtype=np.uint8)[None]) for m in messages]
    np.testing.assert_array_equal(found.values, np.concatenate([a.values for a in alone]))
    np.testing.assert_array_equal(found.params, np.concatenate([a.params for a in alone]))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "0 evaluations"),
        (files.message([b"", b""], 5, 1.0), "2 evaluations"),
        (files.message([b"", b"", b""], 5, 1.0)[:-1], "ends within a field"),
        (files.message([b"", b"", b""], 5, 1.0) + b"\x80", "ends within a number"),
        (b"\x0b\x0c", "wire type 3"),
        (b"\x02\x00", "number 0"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "more than ten bytes"),
    ],
)
def test_what_is_no_message(message: bytes, reason: str) -> None:
    with pytest.raises(NotModelMetrics, match=reason):
        read_messages(np.frombuffer(message, dtype=np.uint8)[None])
