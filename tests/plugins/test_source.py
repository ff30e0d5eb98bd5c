"""The digest of third-party source changes with everything local that can change a result, and with nothing else."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from prejudge.errors import InputError
from prejudge.plugins import digest_of_file, digest_of_function
from prejudge.plugins.source import _INSTALLED
from prejudge.proxies import resolve
from prejudge.proxies.registry import register

PROXY = """
import prejudge
{imports}
@prejudge.proxy("{name}", reference="mine")
def score(probe, power=1):
    "Mine."
    {inside}
    return {value}
"""


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers, the module search path and modules are as before."""
    monkeypatch.setattr(register, "items", dict(register.items))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


def write(path: Path, *, value: str = "1.0", imports: str = "", inside: str = "", name: str = "mine") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PROXY.format(name=name, value=value, imports=imports, inside=inside))
    return f"{path}:{name}"


def source(text: str) -> str:
    return resolve(text)[0].proxy.definition


def test_an_edit_is_seen_at_once_even_within_a_second_and_of_equal_length(tmp_path: Path) -> None:
    text = write(tmp_path / "m.py", value="1.0")
    first = resolve(text)[0].proxy
    write(tmp_path / "m.py", value="2.0")
    second = resolve(text)[0].proxy
    assert (first.function(None), second.function(None)) == (1.0, 2.0)  # type: ignore[arg-type]
    assert first.definition != second.definition
    write(tmp_path / "m.py", value="1.0")
    assert source(text) == first.definition
    (tmp_path / "m.py").write_bytes((tmp_path / "m.py").read_bytes().replace(b"\n", b"\r\n"))
    assert source(text) == first.definition


def test_the_folder_does_not_count_and_built_in_proxies_have_versions(tmp_path: Path) -> None:
    assert source(write(tmp_path / "a" / "m.py")) == source(write(tmp_path / "b" / "other.py"))
    assert source("synflow") == ""


