"""``prejudge draw``: a picture of an architecture's cells."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from prejudge.cli import COMMANDS, output

app = App(
    name="draw",
    help=COMMANDS["draw"],
    help_epilogue="Example: prejudge draw darts DARTS_V2 --out darts-v2.svg",
)


@app.default
def draw(space: str, arch: str, /, *, out: Path, title: str | None = None, as_json: output.Json = False) -> None:
    """Draw the cells of an architecture: vertices in order, an arc for each operation.

    Args:
        space: Search space, e.g. darts (see: prejudge list spaces).
        arch: Architecture in any notation of the space; for darts also a published name (see: prejudge list genotypes).
        out: Picture to write; .svg, .png or .pdf.
        title: Heading; the architecture as it was given if left out.
        as_json: Print JSON instead of text.
    """
    from prejudge.report.cell_drawing import draw_cells
    from prejudge.spaces import space as find_space

    where = find_space(space)
    found = where.parse(arch)
    written = draw_cells(where.graphs(found), out, title=arch if title is None else title)
    if as_json:
        output.print_json({"written": written, "architecture": str(found)})
    else:
        print(f"wrote {written}")
