"""Recipes as chains: every section is a step (a command with its arguments), and steps use each other's results.

A step is named by its section: the words of its command, and a label in round brackets where a command comes twice, as
in ``train (cifar100)``. In the arguments of later steps ``{NAME}`` stands for the path of its result; so does the name
of the file that the step itself calls ``out``. The first word of the command will do for a name where no other step
begins with it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prejudge.errors import InputError, quoted, unknown
from prejudge.pipeline.published_figures import PublishedFigure, read_figures

_SECTION = re.compile(r"(?P<words>[a-z0-9][a-z0-9 -]*?)(?: \((?P<label>[^()]+)\))?")
_PLACE = re.compile(r"\{([A-Za-z0-9][^{}\"':=,]*)\}")
_RESULTS = {
    "search": "search.h5",
    "score": "scores.h5",
    "bench train": "table.h5",
    "train": "",
    "test": "test.json",
    "report": "report.html",
    "draw": "cells.svg",
}
"""Default name of a step's result, by the beginning of its command; empty: the step's folder itself."""

COMMANDS = frozenset({*(start.split()[0] for start in _RESULTS), "cache", "demo", "list", "run"})
"""Sections that begin with one of these are commands; others are for the reader."""

_LONGEST_NAME = 100
_ELSEWHERE = frozenset(
    {
        "device",
        "threads",
        "workers",
        "compile",
        "channels-last",
        "data-dir",
        "download",
        "engine",
        "address",
        "threads-per-worker",
        "gpus-per-worker",
        "retries",
        "repeats-at-once",
    }
)
"""Arguments that say where something is computed or read, not what: a result counts whatever they are."""


@dataclass(frozen=True)
class Step:
    """A command with its arguments.

    Attributes:
        name: Its name in messages and in the arguments of later steps.
        command: Its words, such as ``("search", "darts")``.
        arguments: By the names that its ``--help`` shows.
        result: Name of its result within its folder; empty: that folder.
    """

    name: str
    command: tuple[str, ...]
    arguments: Mapping[str, Any]
    result: str

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    def place(self, out: Path) -> Path:
        """The path of its result."""
        return out / self.folder / self.result if self.result else out / self.folder


@dataclass(frozen=True)
class Chain:
    """The steps of a recipe, in order.

    Attributes:
        title: Title of the recipe.
        steps: The steps.
        published: Figures of the paper.
    """

    title: str
    steps: tuple[Step, ...]
    published: tuple[PublishedFigure, ...] = ()

    def words(self, step: Step, out: Path) -> list[str]:
        """The command line of a step, with paths for the results of others."""
        places = {name: str(other.place(out)) for name, other in self._known(step).items()}
        return [*step.command, *_words(step, places), "--out", str(step.place(out))]

    def key(self, step: Step) -> str:
        """A digest of everything that a step's result depends on: its arguments, and the keys of earlier steps."""
        keys = {name: self.key(other) for name, other in self._known(step).items()}
        chosen = {k: v for k, v in step.arguments.items() if k not in _ELSEWHERE}
        words = _words(Step(step.name, step.command, chosen, step.result), keys)
        return hashlib.sha256(json.dumps([*step.command, *words]).encode()).hexdigest()[:16]

    def _known(self, step: Step) -> dict[str, Step]:
        """The steps before one, by every name that it may call them."""
        before = self.steps[: self.steps.index(step)]
        known = {other.name: other for other in before}
        for other in before:
            for short in (" ".join(other.command), other.command[0]):
                if sum(s.command[: len(short.split())] == tuple(short.split()) for s in before) == 1:
                    known.setdefault(short, other)
        for other in before:
            if other.arguments.get("out"):
                known.setdefault(f"out:{other.arguments['out']}", other)
        return known


def read_chain(content: Mapping[str, Any], changed: Mapping[str, Mapping[str, Any]] | None = None) -> Chain:
    """The chain of a recipe.

    Args:
        content: Of the recipe.
        changed: Arguments that go before the recipe's, by step.

    Raises:
        InputError: There is no step, a section cannot be one, or ``changed`` names a step that there is not.
    """
    steps = []
    left = dict(changed or {})
    for section, arguments in content.items():
        found = _SECTION.fullmatch(str(section))
        if found is None or found["words"].split()[0] not in COMMANDS or not isinstance(arguments, Mapping):
            continue
        words, name = tuple(found["words"].split()), str(section)
        given = {str(k).replace("_", "-"): v for k, v in arguments.items()}
        given |= {k.replace("_", "-"): v for k, v in left.pop(name, {}).items()}
        steps.append(Step(name, words, given, _result(words, given)))
    if not steps:
        raise InputError("the recipe has no section that is a command; there is nothing to run")
    if left:
        raise unknown("step", next(iter(left)), [step.name for step in steps])
    if len({step.folder for step in steps}) < len(steps):
        raise InputError("two steps have names that differ in punctuation alone; give one of them another label")
    figures = read_figures(content.get("published"))
    for figure in figures:
        if figure.step and figure.step not in [step.name for step in steps]:
            raise unknown("step of a published figure", figure.step, [step.name for step in steps])
    return Chain(str(content.get("title", "")), tuple(steps), figures)


def placeholders(value: Any) -> Iterator[str]:
    """Names of the steps whose results an argument of a recipe asks for."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str):
            yield from _PLACE.findall(item)


def _words(step: Step, known: Mapping[str, str]) -> list[str]:
    found = []
    for name, value in step.arguments.items():
        if name == "out" or value is None:
            continue
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, bool):
                found.append(f"--{name}" if item else f"--{name}=false")
            else:
                found += [f"--{name}", _filled(step, str(item), known)]
    return found


def _filled(step: Step, text: str, known: Mapping[str, str]) -> str:
    def place(found: re.Match[str]) -> str:
        if found[1] not in known:
            names = [name for name in known if not name.startswith("out:")]
            raise unknown(f"earlier step in the arguments of {step.name!r}:", found[1], names)
        return known[found[1]]

    head, equals, tail = text.rpartition("=")
    if f"out:{tail}" in known:
        return f"{head}{equals}{known[f'out:{tail}']}"
    return _PLACE.sub(place, text)


def _result(command: tuple[str, ...], arguments: Mapping[str, Any]) -> str:
    words = " ".join(command)
    default = next((r for start, r in _RESULTS.items() if f"{words} ".startswith(f"{start} ")), None)
    if default is None:
        raise InputError(
            f"`prejudge {words}` cannot be a step: it has no result for others ({', '.join(_RESULTS)} can)"
        )
    given = arguments.get("out")
    if given is None or not default:
        return default
    name = Path(str(given)).name
    if name in ("", "..") or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise InputError(f"the out of `prejudge {words}` must be the name of a file, not {quoted(given)}")
    return name
