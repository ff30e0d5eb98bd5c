"""The streaming pickle machine against Python's own, and against files that mean harm."""

from __future__ import annotations

import io
import math
import os
import pickle
import random
import struct
import tracemalloc
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prejudge.errors import FileFormatError
from prejudge.formats.pickle import entries as entries_module
from prejudge.formats.pickle import memo
from prejudge.formats.pickle.entries import MOST_BYTES, EntryUnpickler
from tests.hostile_pickles import Call

PROTOCOLS = (2, 3, 4, 5)


def machine(data: bytes, piece: int = 1 << 20) -> EntryUnpickler:
    stream = io.BytesIO(data)
    return opened(lambda size: stream.read(min(size, piece)))


def opened(read: Callable[[int], bytes]) -> EntryUnpickler:
    made = EntryUnpickler()
    made.go_on(read, "the file")
    return made


def load(data: bytes) -> Any:
    return machine(data).load()


def refused(data: bytes) -> str:
    with pytest.raises(FileFormatError) as caught:
        load(data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def curves(epochs: int, names: tuple[str, ...], rng: random.Random, *, shared: bool) -> dict[str, Any]:
    """A trial with curves by epoch and by text; with ``shared`` keys the second dict of texts refers to the first."""
    keys = [f"{name}@{epoch}" for name in names for epoch in range(epochs)]
    again = keys if shared else ["".join(list(key)) for key in keys]
    return {
        "train": {epoch: rng.random() for epoch in range(epochs)},
        "times": OrderedDict((epoch, rng.random()) for epoch in range(epochs)),
        "accuracies": {key: rng.random() for key in keys},
        "losses": {key: rng.random() for key in again},
    }


atoms = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=8)
keys = atoms | st.tuples(st.text(max_size=3), st.integers(0, 9))
values = st.recursive(
    atoms | st.binary(max_size=8) | st.sets(keys, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=5)
        | st.dictionaries(st.integers(0, 300), st.floats(allow_nan=False), max_size=30)
        | st.dictionaries(st.text(max_size=4), st.floats(allow_nan=False), max_size=30)
        | inner.map(lambda value: [value, value, {"again": value}])
    ),
    max_leaves=30,
)


@settings(max_examples=150, deadline=None)
@given(values, st.sampled_from(PROTOCOLS), st.sampled_from([1, 7, 1 << 20]))
def test_reads_what_python_reads(value: Any, protocol: int, piece: int) -> None:
    data = pickle.dumps(value, protocol)
    assert repr(machine(data, piece).load()) == repr(pickle.loads(data))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("shared", [True, False])
def test_curves(protocol: int, shared: bool) -> None:
    rng = random.Random(1)
    value = [
        curves(epochs, names, rng, shared=shared)
        for _ in range(12)  # a layout is learnt at its second occurrence, and frames cut some in two
        for epochs, names in ((12, ("x-valid",)), (200, ("ori-test", "x-valid")), (400, ("é",)), (3, ("a",)))
    ]
    value[5]["train"][7] = None
    value[6]["accuracies"]["x-valid@3"] = 1
    value[20]["losses"]["more"] = {"deeper": 1.0}
    reader = machine(pickle.dumps(value, protocol), 5000)
    assert repr(reader.load()) == repr([{**v, "times": dict(v["times"])} for v in value])
    assert reader._curves._count > 3  # some were read as layouts


