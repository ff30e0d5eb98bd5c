"""Checking a cache: file, journal, and whether what it says about itself is true."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

from prejudge.cache import layout
from prejudge.cache.scores import FAILED, MISSING, OK, Contents
from prejudge.cache.snapshot import read_snapshot
from prejudge.engine.journal import read_journal
from prejudge.errors import MissingDataError, PrejudgeError
from prejudge.formats.atomic import beside
from prejudge.formats.hdf5 import check_in_child


def verify(path: str | os.PathLike[str]) -> list[str]:
    """Read everything and say what is wrong.

    The file is read by a process of its own first, so that one which makes the HDF5 library crash is a problem like any
    other. Checks that file and journal can be read to the last byte and belong together, every checksum and digest,
    that each score's value, status and reason agree, and that no architecture occurs twice.

    Returns:
        One line per problem; empty for a sound cache. An incomplete last line of the journal, as a killed process
        leaves it, is no problem: it was never promised.

    Raises:
        MissingDataError: There is no file.
    """
    path = Path(path)
    problems: list[str] = []
    try:
        check_in_child(path)
        journal = read_journal(beside(path, ".journal"))
        if journal is not None:
            problems += [
                f"{beside(path, '.journal')}: line {n} is damaged, its scores are lost" for n in journal.damaged
            ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            contents, _ = read_snapshot(path, writing=False)
        problems += _columns(layout.decode(path), path) + _scores(contents)
    except MissingDataError:
        raise
    except PrejudgeError as error:
        problems.append(str(error))
    return problems


def _columns(stored: Contents, path: Path) -> list[str]:
    digests = layout.stored_digests(path)
    return [
        f"protocol {digest}: the digest of column {name} does not fit its scores"
        for digest, scores in stored.protocols.items()
        for name in scores.columns
        if digests.get((digest, name)) != layout.column_digest(scores.full(name))
    ]


def _scores(contents: Contents) -> list[str]:
    problems = []
    for digest, scores in contents.protocols.items():
        if len(scores.row) != len(scores.architectures):
            problems.append(
                f"protocol {digest}: {len(scores.architectures) - len(scores.row)} architectures occur twice"
            )
        for name in scores.columns:
            column = scores.full(name)
            where = f"protocol {digest}, column {name}"
            finite = np.isfinite(column.value)
            if not np.array_equal(finite, column.status == OK):
                problems.append(
                    f"{where}: {np.count_nonzero(finite != (column.status == OK))} values contradict their status"
                )
            if not np.isin(column.status, (MISSING, OK, FAILED)).all():
                problems.append(f"{where}: unknown status")
            if column.run.size and not (column.run.min() >= -1 and column.run.max() < len(contents.runs)):
                problems.append(f"{where}: scores of an unknown run")
    return problems
