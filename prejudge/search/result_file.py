"""The file of a search's result: one self-describing HDF5 file for every kind of search."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.errors import FileFormatError, InputError, MissingDataError
from prejudge.formats import hdf5
from prejudge.search.result import SearchResult, Trajectory

FORMAT = "prejudge-search"
VERSION = 1
_STEPS = {"architecture": "u", "epochs": "i", "value": "f", "seconds": "f"}
_INDEX = {
    "method": str, "options": dict, "space": str, "objective": dict, "budget": dict, "provenance": dict, "runs": list,
}  # fmt: skip
_RUN = {"seed": int, "recommendation": str, "steps": int, "overhead": int | float, "metadata": dict}


def write_result(result: SearchResult, path: str | os.PathLike[str]) -> Path:
    """Write the file: all of it or nothing.

    Raises:
        InputError: There is no run.
        PrejudgeError: The file cannot be written.
    """
    path = Path(path)
    runs = result.trajectories
    if not runs:
        raise InputError(f"no run of {result.method} to write to {path}")
    texts = list(dict.fromkeys(a for run in runs for a in run.architectures))
    number = {text: i for i, text in enumerate(texts)}
    index: dict[str, Any] = {
        "method": result.method,
        "options": result.options,
        "space": result.space,
        "objective": result.objective,
        "budget": result.budget,
        "provenance": result.provenance,
        "runs": [
            {
                "seed": r.seed,
                "recommendation": r.recommendation,
                "steps": len(r.values),
                "overhead": r.overhead,
                "metadata": r.metadata,
            }
            for r in runs
        ],
    }
    with hdf5.writing(path) as file:
        file.attrs["format"] = FORMAT
        file.attrs["version"] = VERSION
        file["index"] = json.dumps(index)
        columns: dict[str, np.ndarray] = {
            "architectures": np.frombuffer("\n".join(texts).encode(), dtype=np.uint8),
            "steps/architecture": np.array([number[a] for r in runs for a in r.architectures], dtype=np.uint32),
            "steps/epochs": np.concatenate([r.epochs for r in runs]).astype(np.int32),
            "steps/value": np.concatenate([r.values for r in runs]).astype(np.float64),
            "steps/seconds": np.concatenate([r.seconds for r in runs]).astype(np.float64),
        }
        for name, column in columns.items():
            file.create_dataset(name, data=column, compression="gzip" if len(column) else None)
    return path


def read_result(path: str | os.PathLike[str]) -> SearchResult:
    """Read what :func:`write_result` wrote.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is truncated, foreign, damaged, or of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no search result {path}")
    try:
        with hdf5.open_file(path) as file:
            if hdf5.attribute(file, "format") != FORMAT:
                raise FileFormatError(f"{path} is an HDF5 file but no search result")
            if int(hdf5.attribute(file, "version")) > VERSION:
                raise FileFormatError(f"{path} was written by a newer prejudge; upgrade prejudge")
            budget = hdf5.ReadBudget(path.stat().st_size)
            index = json.loads(hdf5.text(file, "index", budget))
            texts = hdf5.array(file, "architectures", budget, "|u1", (1,)).tobytes().decode().split("\n")
            steps = {name: hdf5.array(file, f"steps/{name}", budget, kind, (1,)) for name, kind in _STEPS.items()}
            return _assemble(index, texts, steps)
    except FileFormatError:
        raise
    except hdf5.READ_ERRORS as error:
        raise FileFormatError(
            f"{path} is not a search result, or it is damaged ({hdf5.describe(error)}); run the search again"
        ) from error


def _assemble(index: dict[str, Any], texts: Sequence[str], steps: dict[str, np.ndarray]) -> SearchResult:
    if not isinstance(index, dict) or any(not isinstance(index.get(name), kind) for name, kind in _INDEX.items()):
        raise ValueError("it does not say what was searched")
    runs = index.pop("runs")
    for run in runs:
        if any(not isinstance(run.get(name), kind) or isinstance(run[name], bool) for name, kind in _RUN.items()):
            raise ValueError("one of its runs is not described")
    ends = np.cumsum([run["steps"] for run in runs])
    if not runs or min(run["steps"] for run in runs) < 0 or any(len(column) != ends[-1] for column in steps.values()):
        raise ValueError("its columns have different lengths")
    trajectories = []
    for run, end in zip(runs, ends, strict=True):
        part = slice(int(end) - run["steps"], int(end))
        trajectories.append(
            Trajectory(
                seed=run["seed"],
                recommendation=run["recommendation"],
                architectures=[texts[i] for i in steps["architecture"][part]],
                epochs=steps["epochs"][part],
                values=steps["value"][part],
                seconds=steps["seconds"][part],
                overhead=run["overhead"],
                metadata=run["metadata"],
            )
        )
    return SearchResult(trajectories=trajectories, **index)
