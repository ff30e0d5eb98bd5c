"""That the harness sees what a reader must not do."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from prejudge.errors import InputError
from tests.fuzz import harness
from tests.fuzz.harness import SENTINEL, Target, fuzz
from tests.fuzz.mutation import input_at


class Talkative(InputError):
    def __str__(self) -> str:  # instead of the class's own, which shortens
        return str(self.args[0])


def _say(message: str) -> None:
    raise Talkative(message)


def _swallow() -> None:
    try:
        os.system("true")
    except BaseException:
        return


READERS = {
    "exception": (lambda data: {}[data], "KeyError"),
    "busy": (lambda data: [None for _ in iter(int, 1)], "Hang"),
    "memory": (lambda data: bytearray(1 << 34), "MemoryError"),
    "exit": (lambda data: os._exit(3), "dead: exit status 3"),
    "signal": (lambda data: os.kill(os.getpid(), 11), "dead: signal SIGSEGV"),
    "evaluation": (lambda data: eval("1 + 1"), "forbidden: eval or exec of a text"),
    "program": (lambda data: os.system("true"), "forbidden: os.system"),
    "swallowed": (lambda data: _swallow(), "forbidden: os.system"),
    "elsewhere": (lambda data: Path("../elsewhere").write_text(""), "forbidden: open"),
    "sentinel": (lambda data: Path(SENTINEL).touch(), "AssertionError"),
    "long message": (lambda data: _say("no " * 1000), "AssertionError (message)"),
    "message of lines": (lambda data: _say("one\ntwo"), "AssertionError (message)"),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_that_misbehaves_is_found(reader, tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "FOLDER", tmp_path)
    read, what = READERS[reader]
    target = Target("bad", lambda data: None if data == b"good" else read(data), lambda: [b"good", b"bad"], seconds=0.2)
    outcome = fuzz(target, 3)
    (finding,) = outcome.findings.values()
    assert finding.what.startswith(what)
    assert (finding.number, finding.times) == (1, 2)
    assert Path(finding.file).read_bytes() == b"bad"


def test_a_reader_that_sleeps_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "FOLDER", tmp_path)
    monkeypatch.setattr(harness, "_WATCHDOG_SECONDS", 0.5)
    target = Target("asleep", lambda data: time.sleep(60) if data == b"bad" else None, lambda: [b"good", b"bad", b""])
    outcome = fuzz(target, 3)
    (finding,) = outcome.findings.values()
    assert (finding.what, finding.number, outcome.inputs) == ("no sign of life for 0.5 s", 1, 3)


def test_a_reader_that_refuses_in_one_line_is_right(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "FOLDER", tmp_path)

    def read(data: bytes) -> None:
        if data != b"good":
            raise InputError("not good")

    outcome = fuzz(Target("right", read, lambda: [b"good"]), 200)
    assert (outcome.inputs, outcome.findings) == (200, {})


def test_an_input_depends_on_its_number_alone():
    seeds, tokens = [b"conv_3x3", b"[1, 2]"], [b"~0"]
    inputs = [input_at(number, seeds, tokens) for number in range(300)]
    assert inputs[:2] == seeds
    assert inputs[250] == input_at(250, seeds, tokens)
    assert inputs[250:] != [input_at(number, seeds, tokens, seed=1) for number in range(250, 300)]
    assert len(set(inputs)) > 200
