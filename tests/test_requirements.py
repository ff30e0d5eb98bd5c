"""The files of versions fit pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_INSTALLED = {"mosek", "fuzz"}
"""Extras that `make test` leaves out."""


def pinned(name: str) -> dict[str, Requirement]:
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if not line.startswith("#")]
    return {canonicalize_name(one.name): one for one in found}


def required() -> list[Requirement]:
    extras = [r for name, rs in PROJECT["optional-dependencies"].items() if name not in NOT_INSTALLED for r in rs]
    return [r for r in map(Requirement, [*PROJECT["dependencies"], *extras]) if r.name != "prejudge"]


@pytest.mark.parametrize("one", required(), ids=lambda one: one.name)
def test_what_is_required_has_an_exact_version_that_fits(one: Requirement) -> None:
    (exact,) = pinned("locked.txt")[canonicalize_name(one.name)].specifier
    assert exact.operator == "=="
    assert one.specifier.contains(exact.version), f"{one} but {exact}"


def test_exact_versions_name_no_host_and_no_folder() -> None:
    text = (ROOT / "requirements" / "locked.txt").read_text(encoding="utf-8")
    assert not re.search(r"://|@ |file:|/work|^-", text, re.MULTILINE)


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    bounds = {}
    for one in map(Requirement, PROJECT["dependencies"]):
        (least,) = [s.version for s in one.specifier if s.operator == ">="]
        bounds[canonicalize_name(one.name)] = f"=={least}"
    assert {name: str(one.specifier) for name, one in pinned("oldest.txt").items()} == bounds
