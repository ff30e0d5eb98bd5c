"""Targets: journals, logs and records that runs leave behind and go on from."""

from __future__ import annotations

import json
import os
import random
import warnings
import zlib
from pathlib import Path
from typing import Any

from prejudge.benchmarks.training.runs import FinishedTrainings
from prejudge.cache import Protocol, ScoreCache
from prejudge.cache.protocol import differences
from prejudge.cache.snapshot import read_snapshot
from prejudge.engine.journal import _encode, read_journal
from prejudge.formats.lock import _holder
from prejudge.search.objectives.base import Evaluation
from prejudge.search.records import RunRecords
from prejudge.train.recipes.recipe import Recipe
from prejudge.train.training_folder import read_training, report_data
from tests.fuzz.harness import Target, file_target, register, text_target
from tests.fuzz.mutation import with_other_values
from tests.fuzz.text_spaces import CELL_201

_JSON = [
    "null", "true", "-1", "0", "1e999", "NaN", "Infinity", "[]", "[[]]", "{}", '""', '"x"', "1.5", "9" * 400,
    "[" * 3000, '{"a":' * 3000, "1" * 5000, "2000000000", "-2147483649", "1e300", '"\\ud800"', '"\\u0000"', '"a\\nb"',
]  # fmt: skip
_TOKENS = [text.encode() for text in _JSON]

PROTOCOL = Protocol(space="nasbench201", data="digits", batch_size=64)


def _lines(records: list[Any]) -> bytes:
    return b"".join(b"%08x %b\n" % (zlib.crc32(t), t) for t in (json.dumps(r).encode() for r in records))


_RECORDS = [
    {"journal": "scores", "version": 1, "plan": {"follows": ""}},
    {"kind": "protocol", "json": PROTOCOL.to_json()},
    {"kind": "column", "protocol": PROTOCOL.digest, "name": "snip", "info": {"proxy": "snip", "version": 1}},
    {"kind": "run", "index": 0, "run": {"prejudge": "1"}},
    {"kind": "scores", "protocol": PROTOCOL.digest, "architecture": CELL_201, "repeat": 0, "run": 0,
     "scores": {"snip": [1.5, 0.25], "x": [None, None, "failed"]}},
    {"kind": "scores", "protocol": PROTOCOL.digest, "architecture": CELL_201, "repeat": 1, "run": -1,
     "scores": {"snip": [None, 0.25, "not finite"]}},
]  # fmt: skip


def _score_journal(rng: random.Random) -> bytes:
    """A journal whose checksums are right and whose records are not."""
    records: list[Any] = [with_other_values(record, rng) for record in _RECORDS]
    if rng.random() < 0.3:
        records.insert(
            rng.randrange(len(records)), rng.choice((None, 1, "x", [], [1], {}, {"kind": "x"}, {"kind": []}))
        )
    if rng.random() < 0.3:
        text = rng.choice(_JSON).encode()
        return _lines(records) + b"%08x %b\n" % (zlib.crc32(text), text)
    return _lines(records)


_WIDE = {**_RECORDS[4], "repeat": 10**9}


