"""``prejudge draw``: pictures of an architecture's cells, and of what went on inside a supernet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from prejudge.cli import COMMANDS, output
from prejudge.cli.notation_option import Notation
from prejudge.cli.options import Positive
from prejudge.errors import InputError

app = App(
    name="draw",
    help=COMMANDS["draw"],
    help_epilogue=(
        "Example: prejudge draw darts DARTS_V2 --out darts-v2.svg\n"
        "Example: prejudge draw darts.h5 --out darts.svg\n"
        "Example: prejudge draw darts.h5 --show epochs --out epochs.svg"
    ),
)


@app.default
def draw(
    space: str,
    arch: str | None = None,
    /,
    *,
    out: Path,
    show: Literal["cells", "epochs", "similarity", "accuracies"] = "cells",
    seed: int | None = None,
    title: str | None = None,
    data: str | None = None,
    data_dir: Path | None = None,
    normalization: str | None = None,
    images: Annotated[int, Parameter(validator=Positive)] = 10_000,
    epochs: Annotated[int, Parameter(validator=Positive)] = 10,
    notation: Notation = None,
    as_json: output.Json = False,
) -> None:
    """Draw the cells of an architecture, or what a search result says of its supernet.

    Args:
        space: Search space, e.g. darts (see: prejudge list spaces); or the result file of a search.
        arch: Architecture in any notation of the space; for darts also a published name (see: prejudge list genotypes).
            Left out with a result file, which recommends one.
        out: Picture to write; .svg, .png or .pdf.
        show: cells; of a supernet search also epochs (loss, accuracy, entropy of the weights, share of skips),
            similarity (of operations, by their features) or accuracies (each operation's weight, and the accuracy of
            its own network): the last two where StacNAS was asked for them, or, with --data, computed now from any run
            of a supernet search in a DARTS space that is kept beside its result file.
        seed: Which run of a result file; the best one if left out.
        title: Heading; says what is drawn if left out.
        data: Training images of the search, as it named them: similarity and accuracies are computed with them.
        data_dir: Folder with the files of a named data set.
        normalization: As in the search.
        images: How many of the images, for the similarity.
        epochs: Epochs of the network of each operation, for the accuracies.
        as_json: Print JSON instead of text.
    """
    if arch is None:
        from prejudge.pipeline import draw_result

        loaded = None
        if data is not None:
            from prejudge.data.loading import load

            loaded = load(data, data_dir=data_dir, normalization=normalization)
        written, text = draw_result(
            Path(space), out, show=show, seed=seed, title=title, data=loaded, images=images, epochs=epochs
        )
    elif show != "cells" or seed is not None:
        raise InputError("--show and --seed are for result files; give one instead of a space and an architecture")
    else:
        from prejudge.report.cell_drawing import draw_cells
        from prejudge.spaces import space as find_space

        where = find_space(space)
        found = where.parse(arch, notation=notation)
        written, text = draw_cells(where.graphs(found), out, title=arch if title is None else title), str(found)
    if as_json:
        output.print_json({"written": written, "architecture": text})
    else:
        output.tell(f"wrote {written}")
