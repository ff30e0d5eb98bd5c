"""Pictures of a search result: its cells, and the training of its supernet."""

from __future__ import annotations

from pathlib import Path

from prejudge.data.dataset import ImageDataset
from prejudge.errors import InputError
from prejudge.report import supernet_drawing as pictures
from prejudge.report.cell_drawing import draw_cells
from prejudge.search.result_file import read_result
from prejudge.spaces import space as find_space


def draw_result(
    file: Path,
    out: Path,
    *,
    show: str = "cells",
    seed: int | None = None,
    title: str | None = None,
    data: ImageDataset | None = None,
    images: int = 10_000,
    epochs: int = 10,
) -> tuple[Path, str]:
    """Draw the cells that a search found, or what it recorded of its supernet.

    Args:
        file: The result file of a search.
        out: The picture to write: ``.svg``, ``.png`` or ``.pdf``.
        show: ``"cells"``; of a search on a supernet also ``"epochs"``, ``"similarity"`` or ``"accuracies"``.
        seed: The run to draw; the best one by default.
        title: Heading; says what is drawn by default.
        data: Training images of the search, with which similarity and accuracies are computed now from the kept run
            (``FILE.run``), where the search was not asked for them.
        images: So many of them, for the similarity.
        epochs: Epochs of each network, for the accuracies.

    Returns:
        The path written, and the architecture that the run found.

    Raises:
        InputError: The file holds nothing of the kind, or no such run.
        FileFormatError: The file is not a search result.
    """
    result = read_result(file)
    run = result.best_run if seed is None else result.run(seed)
    heading = f"{result.method} in {result.space}, seed {run.seed}" if title is None else title
    if show == "cells":
        where = find_space(result.space)
        return draw_cells(where.graphs(where.parse(run.recommendation)), out, title=heading), run.recommendation
    facts = run.metadata
    if show == "epochs" and "curve" in facts:
        values = [None if value != value else value for value in run.values.tolist()]
        curve = [{**epoch, "valid": value} for epoch, value in zip(facts["curve"], values, strict=True)]
        return pictures.draw_epochs(curve, facts["stages"], out, title=heading), run.recommendation
    if show == "similarity" and "features" in facts:
        return pictures.draw_similarity(facts["features"], out, title=heading), run.recommendation
    if show == "accuracies" and "single operations" in facts:
        return pictures.draw_accuracies(facts["single operations"], out, title=heading), run.recommendation
    if data is not None and show in ("similarity", "accuracies"):
        from prejudge.search.supernet.kept_run import kept_supernet

        kept = kept_supernet(file.with_name(f"{file.name}.run") / f"seed-{run.seed}", data)
        if show == "similarity":
            return pictures.draw_similarity(kept.similarity(images), out, title=heading), run.recommendation
        return pictures.draw_accuracies(kept.single_operations(epochs), out, title=heading), run.recommendation
    again = "give the images of the search with --data, and it is computed from the kept run"
    remedy = {"epochs": "only searches on supernets have epochs", "similarity": again, "accuracies": again}
    raise InputError(f"{file} has nothing about {show}; {remedy[show]}")
