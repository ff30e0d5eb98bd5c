"""The blocks that reports are composed of: tables, charts, summaries, definitions, texts. Plain values, checked once.

A page is a list of sections, a section a list of blocks. One HTML template shows all of them; Markdown and LaTeX hold
the tables that are :attr:`DataTable.printed`. All texts are plain; whoever writes them out escapes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

from prejudge.errors import InputError
from prejudge.report import numbers

if TYPE_CHECKING:
    import pandas as pd

When = tuple[str, ...]
"""One option of each of a page's choices, where a block is one of several variants; empty: it is always shown."""


@dataclass(frozen=True)
class TableColumn:
    """One column of a table.

    Attributes:
        key: Its name in code.
        heading: What stands above it, with the unit.
        meaning: One sentence for the reader.
        text: The text of a number.
        better: The direction in which numbers are good, from which sorting begins. Empty: none.
        layout: ``"number"`` (to the right), ``"text"`` (to the left), ``"code"`` (a line for each line) or ``"bar"``.
        printed: Whether Markdown and LaTeX have it.
        notes_printed: Whether Markdown and LaTeX have the notes of its cells, which a page shows who points at them.
    """

    key: str
    heading: str
    meaning: str = ""
    text: Callable[[float], str] = numbers.count
    better: Literal["", "high", "low"] = ""
    layout: Literal["number", "text", "code", "bar"] = "number"
    printed: bool = True
    notes_printed: bool = False

    def cell(self, value: float, **about: Any) -> TableCell:
        """The cell of a number; a dash where it is NaN or infinite."""
        return TableCell(self.text(value), numbers.finite(value), **about)


Keep = Callable[[TableColumn], bool]
"""Which columns of a table are wanted."""


@dataclass(frozen=True)
class Bar:
    """A bar from zero to a value, drawn in a cell.

    Attributes:
        value: Its end; None draws none.
        low: Lower end of the value's interval; None where unknown.
        high: Upper end.
        mark: Where a dashed line stands; None: nowhere.
        dot: Whether a dot marks the value.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    mark: float | None = None
    dot: bool = True


@dataclass(frozen=True)
class TableCell:
    """One cell of a table.

    Attributes:
        text: What it says.
        value: What it sorts by; None sorts last.
        note: A smaller text below.
        title: What a reader sees who points at it.
        bold: Whether it is among the best of its column, as far as that is certain.
        tone: Its background in a matrix, from -1 (orange) over 0 (none) to 1 (blue).
        kind: ``"self"``: the diagonal of a matrix; ``"open"``: undecided; ``"plain"``: beside the matrix.
        bar: A bar in place of the text.
    """

    text: str
    value: float | None = None
    note: str = ""
    title: str = ""
    bold: bool = False
    tone: float = 0.0
    kind: Literal["", "self", "open", "plain"] = ""
    bar: Bar | None = None


@dataclass(frozen=True)
class TableRow:
    """One row of a table: its name, its cells, its group, and a smaller text below the name."""

    name: str
    cells: tuple[TableCell, ...]
    group: str = ""
    note: str = ""


@dataclass(frozen=True)
class DataTable:
    """A table of numbers.

    Attributes:
        heading: What it shows: the heading in papers, and what screen readers call it.
        names: What stands above the names of the rows.
        columns: The columns beside the names.
        rows: The rows, as a page shows them.
        caption: What a reader of a paper must know.
        groups: Groups of rows in the order in which papers show them, divided by lines; pages mark all but the first.
        layout: ``"list"``, or ``"matrix"``: colored cells below upright headings.
        axis: Ends of the bars' axis.
        ticks: Numbers that stand above it.
        sortable: Whether a click on a heading sorts.
        printed: Whether Markdown and LaTeX show it.
        folded: The words that unfold it; empty where it is always open.
        when: Which variant it is.
    """

    heading: str
    names: str
    columns: tuple[TableColumn, ...]
    rows: tuple[TableRow, ...]
    caption: str = ""
    groups: tuple[str, ...] = ("",)
    layout: Literal["list", "matrix"] = "list"
    axis: tuple[float, float] = (0.0, 1.0)
    ticks: tuple[float, ...] = ()
    sortable: bool = False
    printed: bool = False
    folded: str = ""
    when: When = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise InputError(f"{self.heading}: {len(self.columns)} columns, row {row.name!r} has {len(row.cells)}")
            if row.group not in self.groups:
                raise InputError(f"{self.heading}: row {row.name!r} is of no group ({row.group!r})")

    @property
    def legend(self) -> dict[str, str]:
        """Headings and meanings of the columns that have one."""
        return {column.heading: column.meaning for column in self.columns if column.meaning and column.layout != "bar"}

    def headings(self, keep: Keep = attrgetter("printed")) -> list[str]:
        """The heading of the names, and those of the columns to keep: by default those that papers show."""
        return [self.names, *(column.heading for column in self.columns if keep(column))]

    def texts(
        self, row: TableRow, keep: Callable[[TableColumn], bool] = attrgetter("printed")
    ) -> list[tuple[str, bool]]:
        """The text of each cell to keep as papers and the screen show it, and whether it is bold."""
        return [
            (f"{cell.text} {cell.note}" if cell.note and column.notes_printed else cell.text, cell.bold)
            for column, cell in zip(self.columns, row.cells, strict=True)
            if keep(column)
        ]


@dataclass(frozen=True)
class Summary:
    """The figures at the top of a page: label, value and detail of each."""

    figures: tuple[tuple[str, str, str], ...]
    when: When = ()


@dataclass(frozen=True)
class Definitions:
    """Labels and what they mean, or what is known of them: pairs below each other, or a legend in columns."""

    items: Mapping[str, str]
    legend: bool = False


@dataclass(frozen=True)
class Paragraph:
    """A text; ``code``: in the letters of code."""

    text: str
    code: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture, as a data URL, with its description in words."""

    url: str
    description: str


