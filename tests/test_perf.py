"""The scripts that take timings still start: what they measure is imported from the package and its tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted(p for p in (Path(__file__).parents[1] / "perf").glob("*.py") if p.name != "environment.py")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_it_starts(script: Path) -> None:
    found = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("usage:")
