from __future__ import annotations

import collections
import pickle
import pickletools
import random
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from prejudge.errors import FileFormatError
from prejudge.formats.pickle import unpickler
from prejudge.formats.pickle.unpickler import HANDLERS, Made, Name, Refused, Unpickler, one_line
from tests.hostile_pickles import Touch

PLAIN: dict[str, Any] = {
    "numbers": [0, 1, -1, 255, 70_000, -(1 << 40), 1 << 80, 1.5, -0.0, True, False, None],
    "containers": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [[1], {2: 3}], {}, {"a": {(1, "b"): 2}}],
    "many": list(range(3000)),
}


def read(content: bytes) -> Any:
    return Unpickler(content, lambda pid: ("outside", pid)).load()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_themselves(protocol: int) -> None:
    texts = [
        "",
        "ä€😀",
        "a" * 300,
        *([b"", b"\x00\xff" * 200] if protocol > 2 else []),
    ]  # before, bytes are made by a call
    value = {**PLAIN, "texts": texts + ([bytearray(b"xy")] if protocol > 4 else [])}
    found = read(pickle.dumps(value, protocol))
    assert found == pickle.loads(pickle.dumps(value, protocol)) and repr(found) == repr(value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_calls_are_written_down(protocol: int, tmp_path: Path) -> None:
    found = read(pickle.dumps({"a": Touch(tmp_path / "ran"), "b": Path.touch}, protocol))
    assert not (tmp_path / "ran").exists()
    assert isinstance(found["a"], Made)
    ordered = read(pickle.dumps(collections.OrderedDict(a=1, b=[2]), protocol))
    assert isinstance(ordered, Made) and ordered.by == Name("collections", "OrderedDict")
    assert ordered.pairs == {"a": 1, "b": [2]}
    queue = read(pickle.dumps(collections.deque([1, 2]), protocol))
    assert isinstance(queue, Made) and queue.items == [1, 2]
    members = read(pickle.dumps({1, 2}, protocol))
    assert isinstance(members, Made) and sorted(members.items or members.args[0]) == [1, 2]


def test_attributes_are_written_down() -> None:
    found = read(pickle.dumps(FileFormatError("x"), 2))
    assert isinstance(found, Made) and found.args == ("x",)
    content = b"\x80\x02cos\nsystem\nq\x00)\x81q\x01}q\x02X\x01\x00\x00\x00aq\x03K\x01sb."
    made = read(content)
    assert made.by == Name("os", "system") and str(made.by) == "os.system" and made.state == {"a": 1}


def test_old_ways_to_make_instances() -> None:
    assert read(b"(ios\nsystem\n.").by == Name("os", "system")
    made = read(b"(cos\nsystem\nS'echo'\no.")
    assert made.by == Name("os", "system") and made.args == ("echo",)
    made = read(b"cos\nsystem\n(S'echo'\ntR.")
    assert made.by == Name("os", "system") and made.args == ("echo",)


def test_what_lies_outside_is_asked_for() -> None:
    assert read(b"\x80\x02(X\x01\x00\x00\x00aK\x01tQ.") == ("outside", ("a", 1))
    assert read(b"Pname\n.") == ("outside", "name")


def test_shared_and_cyclic_containers() -> None:
    inner: list[Any] = [1]
    inner.append(inner)
    found = read(pickle.dumps([inner, inner]))
    assert found[0] is found[1] and found[0][1] is found[0]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        b".",
        b"\x80\x02.",
        b"\x80\x02]",
        b"0.",
        b"a.",
        b"s.",
        b"u.",
        b"R.",
        b"b.",
        b"K\x01K\x02.",
        b"h\x05.",
        b"\x85.",
        b"\x80\x02K\x01K\x02a.",
        b"\x80\x02}]K\x01s.",
        b"\x80\x02}(K\x01u.",
        b"\x80\x02K\x01K\x02\x93.",
        b"\x80\x63.",
        b"\x82\x01.",
        b"\x97.",
        b"\x8e" + struct.pack("<Q", 1 << 62) + b"x.",
        b"\x8d" + struct.pack("<Q", 1 << 40) + b"x.",
        b"\x8b" + struct.pack("<i", -5) + b".",
        b"I" + b"9" * 100_000 + b"\n.",
        b"F0x\n.",
        b"cno-newline",
    ],
)
def test_damaged_and_hostile_pickles(content: bytes) -> None:
    with pytest.raises(Refused) as caught:
        read(content)
    assert "\n" not in str(caught.value)


def test_every_damage_is_one_kind_of_error() -> None:
    whole, rng = pickle.dumps(PLAIN, 2), random.Random(0)
    for end in range(0, len(whole) - 1, 41):
        with pytest.raises(Refused):
            read(whole[:end])
    for _ in range(500):
        damaged = bytearray(whole[:2000] + b".")
        for _ in range(3):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            read(bytes(damaged))
        except Refused:
            continue


def test_bombs_cost_no_more_than_their_size() -> None:
    start = time.perf_counter()
    huge_memo = b"\x80\x02K\x01r" + struct.pack("<I", (1 << 32) - 1) + b"."
    assert read(huge_memo) == 1
    level = b"](" + b"h\x00" * 10 + b"eq\x000"  # a list of ten times the list before
    found = read(b"\x80\x02]q\x000" + level * 100 + b"h\x00.")
    assert len(found) == 10 and found[0] is found[9]
    tuples = b"\x80\x02K\x01" + b"2\x86" * 3000
    with pytest.raises(Refused, match="nested tuples"):
        read(tuples + b"q\x00}h\x00K\x01s.")
    read(tuples + b".")
    read(b"\x80\x02K\x01" + b"\x85" * 50_000 + b".")
    read(b"(" * 20_000 + b"t" * 20_000 + b".")
    assert time.perf_counter() - start < 20


def test_a_pickle_of_too_many_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpickler, "MOST_OPCODES", 100)
    with pytest.raises(Refused, match="more than 100 operations"):
        read(pickle.dumps(list(range(200))))


def test_every_opcode_is_known_or_refused() -> None:
    refused = {op.name for op in pickletools.opcodes if op.code.encode("latin-1") not in HANDLERS}
    assert refused == {"EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"}


def test_texts_for_messages() -> None:
    assert one_line("a\nb\x1b[1m") == "a b [1m" and len(one_line("x" * 1000)) == 80
