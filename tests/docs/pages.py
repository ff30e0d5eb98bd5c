"""The manual's pages as data: their code blocks, and the remarks in front of them that say how to test these.

A remark is an HTML comment in the lines directly before a block:

``<!-- not run: REASON -->``
    The block is not run. Python is compiled, and the lines of ``prejudge`` still have to parse.
``<!-- slow: REASON -->``
    The block is run by the slow test only; blocks after it must not need it.
``<!-- smaller: OLD = NEW; OLD = NEW -->``
    The block is run with these replacements of text, each of which must occur.
``<!-- output -->``
    Before a ``text`` block: what the block before it prints, to the letter.

A block with ``title="FILE"`` is the content of a file: it is written, not run.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

_FENCE = re.compile(r'^```(?P<language>\w+)?(?:\s+title="(?P<title>[^"]+)")?\s*$')
_REMARK = re.compile(r"^<!--\s*(not run|slow|smaller|output)(?::\s*(.*?))?\s*-->$")

README = ROOT / "README.md"
README_REMARKS = {
    "$ pip install .": ("not run", "it installs everything"),
    "import prejudge": ("smaller", "[:50] = [:12]"),
    "$ prejudge score nasbench201": (
        "smaller",
        "random:100 = random:12; --seeds 20 = --seeds 2; "
        'run digits-darts = run digits-darts --set "search darts.epochs=1" --set train.epochs=1',
    ),
}
"""Remarks for blocks of the README that have none there, by how the block begins."""


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: The file.
        line: Line of the opening fence, from 1.
        language: ``console``, ``python``, ``text`` …; empty where none is given.
        title: Name of the file whose content it is; empty for none.
        text: The content.
        remarks: The remarks before it: ``{"not run": reason, …}``.
    """

    page: Path
    line: int
    language: str
    title: str
    text: str
    remarks: dict[str, str]

    @property
    def where(self) -> str:
        """Page and line, for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def small(self) -> str:
        """The content with the replacements of ``smaller``."""
        text = self.text
        for change in filter(None, self.remarks.get("smaller", "").split(";")):
            old, equals, new = (part.strip() for part in change.partition(" = "))
            if not equals or old not in text:
                raise AssertionError(f"{self.where}: there is no {old!r} to make smaller")
            text = text.replace(old, new)
        return text


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found: list[Block] = []
    remarks: dict[str, str] = {}
    opened: tuple[int, re.Match[str], dict[str, str]] | None = None
    content: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if opened is not None:
            if line.rstrip() == "```":
                start, fence, before = opened
                text = "\n".join(content) + "\n"
                found.append(Block(page, start, fence["language"] or "", fence["title"] or "", text, before))
                opened, content = None, []
            else:
                content.append(line)
        elif fence := _FENCE.match(line):
            opened, remarks = (number, fence, remarks), {}
        elif remark := _REMARK.match(line.strip()):
            remarks[remark[1]] = remark[2] or ""
        elif line.strip():
            remarks = {}
    if opened is not None:
        raise AssertionError(f"{page}: the block of line {opened[0]} is not closed")
    return [_with_readme_remark(block) for block in found]


def commands(block: Block, *, small: bool = False) -> list[list[str]]:
    """The words of each command of a console block: lines that begin with ``$``, joined at a final backslash."""
    text = (block.small if small else block.text).replace("\\\n", " ")
    return [shlex.split(line[2:], comments=True) for line in text.splitlines() if line.startswith("$ ")]


def _with_readme_remark(block: Block) -> Block:
    if block.page != README or block.remarks:
        return block
    found = [dict([remark]) for beginning, remark in README_REMARKS.items() if block.text.startswith(beginning)]
    return replace(block, remarks=found[0]) if found else block
