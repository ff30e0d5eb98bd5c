"""Every reader of binary files is given hostile ones; ``make fuzz`` runs more of them."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.fuzz import harness

_BEFORE = set(harness.TARGETS)
for _file in sorted(Path(__file__).parent.glob("binary_*.py")):
    importlib.import_module(f"tests.fuzz.{_file.stem}")
TARGETS = [name for name in harness.TARGETS if name not in _BEFORE]


@pytest.mark.parametrize("name", TARGETS)
def test_no_file_makes_a_reader_fail(name: str) -> None:
    outcome = harness.fuzz(harness.TARGETS[name])
    assert not outcome.findings, harness.report(outcome)
