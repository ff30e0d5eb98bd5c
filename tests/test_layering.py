"""Nothing imports upwards, and what must answer fast never imports torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import prejudge

PACKAGE = Path(prejudge.__file__).parent

LAYERS = (
    {"errors"},
    {"formats"},
    {"plugins"},
    {"engine", "report"},
    {"data", "spaces", "proxies"},
    {"cache", "train"},
    {"benchmarks"},
    {"search"},
    {"pipeline"},
    {"cli"},
)
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
NOT_YET = {  # modules on the move to their layers; each goes with its last import upwards
    "benchmarks/__init__.py",
    "data/augmentation.py",
    "data/batches.py",
    "data/folder_batches.py",
    "data/training_images.py",
    "formats/csv.py",
    "formats/pickle/machine.py",
    "report/matrix.py",
}
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.stem in LEVEL)
HEAVY = ("torch", "torchvision", "pandas", "scipy", "h5py", "sklearn", "ray")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> dict[str, int]:
    """Rooms that a module imports, anywhere in it (lazily or for types alone too), with the line."""
    package = ("prejudge", *path.relative_to(PACKAGE).parts[:-1])
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [module] if module != "prejudge" else [f"prejudge.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "prejudge" and len(parts) > 1:
                found.setdefault(parts[1], node.lineno)
    return found


def test_every_room_has_a_place() -> None:
    rooms = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert rooms <= set(LEVEL)
    assert {room_of(p) for p in MODULES} <= set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_module_imports_upwards(path: Path) -> None:
    room = room_of(path)
    if path.relative_to(PACKAGE).as_posix() in NOT_YET:
        pytest.skip("imports upwards until it has been moved")
    for other, line in imported_rooms(path).items():
        if other == room or other not in LEVEL:  # __version__ and other names of the package itself
            continue
        assert LEVEL[other] < LEVEL[room], f"{path.relative_to(PACKAGE)}:{line}: {room} imports {other}"


def test_the_checker_sees_an_upward_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "spaces" / "wrong.py"
    module.parent.mkdir()
    module.write_text("def f():\n    from prejudge.cache import ScoreCache\n    from ..proxies import score\n")
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    assert imported_rooms(module) == {"cache": 2, "proxies": 3}


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
from prejudge.report import ReportData, write_html
archs = ['a', 'b', 'c']
data = ReportData('t', 's',
    correlations=pd.DataFrame([dict(metric='m', stratum='all', proxy='p', spearman=0.5, n=3)]),
    scores=pd.DataFrame(dict(p=[1.0, 2.0, 3.0]), index=archs),
    accuracies=pd.DataFrame(dict(m=[1.0, 3.0, 2.0]), index=archs))
write_html(data, {str(tmp_path / "r.html")!r})
"""
    assert "torch" not in loaded_after(code)


@pytest.mark.parametrize("room", ["cache", "benchmarks", "report", "engine", "spaces", "proxies.registry"])
def test_a_room_can_be_imported_without_torch(room: str) -> None:
    assert "torch" not in loaded_after(f"import prejudge.{room}")