def _replay(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_journal(path)
        read_snapshot(Path("scores.h5"), writing=True)
        if zlib.crc32(path.read_bytes()) % 8:
            return  # writing it all down takes ten times as long
        try:
            with ScoreCache("scores.h5") as cache:
                cache.info()
                cache.frame()
        finally:
            for left in ("scores.h5", "scores.h5.lock"):
                Path(left).unlink(missing_ok=True)


file_target(
    "score-journal",
    "scores.h5.journal",
    _replay,
    lambda: [
        b"".join(map(_encode, _RECORDS)), _lines([*_RECORDS, _WIDE]), _lines([{"journal": "x", "version": 1}]), b"",
        _lines([[], 1, None, "x"]), b"00000000 {}\n",
    ],
    [*_TOKENS, b'"kind":', b'"scores"', b'"follows":"x"', b'"version":2', b"\n"],
    generate=_score_journal,
)  # fmt: skip


def _protocol(text: str) -> None:
    protocol = Protocol.from_json(text)
    assert Protocol.from_json(protocol.to_json()) == protocol
    protocol.describe()
    differences([protocol, PROTOCOL])


def _protocol_text(rng: random.Random) -> bytes:
    return json.dumps(with_other_values(json.loads(PROTOCOL.to_json()), rng)).encode()


text_target(
    "protocol",
    _protocol,
    [PROTOCOL.to_json(), Protocol(space="darts", macro={"cells": 3}, mean=(0.1,), std=(0.2,)).to_json(), "[]", "{}"],
    [*_JSON, '"mean":', '"macro":', '"batch_size":', '"image_size":', '"seed":'],
    generate=_protocol_text,
)

_RUN_PLAN = {"recipe": {"epochs": 7}, "data": "digits"}


def _run_log(path: Path) -> None:
    try:
        with FinishedTrainings(Path("table.h5"), _RUN_PLAN) as log:
            log.begin("here")
            log.put("x", 0, {"a": 1})
    finally:
        Path("table.h5.lock").unlink(missing_ok=True)


def _run_records() -> list[Any]:
    Path("table.h5.runs").unlink(missing_ok=True)
    with FinishedTrainings(Path("table.h5"), _RUN_PLAN) as log:
        log.begin("here")
        log.put(CELL_201, 0, {"accuracy": 93.5})
    lines = Path("table.h5.runs").read_bytes().splitlines()
    for left in ("table.h5.runs", "table.h5.lock"):
        Path(left).unlink(missing_ok=True)
    return [json.loads(line[9:]) for line in lines]


def _run_seeds() -> list[bytes]:
    import tempfile

    before, folder = Path.cwd(), tempfile.mkdtemp(prefix="fuzz-")
    os.chdir(folder)
    try:
        records = _run_records()
    finally:
        os.chdir(before)
    other = [{**records[0], "plan": {"recipe": 3}}, *records[1:]]
    return [_lines(records), _lines(other), _lines(records[:1]), _lines([*records, [], 3, None])]


def _broken_runs(rng: random.Random) -> bytes:
    head = {"journal": "trainings", "version": 1, "plan": _RUN_PLAN}
    run = {"kind": "run", "architecture": CELL_201, "seed": 0, "result": {"accuracy": 93.5}}
    records: list[Any] = [head, {"kind": "environment", "text": "here"}, run]
    return _lines([record if rng.random() < 0.5 else with_other_values(record, rng) for record in records])


file_target(
    "table-runs", "table.h5.runs", _run_log, _run_seeds, [*_TOKENS, b'"kind":', b'"plan"', b"\n"], generate=_broken_runs
)

_PLAN: dict[str, Any] = {"method": "random", "seed": 0}
_ANSWERS: list[Any] = [
    {"journal": "search", "version": 1, "plan": _PLAN},
    {"step": 0, "architecture": CELL_201, "epochs": None, "value": 93.5, "seconds": 1.5},
    {"step": 1, "architecture": "x", "epochs": None, "value": "nan", "seconds": 1},
    {"key": "round 1", "record": [1, 2]},
]  # fmt: skip


def _search(path: Path) -> None:
    with RunRecords(path, _PLAN) as records:
        for step, text in enumerate((CELL_201, "x")):
            if records.evaluation(step, text, None) is None:
                records.put(step, text, None, Evaluation(1.0, 2.0))
    with RunRecords(path, _PLAN) as records:
        assert records.evaluation(0, CELL_201, None)


def _broken_answers(rng: random.Random) -> bytes:
    return _lines([record if rng.random() < 0.5 else with_other_values(record, rng) for record in _ANSWERS])


file_target(
    "search-journal",
    "found.h5.journal",
    _search,
    lambda: [_lines(_ANSWERS), _lines(_ANSWERS[:2]), _lines(_ANSWERS[:1]), b"", b"{}\n", _lines([*_ANSWERS, [], 3])],
    [*_TOKENS, b'"step":', b'"key":', CELL_201.encode(), b"\n", b"\x85", b"\xe2\x80\xa8"],
    generate=_broken_answers,
)  # fmt: skip


_RESULT = {
    "space": "nasbench201", "architecture": CELL_201, "epoch": 2, "params": 100, "seconds": 12.5, "data": "digits",
    "images": {"train": 100}, "seed": 0, "recipe": Recipe(epochs=2).as_dict(),
    "macro": {"channels": 4, "form": "official"},
    "valid": {"top1": 90.0, "top5": 99.0, "loss": 0.5, "images": 10}, "test": None, "last_test": None, "prejudge": "1",
    "selection": {"by": "last", "meaning": "the last epoch"}, "images_per_second": 100.0,
    "epochs": [
        {"train_loss": 1.0, "train_accuracy": 50.0, "accuracies": {"valid": 40.0}, "learning_rate": 0.1},
        {"train_loss": 0.5, "train_accuracy": 60.0, "accuracies": {"valid": None}, "learning_rate": None},
    ],
}  # fmt: skip
_ABOUT = {
    "recipe": "darts", "not as published": {"epochs": [600, 2]}, "macs": 1000, "origin": {"published": "DARTS_V2"},
    "machine": {"device": "cpu"}, "notes": ["a note"],
}  # fmt: skip
_TESTED = {
    "split": "test", "architecture": CELL_201, "confusion": [[1, 2], [3, 4]],
    "classes": [{"class": "a", "images": 3}, {"class": "b", "images": 7}],
}  # fmt: skip


def _records(data: bytes) -> None:
    parts = data.split(b"\x00")
    for name, part in zip(("result.json", "training.json", "test.json"), [*parts, b"", b""], strict=False):
        if part:
            Path(name).write_bytes(part)
        else:
            Path(name).unlink(missing_ok=True)
    report_data([read_training(Path())])


def _three(rng: random.Random) -> bytes:
    return b"\x00".join(json.dumps(with_other_values(part, rng)).encode() for part in (_RESULT, _ABOUT, _TESTED))


register(
    Target(
        "training-records",
        _records,
        lambda: [
            b"\x00".join(json.dumps(part).encode() for part in (_RESULT, _ABOUT, _TESTED)),
            json.dumps(_RESULT).encode(),
        ],
        _TOKENS,
        generate=_three,
    )
)


def _lock(data: bytes) -> None:
    Path("a.lock").write_bytes(data)
    assert _holder(Path("a.lock"))


register(Target("lock-file", _lock, lambda: [b"1234", b"", b"\xff", b"9" * 5000], [b"-", b" ", "²".encode()]))
