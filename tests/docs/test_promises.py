"""Each promise of the pages on safety, files and clusters names tests that hold it, and these exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT

PAGES = {ROOT / "SECURITY.md": 15, DOCS / "files.md": 8, DOCS / "cluster.md": 9}
"""Pages, and how many promises each has at least."""

_NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


@cache
def _tests_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name.startswith("test_"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_promise_names_tests_that_exist(page: Path) -> None:
    section = page.read_text(encoding="utf-8").partition("# What shows it\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= PAGES[page]
    for promise, named in rows:
        found = _NAMED.findall(named)
        assert found, promise
        assert _NAMED.sub("", named).strip(", ") == "", f"{promise}: {named}"
        for file, name in found:
            path = ROOT / "tests" / file
            assert path.is_file(), f"{promise}: {file}"
            assert name in _tests_in(path), f"{promise}: {file} has no {name}"