def test_no_curve_is_read_differently_after_its_layout_was_learnt() -> None:
    """Every opcode byte of a learnt layout is checked: one other byte gives Python's reading, or an error."""
    value = [curves(12, ("ori-test",), random.Random(i), shared=True) for i in range(4)]
    for protocol in (2, 4):
        data = pickle.dumps(value, protocol)
        rng = random.Random(3)
        same = 0
        for position in range(len(data) * 2 // 3, len(data)):
            changed = bytearray(data)
            changed[position] ^= 1 << rng.randrange(8)
            try:
                read = load(bytes(changed))
            except FileFormatError:
                continue
            same += 1
            assert repr(read) == repr(slow_load(bytes(changed))), position
        assert same > 500


class SlowUnpickler(pickle._Unpickler):  # type: ignore[name-defined,misc]
    """Python's own machine in Python: the obvious oracle."""

    def find_class(self, module: str, name: str) -> Any:
        return {"OrderedDict": dict, "set": set}[name]


def slow_load(data: bytes) -> Any:
    return SlowUnpickler(io.BytesIO(data)).load()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_scalars_and_other_containers(protocol: int) -> None:
    value = {
        "float64": np.float64(0.25), "float32": np.float32(0.5), "int": np.int64(-3), "bool": np.bool_(True),
        "again": [np.float64(1e300), np.float64(-2.0)], "big endian": np.dtype(">f8").type(2.5), "set": {1, 2},
        "frozen": frozenset({"a"}), "ordered": OrderedDict([("b", 1), ("a", 2)]),
        "default": defaultdict(list, {"x": [1]}),
    }  # fmt: skip
    data = pickle.dumps(value, protocol)
    read = load(data)
    assert read == {**value, "frozen": {"a"}}
    assert [type(v) for v in read.values()] == [float, float, int, bool, list, float, set, set, dict, dict]
    old = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray").replace(b"\x8c\x16numpy", b"\x8c\x15numpy")
    if protocol < 4:  # how NumPy 1 named it, when the files were made
        assert load(old) == read


# Streaming


def entries(count: int) -> Iterator[tuple[int, Any]]:
    for index in range(count):
        yield (
            index,
            {"full": curves(200, ("ori-test", "x-valid"), random.Random(index), shared=False), "less": {"n": index}},
        )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_entries_come_one_by_one(protocol: int) -> None:
    infos = dict(entries(20))
    data = pickle.dumps({"archs": ["a", "b"], "infos": infos, "after": {1, 2}}, protocol)
    reader = machine(data, 10_000)
    offsets = []
    for index, value in reader.entries("infos"):
        assert value == infos[index]
        offsets.append(reader.offset)
    assert len(offsets) == 20
    assert all(later - earlier < len(data) / 15 for earlier, later in pairwise(offsets))
    assert reader.value == {"archs": ["a", "b"], "infos": {}, "after": {1, 2}}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("count", [0, 1, 2, 1000, 1001, 2500])
def test_entries_beyond_one_batch(protocol: int, count: int) -> None:
    infos = {index: OrderedDict({"12": [index], "200": (index, str(index))}) for index in range(count)}
    reader = machine(pickle.dumps({"infos": infos, "after": list(range(count))}, protocol))
    assert dict(reader.entries("infos")) == infos
    assert reader.value == {"infos": {}, "after": list(range(count))}


def test_entries_that_are_no_dicts_or_have_one_item() -> None:
    infos: dict[Any, Any] = {
        "a": 1,
        "b": [2],
        "c": {"one": {"item": 1}},
        "d": {},
        ("e", 1): None,
        "f": {"x": 1, "y": 2},
    }
    for protocol in PROTOCOLS:
        assert dict(machine(pickle.dumps({"infos": infos}, protocol)).entries("infos")) == infos


def test_an_ordered_dict_of_entries_and_a_key_that_comes_deeper() -> None:
    infos = OrderedDict(entries(3))
    value = {"before": {"infos": {"not": "these"}}, "infos": infos}
    reader = machine(pickle.dumps(value, 4))
    assert dict(reader.entries("infos")) == infos
    assert reader.value["before"] == {"infos": {"not": "these"}}


def test_texts_and_dtypes_are_shared_between_entries_but_containers_are_not() -> None:
    text, number, outer = "".join(["a long ", "text"]), np.float64(0.5), ["in front"]
    infos = {i: {"text": text, "number": np.float64(number), "outer": outer, "own": [i]} for i in range(4)}
    value = {"outer": outer, "infos": infos}
    for protocol in PROTOCOLS:
        reader = machine(pickle.dumps(value, protocol))
        assert dict(reader.entries("infos")) == infos
    infos[3]["stolen"] = infos[1]["own"]
    message = r"byte \d+ refers to memo entry \d+, a part of an earlier architecture that was dropped to save memory"
    reader = machine(pickle.dumps(value, 2))
    with pytest.raises(FileFormatError, match=message):
        list(reader.entries("infos"))


def test_memory_does_not_grow_with_the_entries() -> None:
    def peak(count: int) -> int:
        data = pickle.dumps({"infos": dict(entries(count))}, 2)
        tracemalloc.start()
        try:
            for _ in machine(data, 1 << 16).entries("infos"):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = peak(5), peak(50)
    whole = 50 * 1000 * 2 * 100  # values, dict slots and keys of 50 entries would take about this
    assert many < 1.3 * few + 200_000 < whole / 3


def test_more_distinct_texts_than_two_bytes_can_number() -> None:
    texts = [f"text {index}" for index in range(70_000)]
    again = [texts[0], texts[-1], texts[40_000]]
    value = {"texts": texts, "curves": [dict.fromkeys(texts[:20], 1.0) for _ in range(4)], "again": again}
    reader = machine(pickle.dumps(value, 2))
    assert reader.load() == value
    assert reader._memo._slots.typecode == "I"


def test_pickles_one_after_another() -> None:
    reader = machine(b"magic" + pickle.dumps([1, "a", "a"], 2) + pickle.dumps({"b": "b"}, 4))
    assert not reader.skip(b"other") and reader.skip(b"magic")
    assert (reader.load(), reader.load()) == ([1, "a", "a"], {"b": "b"})
    with pytest.raises(FileFormatError, match=rf"byte {reader.offset} ends: the file is truncated"):
        reader.load()


def test_one_machine_for_many_files() -> None:
    reader = EntryUnpickler()
    for protocol in (*PROTOCOLS, *PROTOCOLS):
        for index, value in entries(3):
            stream = io.BytesIO(pickle.dumps(value, protocol))
            reader.go_on(stream.read, f"file {index}")
            assert reader.load() == value
    reader.go_on(io.BytesIO(b"\x80\x02h\0.").read, "the last file")  # nothing of the memo is left
    with pytest.raises(FileFormatError, match=r"the last file: the pickle at byte 2 refers to memo entry 0, .* never"):
        reader.load()


# Files that mean harm


def attacks(marker: Path) -> dict[str, tuple[bytes, str]]:
    touch = f"touch {marker}"
    python = f"open({str(marker)!r}, 'w')"
    where = bytes([len(str(marker))]) + str(marker).encode()
    evil = pickle.dumps
    return {
        "os.system": (evil(Call(os.system, touch), 4), f"{os.system.__module__}.system"),
        "os.system, protocol 2": (evil(Call(os.system, touch), 2), f"{os.system.__module__}.system"),
        "eval": (evil(Call(eval, python), 2), "__builtin__.eval"),
        "exec in a trial": (evil({"infos": {0: {"less": Call(exec, python)}}}, 4), "builtins.exec"),
        "open": (evil(Call(open, str(marker), "w"), 4), "open"),
        "torch": (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n.", "torch._utils._rebuild_tensor_v2"),
        "numpy": (evil(Call(np.load, str(marker)), 4), "numpy"),
        "dotted": (b"\x80\x04\x8c\x0bcollections\x8c\x16OrderedDict.__init__.x\x93.", "OrderedDict.__init__.x"),
        "getattr": (b"\x80\x02c__builtin__\ngetattr\n(cos\nsystem\ntR.", "__builtin__.getattr"),
        "reduce of a list": (b"\x80\x02])R.", "calls a list"),
        "reduce of a factory": (b"\x80\x02c__builtin__\nlist\n)R.", "calls __builtin__.list"),
        "reduce without a tuple": (b"\x80\x02ccollections\nOrderedDict\n]R.", "calls collections.OrderedDict"),
        "build on a function": (b"\x80\x02c_codecs\nencode\n}b.", "changes _codecs.encode"),
        "build on a dict": (b"\x80\x02}}b.", "changes a dict"),
        "build on a dtype": (evil(np.float64(1), 2).replace(b"X\x01\0\0\0<", b"X\x01\0\0\0O"), "describes"),
        "dtype of objects": (b"\x80\x02cnumpy\ndtype\nX\x02\0\0\0O8K\0K\1\x87R.", "not numbers"),
        "scalar of a wrong size": (evil(np.float64(1), 4).replace(b"f8", b"f4"), "8 bytes that is not of the shape"),
        "object": (b"\x80\x02(ios\nsystem\n.", "opcode INST"),
        "newobj": (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "opcode NEWOBJ"),
        "extension code": (b"\x80\x02\x82\x01.", "opcode EXT1"),
        "persistent id": (b"\x80\x02X\x01\0\0\0aQ.", "refers to stored tensors"),
        "persistent id as text": (b"\x80\x02Pa\n.", "refers to stored tensors"),
        "out of band": (b"\x80\x05\x97.", "opcode NEXT_BUFFER"),
        "text protocol": (b"cos\nsystem\n(S'" + touch.encode() + b"'\ntR.", "names os.system"),
        "no opcode": (b"\x80\x02\xff.", "opcode 0xff"),
        "a name without end": (b"\x80\x02cos" + b"x" * 70_000, "names something without end"),
        "a name from numbers": (b"\x80\x04K\x01K\x02\x93.", "not text"),
        "protocol 9": (b"\x80\x09N.", "is of protocol 9"),
        "encode": (b"\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x03\0\0\0hex\x86R.", "encodes a text"),
        "defaultdict": (b"\x80\x02ccollections\ndefaultdict\nc_codecs\nencode\n\x85R.", "collections.defaultdict"),
        "ordered dict of texts": (b"\x80\x02ccollections\nOrderedDict\n]X\x02\0\0\0aba\x85R.", "in no known way"),
        "path": (b"\x80\x04\x8c\x07pathlib\x8c\x04Path\x93\x8c" + where + b"\x85R.", "pathlib.Path"),
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(attacks(Path("x"))))
def test_nothing_is_run(name: str, tmp_path: Path) -> None:
    data, what = attacks(tmp_path / "marker")[name]
    message = refused(data)
    assert what in message and "nothing in it was run" in message and "byte" in message
    reader = machine(data)
    with pytest.raises(FileFormatError, match="nothing in it was run"):
        list(reader.entries("infos"))
    assert list(tmp_path.iterdir()) == []


def test_a_harmful_name_is_found_at_its_byte() -> None:
    data = pickle.dumps({"a": 1.5, "b": Call(os.system, "true")}, 2)
    assert f"the file: the pickle at byte {data.index(b'c' + os.system.__module__.encode())} names" in refused(data)


def test_truncated_everywhere() -> None:
    value = {"infos": dict(entries(1)), "n": np.float64(1), "set": {1}, "text": "é" * 400}
    for protocol in (2, 4):
        data = pickle.dumps(value, protocol)
        for size in [*range(0, 400), *range(400, len(data), 2999), *range(len(data) - 600, len(data))]:
            message = refused(data[:size])
            assert "ends: the file is truncated" in message or "without end" in message, (size, message)
        assert load(data) is not None
    assert refused(b"") == "the file: the pickle at byte 0 ends: the file is truncated; nothing in it was run"


def test_read_errors() -> None:
    def broken(error: Exception) -> EntryUnpickler:
        def read(size: int, parts: list[bytes] = [b"\x80\x02}"]) -> bytes:  # noqa: B006
            if parts:
                return parts.pop()
            raise error

        return opened(read)

    with pytest.raises(FileFormatError, match="the file cannot be read beyond byte 3: Invalid data stream"):
        broken(OSError("Invalid data stream")).load()
    with pytest.raises(FileFormatError, match="truncated"):
        broken(EOFError("ended before the end-of-stream marker")).load()


def endless(piece: bytes, start: bytes = b"\x80\x04") -> EntryUnpickler:
    parts = iter([start])
    block = piece * ((1 << 20) // len(piece))
    return opened(lambda size: next(parts, block))


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        (b"(", "nests values more than 64 deep"),
        (b"}", "piles up more than 262,144 values"),
        (b"N", "piles up more than 262,144 values"),
        (b"K\x01\x85", "piles up"),
        (b"\x95\0\0\0\0\0\0\0\0", "goes on for more than 8 MB within one architecture"),
    ],
)
def test_endless_streams(piece: bytes, message: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match=message):
            endless(piece).load()
        assert tracemalloc.get_traced_memory()[1] < 300 << 20
    finally:
        tracemalloc.stop()


def test_endless_nesting_without_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries_module, "MOST_BYTES", 1 << 20)
    with pytest.raises(FileFormatError, match="more than 1 MB"):
        endless(b"\x85", b"\x80\x04N").load()


