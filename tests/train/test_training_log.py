"""The log has every epoch once, whenever a run was interrupted."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from prejudge.train.loop import Epoch
from prejudge.train.training_log import NO_TENSORBOARD, TrainingLog, line


def epoch(number: int) -> Epoch:
    facts = {"architecture": "…", "entropy": 0.5, "on": True, "rows": [1.0]}
    return Epoch(2.0 - number, 10.0 * number, 4.0, {"valid": 50.0 + number}, facts, 100, 0.1 / (number + 1))


def read(folder: Path) -> list[dict[str, float | None]]:
    return [json.loads(text) for text in (folder / "log.jsonl").read_text().splitlines()]


def test_a_line_has_the_numbers_of_an_epoch() -> None:
    assert json.loads(line(1, epoch(1))) == {
        "epoch": 2, "train/loss": 1.0, "train/accuracy": 10.0, "valid/accuracy": 51.0, "learning_rate": 0.05,
        "seconds": 4.0, "images_per_second": 25.0, "entropy": 0.5,
    }  # fmt: skip
    bare = json.loads(line(0, Epoch(1.0, 2.0, 0.0, {"valid": math.nan})))
    assert bare == {"epoch": 1, "train/loss": 1.0, "train/accuracy": 2.0, "valid/accuracy": None, "seconds": 0.0}


def test_a_run_that_goes_on_has_every_epoch_once(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path / "run", tensorboard=False)
    log.begin([])
    for number in range(3):
        log(number, epoch(number))
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write('{"epoch": 4, "tr')  # killed while it wrote
    again = TrainingLog(tmp_path / "run", tensorboard=False)
    again.begin([epoch(0), epoch(1)])  # so many have a checkpoint
    again(2, epoch(2))
    assert [entry["epoch"] for entry in read(tmp_path / "run")] == [1, 2, 3]
    again.begin([epoch(n) for n in range(3)])  # killed between the checkpoint and the line: nothing is missing
    assert [entry["epoch"] for entry in read(tmp_path / "run")] == [1, 2, 3]


def test_tensorboard_shows_the_same_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for taken_up, new in ((0, 3), (2, 4)):  # the second run goes on from the second epoch
        log = TrainingLog(tmp_path)
        log.begin([epoch(n) for n in range(taken_up)])
        for number in range(taken_up, new):
            log(number, epoch(number))
        log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert found == [(1, 2.0), (2, 1.0), (3, 0.0), (4, -1.0)]
    assert "valid/accuracy" in events.Tags()["scalars"] and "architecture" not in events.Tags()["scalars"]


def test_without_tensorboard_there_are_json_lines_and_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    notes: list[str] = []
    log = TrainingLog(tmp_path, on_warning=notes.append)
    log.begin([])
    log(0, epoch(0))
    log.close()
    assert notes == [NO_TENSORBOARD] and len(read(tmp_path)) == 1
