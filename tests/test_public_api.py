"""The names that `import prejudge` promises."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

import prejudge
from prejudge.errors import PrejudgeError


@pytest.mark.parametrize("name", prejudge.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(prejudge, name)
    assert name in dir(prejudge)
    if name != "__version__":
        assert value.__doc__, f"prejudge.{name} has no docstring"


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        prejudge.no_such_name  # noqa: B018
    assert not hasattr(prejudge, "search_everything")


def test_the_version_is_the_distribution_s() -> None:
    assert metadata.version("prejudge") == prejudge.__version__


def test_the_version_is_the_same_everywhere() -> None:
    root = Path(prejudge.__file__).parents[1]
    for name, pattern in (("CITATION.cff", r"^version: (\S+)$"), ("CHANGELOG.md", r"^## (\d\S*)")):
        found = re.search(pattern, (root / name).read_text(encoding="utf-8"), re.MULTILINE)
        assert found is not None, name
        assert found[1] == prejudge.__version__, name


def test_errors_can_be_caught_as_one() -> None:
    with pytest.raises(PrejudgeError):
        prejudge.space("no such space")
    with pytest.raises(ValueError, match="nasbench201"):
        prejudge.space("nasbench21")


def test_typed_marker_is_shipped() -> None:
    assert (Path(prejudge.__file__).parent / "py.typed").is_file()
