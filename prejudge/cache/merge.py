"""Taking over the scores of other caches, with a stated rule for every case in which two have the same score."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from prejudge.cache.scores import FAILED, MISSING, OK, Column, Contents, ProtocolScores, definition, former_name
from prejudge.errors import InputError, unknown

RELATIVE_TOLERANCE = 1e-5
"""Values that differ by less are the same score, rounded on another machine."""

POLICIES = ("error", "keep", "replace")


@dataclass
class _Step:
    """One column of theirs beside ours, with its name and declaration here; the masks have their arrays' shape."""

    where: str
    scores: ProtocolScores
    name: str
    info: dict[str, Any]
    theirs: Column
    definition_differs: bool
    rows: np.ndarray
    added: np.ndarray
    equal: np.ndarray
    conflicts: np.ndarray


def merge(ours: Contents, others: Iterable[tuple[str, Contents]], on_conflict: str) -> tuple[int, int, int]:
    """Add the scores of ``others`` to ``ours``; see :meth:`ScoreCache.merge`.

    Args:
        ours: Changed in place, and not at all where an error is raised.
        others: ``(name, contents)`` of each.
        on_conflict: ``"error"``, ``"keep"`` or ``"replace"``.

    Returns:
        Numbers of scores added, equal and in conflict.
    """
    if on_conflict not in POLICIES:
        raise unknown("merge policy", on_conflict, POLICIES)
    chosen = list(others)
    # Others may conflict with each other: each is compared with what the earlier ones have made of ours.
    draft = ours if len(chosen) == 1 else deepcopy(ours)
    counts = np.zeros(3, dtype=np.int64)
    for name, contents in chosen:
        steps = [step for digest in contents.protocols for step in _compare(draft, contents, digest, name, on_conflict)]
        conflicting = [s for s in steps if s.conflicts.any()]
        if conflicting and on_conflict == "error":
            raise InputError(_complaint(conflicting))
        for step in steps:
            counts += (step.added.sum(), step.equal.sum(), step.conflicts.sum())
        draft.runs.extend(run for run in contents.runs if run not in draft.runs)
        run_here = np.array([draft.runs.index(run) for run in contents.runs] + [-1])  # -1, the last: unknown
        for digest, scores in contents.protocols.items():
            draft.protocols.setdefault(digest, ProtocolScores(scores.protocol))
        rows_here: dict[str, np.ndarray] = {}
        for step in steps:
            _take(draft, step, rows_here, run_here, on_conflict)
    ours.protocols, ours.runs = draft.protocols, draft.runs
    added, equal, conflicts = counts.tolist()
    return added, equal, conflicts


def _compare(ours: Contents, theirs: Contents, digest: str, name: str, on_conflict: str) -> list[_Step]:
    source = theirs.protocols[digest]
    target = ours.protocols.get(digest) or ProtocolScores(source.protocol)
    rows = np.array([target.row.get(text, -1) for text in source.architectures], dtype=np.int64)
    steps = []
    # Former sources first: one of theirs may be our current one, which theirs replaces afterwards.
    for column_name in sorted(source.columns, key=lambda name: "former" not in source.columns[name].info):
        column = source.full(column_name)
        info, called = column.info, target.place(column_name, column.info)
        known = target.columns.get(called)
        apart = known is not None and known.status.any() and definition(known.info)[1] != definition(info)[1]
        if apart and on_conflict == "keep":
            info, called = {**info, "former": called}, former_name(called, info)  # beside ours
        present = column.status != MISSING
        status = np.zeros(column.status.shape, np.uint8)
        value = np.full(column.status.shape, np.nan)
        own = target.columns.get(called)
        if own is not None:
            own = target.full(called)
            width = min(own.repeats, column.repeats)
            here = rows >= 0
            status[here, :width] = own.status[rows[here], :width]
            value[here, :width] = own.value[rows[here], :width]
        definition_differs = own is not None and definition(own.info) != definition(info)
        if own is not None and definition_differs:
            conflicts, equal, added = present & own.status.any(), present & False, present & (not own.status.any())
        else:
            agree = np.isclose(value, column.value, rtol=RELATIVE_TOLERANCE, atol=0.0) & (status == OK)
            added = present & ((status == MISSING) | ((status == FAILED) & (column.status == OK)))
            equal = present & ~added & ((column.status == FAILED) | agree)
            conflicts = present & ~added & ~equal
        steps.append(_Step(name, source, called, info, column, definition_differs, rows, added, equal, conflicts))
    return steps


def _take(
    ours: Contents, step: _Step, rows_here: dict[str, np.ndarray], run_here: np.ndarray, on_conflict: str
) -> None:
    """Take over one column; its protocol's rows are looked up for the first column that needs them."""
    digest = step.scores.protocol.digest
    target = ours.protocols[digest]
    taken = step.added | step.conflicts if on_conflict == "replace" else step.added
    if step.name in target.columns and not taken.any():
        return
    if step.name not in target.columns or step.definition_differs:
        target.declare(step.name, step.info)
    if digest not in rows_here:
        rows_here[digest] = np.array([target.add(text) for text in step.scores.architectures], dtype=np.int64)
    rows = rows_here[digest]
    column = target.full(step.name)
    column.grow(len(target.architectures), step.theirs.repeats)
    row, repeat = np.nonzero(taken)
    to = rows[row], repeat
    replaced = np.zeros(column.status.shape, dtype=bool)
    replaced[to] = True
    column.reasons = {at: text for at, text in column.reasons.items() if not replaced[at]}
    column.value[to] = step.theirs.value[row, repeat]
    column.status[to] = step.theirs.status[row, repeat]
    column.seconds[to] = step.theirs.seconds[row, repeat]
    column.run[to] = run_here[step.theirs.run[row, repeat]]
    for (r, k), text in step.theirs.reasons.items():
        if taken[r, k]:
            column.reasons[int(rows[r]), k] = text


def _complaint(steps: list[_Step]) -> str:
    step = steps[0]
    total = sum(int(s.conflicts.sum()) for s in steps)
    if step.definition_differs:
        what = f"{step.name} has another version or source of the proxy there"
    else:
        row, repeat = np.argwhere(step.conflicts)[0]
        what = f"first {step.name} of {step.scores.architectures[row]} (repeat {repeat})"
    return (
        f"{step.where}: {total} scores differ from ours, {what}; nothing was merged, choose what to do with them: "
        "on_conflict='keep' ours or 'replace' by theirs"
    )
