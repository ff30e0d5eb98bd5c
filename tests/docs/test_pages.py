"""What pages state is what the code says: proxies, spaces, commands, searches, public names, links."""

from __future__ import annotations

import re
from importlib.util import find_spec
from inspect import ismodule
from pathlib import Path

import pytest
import yaml

import prejudge
from prejudge import cli
from prejudge.proxies.registry import register
from prejudge.search.registry import register as searches
from tests.docs.pages import DOCS, PAGES, README, ROOT
from tests.docs.proxy_facts import PAGE, with_facts

BUILT_IN = [name for name, p in register.items.items() if p.function.__module__.startswith("prejudge.proxies.")]


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_the_page_on_proxies_says_what_the_register_says() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_facts(page), "run python -m tests.docs.proxy_facts"


def test_every_proxy_has_its_section_and_every_section_its_proxy() -> None:
    headings = re.findall(r"^### (\w+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(BUILT_IN)
    assert re.findall(r"<!-- facts: (\w+) -->", PAGE.read_text(encoding="utf-8")) == headings


@pytest.mark.parametrize("name", prejudge.spaces.space_names())
def test_the_page_on_spaces_states_size_and_macro(name: str) -> None:
    page, space = text("spaces.md"), prejudge.space(name)
    assert f"`{name}`" in page
    assert name == "timm" or f"{space.size:,}" in page  # as many as the installed timm has
    for number, default in space.default_macro.items():
        assert f"| `{number}` | {default} |" in page, f"{name}: {number}={default}"


def test_every_search_is_explained_among_the_papers_or_the_supernets() -> None:
    built_in = [n for n, m in searches.items.items() if m.function.__module__.startswith("prejudge.")]
    assert {"evolution", "te-nas", "hnas", "darts"} <= set(built_in)
    pages = text("papers.md") + text("supernets.md")
    for name in built_in:
        assert f"`{name}`" in pages, name


def test_every_recipe_is_listed() -> None:
    for recipe in (ROOT / "recipes").glob("*.yaml"):
        assert f"`{recipe.stem}`" in text("papers.md"), recipe.stem


def test_the_readme_is_read_in_two_minutes() -> None:
    assert 300 <= len(README.read_text(encoding="utf-8").split()) <= 500


def test_every_command_is_listed() -> None:
    page = text("commands.md")
    for name in cli.COMMANDS:
        assert f"`prejudge {name}" in page, name


ROOMS = [n for n in prejudge.__all__ if hasattr(getattr(prejudge, n), "__path__")]


def test_every_public_name_is_in_the_reference() -> None:
    """A room's page shows its ``__all__``, but for names that a module of the room has, too."""
    pages = "\n".join(p.read_text(encoding="utf-8") for p in (DOCS / "api").glob("*.md"))
    listed = re.findall(r"^::: prejudge\.(\S+)$", pages, re.MULTILINE)
    assert set(ROOMS) <= set(listed)
    shown = {name.rpartition(".")[2] for name in listed}
    for room in ROOMS:
        names = [n for n in getattr(prejudge, room).__all__ if not ismodule(getattr(getattr(prejudge, room), n))]
        shown |= {n for n in names if find_spec(f"prejudge.{room}.{n}") is None}
        missing = {n for n in names if n not in shown}
        assert not missing, f"docs/api: name these of prejudge.{room} themselves: {sorted(missing)}"
    left = {n for n in prejudge.__all__ if n not in shown and n not in ROOMS}
    assert left <= {"__version__"}, f"docs/api lacks {sorted(left)}"


def test_the_navigation_names_pages_that_exist() -> None:
    class Loader(yaml.SafeLoader):
        """Reads the tags of Python names as plain text."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)
    settings = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)

    def leaves(node: object) -> list[str]:
        if isinstance(node, str):
            return [node]
        values = node.values() if isinstance(node, dict) else node
        return [leaf for value in values for leaf in leaves(value)]  # type: ignore[union-attr]

    for page in leaves(settings["nav"]):
        assert (DOCS / page).is_file(), page


WITH_LINKS = [*PAGES, *(ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"))]


@pytest.mark.parametrize("page", WITH_LINKS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", prose):
        if "://" in target or target.startswith("mailto:"):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{target} in {page.name}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{target}#{anchor} in {page.name}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as MkDocs makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", h.replace("`", "")).strip().lower()) for h in headings}