def test_bombs() -> None:
    assert "writes memo entry 4294967295 where 0 is due" in refused(b"\x80\x02]r\xff\xff\xff\xff.")
    assert "writes memo entry 0 where 1 is due" in refused(b"\x80\x02]q\0q\0.")
    assert "never written" in refused(b"\x80\x02j\xff\xff\xff\xff.")
    assert "more than 8 MB" in refused(b"\x80\x02X\xff\xff\xff\xff")
    assert "more than 8 MB" in refused(b"\x80\x04\x8d" + b"\xff" * 8)
    assert "truncated" in refused(b"\x80\x02X" + struct.pack("<I", MOST_BYTES) + b"short")
    assert "an integer of 255 bytes" in refused(b"\x80\x02\x8a\xff" + b"\1" * 255 + b".")
    assert "opcode LONG4" in refused(b"\x80\x02\x8b\xff\xff\xff\x7f")
    # A tuple of twice itself, fifty times over: hashing it as a key would take for ever.
    nested = b"\x80\x02)" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(50))
    assert isinstance(load(nested + b"."), tuple)
    assert "uses a tuple that is not of plain values as a key" in refused(b"\x80\x02}" + nested[2:] + b"Ns.")
    assert "uses a list" in refused(b"\x80\x02}]Ns.")
    assert "uses a list" in refused(b"\x80\x04\x8f(]\x90.")


