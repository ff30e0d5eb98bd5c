"""Recipes: the arguments of commands, kept in a YAML file.

A recipe is a mapping with one section per command (``score``, ``report`` …) that holds its arguments under the names
that its ``--help`` shows, beside a ``title`` and whatever else a reader should know. ``--recipe FILE`` fills in the
arguments that the command line leaves out. ``extends: NAME`` takes over another recipe's content, section by section,
and says only what differs; an argument of null is taken out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prejudge.errors import FileFormatError, MissingDataError, unknown
from prejudge.formats.text import is_file


def folder() -> Path | None:
    """The folder of the shipped recipes; None where this installation has none."""
    package = Path(__file__).parents[1]
    for place in (package / "recipes", package.parent / "recipes"):
        if place.is_dir():
            return place
    return None


def shipped() -> dict[str, Path]:
    """Name and file of every shipped recipe."""
    place = folder()
    return {p.stem: p for p in sorted(place.glob("*.yaml"))} if place else {}


def read(name_or_path: str) -> dict[str, Any]:
    """The content of a recipe, with that of the recipe that it extends.

    Raises:
        MissingDataError: No such file.
        InputError: Neither a file nor the name of a shipped recipe.
        FileFormatError: The file is not a YAML mapping, or extends something else than a whole shipped recipe.
    """
    content = _read_one(name_or_path)
    base = content.pop("extends", None)
    if base is None:
        return content
    if not isinstance(base, str) or base not in shipped():
        raise FileFormatError(f"recipe {name_or_path} extends {str(base)[:80]!r}, which is not a shipped recipe")
    whole = _read_one(base)
    if "extends" in whole:  # one step is enough, and cannot go round in circles
        raise FileFormatError(f"recipe {name_or_path} extends {base}, which extends {whole['extends']} itself")
    return _merged(whole, content)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        before = base.get(key)
        merged[key] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
        if isinstance(merged[key], dict):
            merged[key] = {name: item for name, item in merged[key].items() if item is not None}
    return merged


def _read_one(name_or_path: str) -> dict[str, Any]:
    from prejudge.formats.yaml import load_yaml

    path = Path(name_or_path)
    if not is_file(path):
        if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
            raise MissingDataError(f"no recipe file {name_or_path}")
        if name_or_path not in shipped():
            raise unknown("recipe", name_or_path, shipped())
        path = shipped()[name_or_path]
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileFormatError(f"recipe {path} is not YAML for recipes: {error}") from None
    if not isinstance(content, dict):
        raise FileFormatError(
            f"recipe {path} must be a mapping with a section per command, not {type(content).__name__}"
        )
    return content
