"""Every command and every Python block of the manual and of the README runs, or says why it does not."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from prejudge import cli
from prejudge.proxies.registry import register as proxies
from prejudge.search.registry import register as searches
from prejudge.spaces import base as spaces
from tests.docs.pages import PAGES, ROOT, Block, blocks, commands

OTHER_PROGRAMS = {"python": [sys.executable], "pytest": [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]}
"""Programs besides prejudge that a console block may call."""

RUNNABLE = ("console", "python")


def identify(page: Path) -> str:
    return str(page.relative_to(ROOT))


def to_run(page: Path, *, slow: bool) -> list[Block]:
    wanted = [b for b in blocks(page) if "not run" not in b.remarks and (slow or "slow" not in b.remarks)]
    return [b for b in wanted if b.title or b.language in RUNNABLE or "output" in b.remarks]


WITH_CODE = [p for p in PAGES if any(b.language in RUNNABLE for b in to_run(p, slow=False))]
WITH_SLOW = [p for p in PAGES if any("slow" in b.remarks for b in to_run(p, slow=True))]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in, with folders for the user's own files; registers and threads are put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / f".{name.lower()}"))
    for where, name in ((proxies, "items"), (searches, "items"), (spaces, "_makers"), (spaces, "_made")):
        monkeypatch.setattr(where, name, dict(getattr(where, name)))
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)  # a command with --threads leaves its own
    for name, module in list(sys.modules.items()):  # files of a page that another page may have under the same name
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def run_page(page: Path, *, slow: bool) -> None:
    """Run the blocks of a page in order, in the working directory; names of Python blocks carry over."""
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    for block in to_run(page, slow=slow):
        if "output" in block.remarks:
            assert tidy(printed) == tidy(block.text), f"{block.where}: the output is another"
        elif block.title:
            Path(block.title).write_text(block.small, encoding="utf-8")
        else:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                if block.language == "python":
                    exec(compile(block.small, block.where, "exec"), names)
                else:
                    for words in commands(block, small=True):
                        run_command(block, words)
            printed = out.getvalue()


def run_command(block: Block, words: list[str]) -> None:
    program, *arguments = words
    if program == "prejudge":
        with contextlib.redirect_stderr(io.StringIO()) as err:
            code = cli.run(arguments)
        assert code == 0, f"{block.where}: {' '.join(words)} ended with {code}: {err.getvalue()}"
        return
    assert program in OTHER_PROGRAMS, f"{block.where}: say with <!-- not run: REASON --> why {program} is not run"
    done = subprocess.run([*OTHER_PROGRAMS[program], *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{block.where}: {' '.join(words)} failed:\n{done.stdout}\n{done.stderr}"
    print(done.stdout, end="")


def tidy(text: str) -> list[str]:
    """Lines without the spaces at their ends, and without empty lines around them."""
    return [line.rstrip() for line in text.strip("\n").splitlines()]


@pytest.mark.parametrize("page", WITH_CODE, ids=identify)
@pytest.mark.usefixtures("folder")
@pytest.mark.filterwarnings("ignore::prejudge.benchmarks.RepresentativeWarning", "ignore:table nasbench201-digits")
def test_the_blocks_of_a_page_run(page: Path) -> None:
    run_page(page, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_SLOW, ids=identify)
@pytest.mark.usefixtures("folder")
@pytest.mark.filterwarnings("ignore::prejudge.benchmarks.RepresentativeWarning", "ignore:table nasbench201-digits")
def test_the_slow_blocks_of_a_page_run(page: Path) -> None:
    run_page(page, slow=True)


@pytest.mark.parametrize("page", PAGES, ids=identify)
@pytest.mark.usefixtures("folder")
def test_blocks_that_are_not_run_are_well_formed(page: Path) -> None:
    for block in blocks(page):
        for remark in ("not run", "slow"):
            assert block.remarks.get(remark, remark), f"{block.where}: give the reason after '{remark}:'"
        if block.title:
            Path(block.title).write_text(block.text, encoding="utf-8")
        if block.language == "python":
            compile(block.text, block.where, "exec")
        elif block.language == "console":
            found = commands(block)
            assert found, f"{block.where}: a console block needs a line that begins with '$ '"
            for words in found:
                if words[0] == "prejudge":
                    assert_parses(block, words[1:])


def assert_parses(block: Block, words: list[str]) -> None:
    from cyclopts.exceptions import CycloptsError

    from prejudge.errors import PrejudgeError

    if "--help" in words or "--version" in words:
        return
    try:
        cli.build_app().parse_args(words, print_error=False, exit_on_error=False)
    except (CycloptsError, PrejudgeError) as error:
        raise AssertionError(f"{block.where}: prejudge {' '.join(words)}: {error}") from None