def test_too_many_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "_MOST_TEXTS", 1000)
    assert load(pickle.dumps([str(i % 1000) for i in range(5000)], 2))
    assert "more than 1,000 different texts" in refused(pickle.dumps([str(i) for i in range(1001)], 2))


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02.", b"\x80\x02u.", b"\x80\x02(u.", b"\x80\x02}(K\1u.", b"\x80\x02K\1K\2a.", b"\x80\x02K\1(K\2e.",
        b"\x80\x02\x86.", b"\x80\x02q\0.", b"\x80\x02NN.", b"\x80\x02(N.", b"\x80\x02X\1\0\0\0\xff.", b"\x80\x02t.",
        b"\x80\x02K\1K\2K\3s.", b"\x80\x04](K\1\x90.", b"\x80\x02R.", b"\x80\x02b.", b"\x80\x02}(X\5\0\0\0infosK\1s.",
    ],
)  # fmt: skip
def test_damaged(data: bytes) -> None:
    assert "nothing in it was run" in refused(data + b" " * 20)
    with pytest.raises(FileFormatError):
        list(machine(data + b" " * 20).entries("infos"))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_random_changes_never_give_anything_else_than_python_reads(data: Any) -> None:
    value = {"infos": {0: {"a": {i: i / 3 for i in range(12)}, "b": ("c", 777)}, 1: {"a": {}, "b": [None, {1, 2}]}}}
    pickled = bytearray(pickle.dumps(value, data.draw(st.sampled_from(PROTOCOLS))))
    for _ in range(data.draw(st.integers(1, 3))):
        pickled[data.draw(st.integers(0, len(pickled) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = load(bytes(pickled))
    except FileFormatError:
        return
    try:
        expected = slow_load(bytes(pickled))
    except (ValueError, pickle.UnpicklingError):  # a wrong size of a frame, which the machine does not need
        assert b"\x95" in pickled
        return
    assert repr(read) == repr(expected)


def test_special_floats() -> None:
    read = load(pickle.dumps([dict.fromkeys(range(12), math.nan) for _ in range(4)] + [math.inf, -0.0], 2))
    assert all(math.isnan(v) for curve in read[:4] for v in curve.values())
    assert str(read[4:]) == "[inf, -0.0]"
