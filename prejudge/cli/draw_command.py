"""``prejudge draw``: pictures of an architecture's cells, and of what went on inside a supernet."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cyclopts import App

from prejudge.cli import COMMANDS, output
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
    show: Literal["cells", "epochs", "likeness", "worth"] = "cells",
    seed: int | None = None,
    title: str | None = None,
    as_json: output.Json = False,
) -> None:
    """Draw the cells of an architecture, or what a search result says of its supernet.

    Args:
        space: Search space, e.g. darts (see: prejudge list spaces); or the result file of a search.
        arch: Architecture in any notation of the space; for darts also a published name (see: prejudge list genotypes).
            Left out with a result file, which has the answer.
        out: Picture to write; .svg, .png or .pdf.
        show: cells; of a supernet search also epochs (loss, accuracy, entropy of the weights, share of skips), likeness
            (of operations, by their features) or worth (weight of each operation against its own network's accuracy):
            the last two where StacNAS was asked for them.
        seed: Which run of a result file; the best one if left out.
        title: Heading; says what is drawn if left out.
        as_json: Print JSON instead of text.
    """
    from prejudge.report.cell_drawing import draw_cells
    from prejudge.spaces import space as find_space

    if arch is None:
        written, text = _draw_result(Path(space), out, show, seed, title)
    elif show != "cells" or seed is not None:
        raise InputError("--show and --seed are for result files; give one instead of a space and an architecture")
    else:
        where = find_space(space)
        found = where.parse(arch)
        written, text = draw_cells(where.graphs(found), out, title=arch if title is None else title), str(found)
    if as_json:
        output.print_json({"written": written, "architecture": text})
    else:
        print(f"wrote {written}")


def _draw_result(file: Path, out: Path, show: str, seed: int | None, title: str | None) -> tuple[Path, str]:
    """Draw something of a search result; the path written, and the answer of the run that is drawn."""
    from prejudge.report import supernet_drawing as pictures
    from prejudge.report.cell_drawing import draw_cells
    from prejudge.search.result import read_result
    from prejudge.spaces import space as find_space

    result = read_result(file)
    run = result.best_run if seed is None else result.run(seed)
    heading = f"{result.method} in {result.space}, seed {run.seed}" if title is None else title
    if show == "cells":
        where = find_space(result.space)
        return draw_cells(where.graphs(where.parse(run.recommendation)), out, title=heading), run.recommendation
    facts = run.metadata
    if show == "epochs" and "curve" in facts:
        values = [None if value != value else value for value in run.values.tolist()]
        epochs = [{**epoch, "valid": value} for epoch, value in zip(facts["curve"], values, strict=True)]
        return pictures.draw_epochs(epochs, facts["stages"], out, title=heading), run.recommendation
    if show == "likeness" and "features" in facts:
        return pictures.draw_likeness(facts["features"], out, title=heading), run.recommendation
    if show == "worth" and "single operations" in facts:
        return pictures.draw_worth(facts["single operations"], out, title=heading), run.recommendation
    remedy = {
        "epochs": "only searches on supernets have epochs",
        "likeness": "search with stacnas and --option features=10000",
        "worth": "search with stacnas and --option single_epochs=10",
    }
    raise InputError(f"{file} has nothing about {show}; {remedy[show]}")
