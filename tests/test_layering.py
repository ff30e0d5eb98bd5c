"""Nothing imports upwards, and what must answer fast never imports torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import prejudge

ROOT = Path(prejudge.__file__).parents[1]
HEAVY = ("torch", "torchvision", "pandas", "scipy", "h5py", "sklearn", "ray")


def lint_imports(*options: str) -> subprocess.CompletedProcess[str]:
    """Check the contracts of pyproject.toml, or those of another file."""
    pytest.importorskip("importlinter", reason="import-linter is not installed")
    code = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache", *options],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_nothing_imports_upwards() -> None:
    done = lint_imports()
    assert done.returncode == 0, done.stdout[done.stdout.find("Broken contracts") :] + done.stderr


def test_an_upward_import_is_seen(tmp_path: Path) -> None:
    settings = tmp_path / "upside-down.ini"
    settings.write_text(
        "[importlinter]\nroot_package = prejudge\n"
        "[importlinter:contract:rooms]\nname = rooms\ntype = layers\ncontainers = prejudge\nlayers =\n"
        "    spaces\n    cache\n"
    )
    done = lint_imports("--config", str(settings))
    assert done.returncode == 1
    assert "prejudge.cache is not allowed to import prejudge.spaces" in done.stdout


def loaded_after(code: str) -> set[str]:
    """Which heavy libraries a fresh interpreter has loaded after running ``code``."""
    program = f"{code}\nimport sys\nprint(*[m for m in {HEAVY} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return set((result.stdout.splitlines() or [""])[-1].split())


def test_import_costs_nothing() -> None:
    assert loaded_after("import prejudge, prejudge.errors, prejudge.cli") == set()
    assert (
        loaded_after("import prejudge; prejudge.space('nasbench201').params(prejudge.space('nasbench201')[0])") == set()
    )


def test_a_table_query_needs_no_torch() -> None:
    code = (
        "import prejudge, warnings; warnings.simplefilter('ignore')\n"
        "t = prejudge.benchmark('digits'); t.query(0, t.metrics()[0])"
    )
    assert "torch" not in loaded_after(code)


def test_a_report_needs_no_torch(tmp_path: Path) -> None:
    code = f"""
import pandas as pd
from prejudge.report import ReportData, write_report
archs = ['a', 'b', 'c']
data = ReportData('t', 's',
    correlations=pd.DataFrame([dict(metric='m', stratum='all', proxy='p', spearman=0.5, n=3)]),
    scores=pd.DataFrame(dict(p=[1.0, 2.0, 3.0]), index=archs),
    accuracies=pd.DataFrame(dict(m=[1.0, 3.0, 2.0]), index=archs))
write_report(data, {str(tmp_path / "r.html")!r})
"""
    assert "torch" not in loaded_after(code)


@pytest.mark.parametrize("room", ["cache", "benchmarks", "report", "engine", "spaces", "proxies.registry"])
def test_a_room_can_be_imported_without_torch(room: str) -> None:
    assert "torch" not in loaded_after(f"import prejudge.{room}")