@pytest.mark.parametrize(
    ("imports", "inside", "file"),
    [
        ("import helper", "", "helper.py"),
        ("from helper import f", "", "helper.py"),
        ("", "from helper import f", "helper.py"),
        ("import kit.deep", "", "kit/deep.py"),
        ("from kit import deep", "", "kit/deep.py"),
        ("import kit.deep", "", "kit/__init__.py"),
        ("import first", "", "second.py"),
        ("import kit.relative", "", "kit/deep.py"),
    ],
)
def test_local_modules_count(tmp_path: Path, imports: str, inside: str, file: str) -> None:
    kit = tmp_path / "kit"
    kit.mkdir()
    for name, content in {
        "helper.py": "def f(): return 1", "first.py": "import second", "second.py": "X = 1", "kit/__init__.py": "",
        "kit/deep.py": "X = 1", "kit/relative.py": "from . import deep",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(content)
    text = (tmp_path / "m.py").read_bytes() if (tmp_path / "m.py").exists() else b""
    write(tmp_path / "m.py", imports=imports, inside=inside)
    text = (tmp_path / "m.py").read_bytes()
    before = digest_of_file(tmp_path / "m.py", text)
    (tmp_path / file).write_text((tmp_path / file).read_text() + "\nY = 2")
    assert digest_of_file(tmp_path / "m.py", text) != before
    (tmp_path / "unrelated.py").write_text("Z = 3")
    (tmp_path / file).write_text((tmp_path / file).read_text().removesuffix("\nY = 2"))
    assert digest_of_file(tmp_path / "m.py", text) == before


def test_a_module_that_was_imported_and_edited_is_refused(tmp_path: Path) -> None:
    (tmp_path / "helper_of_mine.py").write_text("def f(): return 1.0")
    text = write(tmp_path / "m.py", imports="from helper_of_mine import f", value="f()")
    assert source(text)
    (tmp_path / "helper_of_mine.py").write_text("def f(): return 2.0")
    with pytest.raises(InputError, match=r"helper_of_mine\.py has changed since this process imported it"):
        resolve(text)


def test_a_module_beside_the_file_is_the_one_that_runs_or_the_file_is_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        text = write(tmp_path / folder / f"{folder}.py", imports="import helper_x", value="helper_x.X", name=folder)
        (tmp_path / folder / "helper_x.py").write_text(f"X = {folder!r}")
    assert resolve(f"{tmp_path}/a/a.py:a")[0].proxy.function(None) == "a"  # type: ignore[arg-type, comparison-overlap]
    with pytest.raises(InputError, match=r"imports helper_x, which is .*b/helper_x\.py beside it, but .*a/helper"):
        resolve(text)


def test_the_folder_of_an_installation_is_no_beginning_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed, mine = tmp_path / "lib", tmp_path / "library"
    monkeypatch.setattr("prejudge.plugins.source._INSTALLED", (*_INSTALLED, str(installed)))
    text = write(mine / "m.py", inside="import helper_y")
    (mine / "helper_y.py").write_text("Y = 1")
    before = source(text)
    (mine / "helper_y.py").write_text("Y = 2")
    assert source(text) != before


def test_an_imported_module_that_is_edited_runs_and_counts_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "mine_z.py", value="helper()", imports="LIST = [1]\ndef helper(): return LIST[0]\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("mine_z")
    before = source("mine")
    text = (tmp_path / "mine_z.py").read_text()
    (tmp_path / "mine_z.py").write_text("# moved\n" + text.replace("return LIST[0]", "return LIST[-1]"))
    assert source("mine") == before  # what runs is the old one
    importlib.reload(module)
    assert source("mine") != before
    (tmp_path / "mine_z.py").write_text(text)
    importlib.reload(module)
    assert source("mine") == before
    module.LIST = [2]
    assert source("mine") != before


def test_options_may_have_colons(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text(PROXY.format(name="mine", value="1", imports="", inside="").replace("power=1", "mode=''"))
    assert str(resolve(f"{path}:mine(mode='a.py:b')")[0]) == "mine(mode='a.py:b')"


def test_two_proxies_of_one_name_are_refused(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a.py", value="1"), write(tmp_path / "b.py", value="2")
    with pytest.raises(InputError, match="two different proxies are called mine"):
        resolve([one, two])
    with pytest.raises(InputError, match=r"proxy 'synflow' is built in"):
        resolve(write(tmp_path / "c.py", name="synflow"))
    with pytest.raises(InputError, match=r"d\.py registers no proxy 'mine'"):
        write(tmp_path / "d.py", name="yours")
        resolve(f"{tmp_path / 'd.py'}:mine")


@pytest.mark.parametrize("ending", ["sys.exit(0)", "raise KeyError('x')", "import no_such_module_at_all", "def f(:"])
def test_a_file_that_cannot_be_run_is_refused_by_name(tmp_path: Path, ending: str) -> None:
    (tmp_path / "m.py").write_text(f"import sys\n{ending}\n")
    with pytest.raises(InputError, match=r"proxy file .*m\.py failed"):
        resolve(f"{tmp_path / 'm.py'}:mine")


def loaded(tmp_path: Path, text: str) -> ModuleType:
    (tmp_path / "notebook_cells.py").write_text(text)
    sys.modules.pop("notebook_cells", None)
    sys.path.insert(0, str(tmp_path))
    importlib.invalidate_caches()
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        module = importlib.import_module("notebook_cells")
    finally:
        sys.dont_write_bytecode = before
    return module


CELLS = "import math\nSCALE = 2\nOTHER = 1\ndef helper(x): return x * SCALE\ndef unused(): return 0\n"
CELLS += "class Kernel:\n    def value(self): return helper(1)\n"


@pytest.mark.parametrize(
    ("function", "old", "new", "changes"),
    [
        ("def f(probe): return 1", "return 1", "return 2", True),
        ("def f(probe): return helper(1)", "x * SCALE", "x + SCALE", True),
        ("def f(probe): return helper(1)", "SCALE = 2", "SCALE = 3", True),
        ("def f(probe): return Kernel().value()", "x * SCALE", "x + SCALE", True),
        ("def f(probe): return [helper(i) for i in range(3)]", "x * SCALE", "x - SCALE", True),
        ("f = lambda probe: helper(1)", "x * SCALE", "x + SCALE", True),
        ("def f(probe): return helper(1)", "OTHER = 1", "OTHER = 5", False),
        ("def f(probe): return helper(1)", "return 0", "return 7", False),
        ("def f(probe): return math.pi", "def unused", "def unused_now", False),
    ],
)
def test_what_a_function_of_a_script_uses_counts(
    tmp_path: Path, function: str, old: str, new: str, changes: bool
) -> None:
    digest: Callable[[str], Any] = lambda text: digest_of_function(loaded(tmp_path, text).f)  # noqa: E731
    before = digest(CELLS + function + "\n")
    import linecache

    linecache.clearcache()
    assert (digest((CELLS + function + "\n").replace(old, new)) != before) == changes
