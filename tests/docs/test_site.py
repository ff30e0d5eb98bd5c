"""The manual can be built without a warning, and its pages load nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

pytest.importorskip("mkdocstrings", reason="the tools of the manual are not installed (mkdocs-material, mkdocstrings)")

_LOADED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?([^\s\">]+)|<link\b[^>]*>")
_HREF = re.compile(r"\bhref=\"?([^\s\">]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages."""
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.mark.slow
def test_it_is_built_without_a_warning(site: Path) -> None:
    assert (site / "index.html").is_file()
    assert not (site / "hooks").exists()


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        for found in _LOADED.finditer(page.read_text(encoding="utf-8")):
            href = _HREF.search(found[0])
            target = found[1] or (href[1] if href else "")
            assert "//" not in target, f"{page.name} loads {target}"


@pytest.mark.slow
def test_every_formula_became_mathml(site: Path) -> None:
    page = (site / "proxies.html").read_text(encoding="utf-8")
    assert page.count("<math ") > 40
    for page_file in site.rglob("*.html"):
        assert "arithmatex" not in page_file.read_text(encoding="utf-8"), page_file.name