@dataclass(frozen=True)
class Charts:
    """Charts that the page's script draws.

    Attributes:
        kind: ``"scatter"`` or ``"lines"``: the script that draws them.
        content: What the script needs, as JSON values, given the most bytes that it may take.
        segments: What a reader can choose between, per group of buttons.
    """

    kind: Literal["scatter", "lines"]
    content: Callable[[int], Mapping[str, Any]]
    segments: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """Blocks below a small heading; the groups of a section stand side by side where there is room."""

    heading: str
    blocks: tuple[Block, ...]
    context: str = ""


Block = DataTable | Definitions | Paragraph | Picture | Charts | Group


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        id: Its anchor.
        link: Its name in the list of sections; empty where it is not listed.
        heading: Its heading.
        blocks: Its content.
        texts: Explanations above it.
        offline: The text that stands where scripts are off.
        context: A text beside the heading; or the page's choices that stand there, as their numbers.
        half: Whether two such sections share a line.
        group_width: Pixels below which groups do not stand side by side.
    """

    id: str
    link: str
    heading: str
    blocks: tuple[Block, ...]
    texts: tuple[str, ...] = ()
    offline: str = ""
    context: str | tuple[int, ...] = ""
    half: bool = False
    group_width: int = 340


@dataclass(frozen=True, eq=False)
class ReportPage:
    """A report.

    Attributes:
        kind: What sort of report it is.
        title: Its heading.
        space: Name of the search space.
        lede: What it is about, in pairs of an emphasized and a plain text.
        summaries: The figures above the sections, one for each variant.
        sections: Its parts.
        records: Its numbers in full precision: what CSV holds.
        warnings: What a reader must know to trust it.
        closing: Its last sentence.
        choices: Labels and options of what a reader can choose; blocks that are variants say to which they belong.

    Raises:
        InputError: Two sections have one anchor, or a block belongs to no choice.
    """

    kind: str
    title: str
    space: str
    lede: tuple[tuple[str, str], ...]
    summaries: tuple[Summary, ...]
    sections: tuple[Section, ...]
    records: pd.DataFrame
    warnings: tuple[str, ...] = ()
    closing: str = ""
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        anchors = [section.id for section in self.sections]
        if twice := next((anchor for anchor in anchors if anchors.count(anchor) > 1), None):
            raise InputError(f"two sections have the anchor {twice!r}")
        for when in [*(summary.when for summary in self.summaries), *(table.when for table in self.tables())]:
            options = tuple(self.choices.values())
            if when and (len(when) != len(options) or any(o not in of for o, of in zip(when, options, strict=True))):
                raise InputError(f"no choice of {', '.join(self.choices)} is {when}")

    @property
    def chosen(self) -> When:
        """The variant that is shown first."""
        return self.summaries[0].when if self.summaries else ()

    def tables(self) -> Iterator[DataTable]:
        """All tables, in their order."""
        for section in self.sections:
            for block in section.blocks:
                for inner in block.blocks if isinstance(block, Group) else (block,):
                    if isinstance(inner, DataTable):
                        yield inner


def origin_sections(
    protocol: Mapping[str, str], provenance: Mapping[str, str], of: str = "", number: int = 1
) -> tuple[Section, Section]:
    """The two sections that say how a report's numbers came about.

    Args:
        protocol: What they depend on, label to text.
        provenance: Versions, machine and files, label to text.
        of: Whose they are, where a page has several.
        number: Which of several they are, from 1: only the first are listed.
    """
    found = []
    for name, items in (("Protocol", protocol), ("Provenance", provenance)):
        lower = name.lower()
        blocks: tuple[Block, ...] = (Definitions(items),) if items else (Paragraph(f"No {lower} was recorded."),)
        anchor, link = (lower, name) if number == 1 else (f"{lower}-{number}", "")
        found.append(Section(anchor, link, f"{name} of {of}" if of else name, blocks, half=True))
    return found[0], found[1]
