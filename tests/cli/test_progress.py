"""Where standard error is not a terminal, long work says every minute how far it is."""

from __future__ import annotations

import time

import pytest

from prejudge.cli import progress
from prejudge.cli.progress import ProgressBar, duration


def test_a_line_a_minute_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.02)
    with ProgressBar("scoring") as bar:
        time.sleep(0.1)
        bar(1, 4)
        time.sleep(0.1)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("prejudge: ")]
    assert "prejudge: scoring: 0:00:00 so far, nothing finished yet" in lines
    assert "prejudge: scoring: 0:00:00 so far, 1 of 4 done, about 0:00:00 left" in lines or "0:00:01 left" in lines[-1]
    with ProgressBar("scoring", quiet=True):
        time.sleep(0.1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00:00"), (61.4, "0:01:01"), (3600 * 30 + 5, "30:00:05")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
