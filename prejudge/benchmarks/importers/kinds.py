"""Importing a published file of any kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prejudge.benchmarks.importers.result import ImportResult
from prejudge.errors import unknown

if TYPE_CHECKING:
    from prejudge.benchmarks.importers.sources import Progress

KINDS = ("csv", "npz", "nasbench201", "nasbench101", "nasbench301")


def import_table(
    kind: str,
    file: str | Path,
    out: str | Path | None = None,
    *,
    name: str | None = None,
    space: str = "nasbench201",
    curves: Sequence[int] = (),
    check_published: bool = True,
    progress: Progress | None = None,
) -> ImportResult:
    """Make a compact table of a published file of trained accuracies; nothing in it is ever executed.

    Args:
        kind: ``nasbench201``: ``NAS-Bench-201-v1_*.pth``, ``NATS-tss-v1_0-*.pickle.pbz2`` or a ``-simple`` folder;
            ``nasbench101``: ``nasbench_*.tfrecord``; ``nasbench301``: a folder of result JSON files; ``csv``, ``npz``:
            a column or array ``arch_str``, and others ``{dataset}_{split}_{epochs}ep``.
        file: The published file or folder.
        out: The table file to write; a file among the user's benchmarks if left out.
        name: Name of the table; that of ``out``, or of the benchmark, if left out.
        space: Search space of a csv or npz file.
        curves: Of nasbench201: schedules whose learning curves are kept too.
        check_published: Refuse a file of NAS-Bench-101 or 201 whose digest is not the published one.
        progress: Called with the parts done, all parts and the seconds so far.

    Returns:
        The table, and whether it was there already.

    Raises:
        InputError: No such kind, or the file does not fit the space.
        MissingDataError: There is no such file.
        FileFormatError: The file is damaged, or is not of this kind.
    """
    if kind not in KINDS:
        raise unknown("kind of file", kind, KINDS)
    source, written = Path(file), None if out is None else Path(out)
    given: dict[str, Any] = {"name": name}
    if kind in ("csv", "npz"):
        given["space"] = space
    else:
        given["progress"] = progress
    if kind in ("nasbench101", "nasbench201"):
        given["check_published"] = check_published
    if kind == "nasbench201":
        given["curves"] = tuple(curves)
    return _importer(kind)(source, written, **given)


def _importer(kind: str) -> Callable[..., ImportResult]:
    """The importer of a kind; its module is loaded when it is asked for."""
    if kind == "csv":
        from prejudge.benchmarks.importers.csv import import_csv

        return lambda *arguments, **options: ImportResult(import_csv(*arguments, **options), already_there=False)
    module = f"{kind}.importer" if kind in ("nasbench101", "nasbench201") else kind
    importer: Callable[..., ImportResult] = getattr(
        import_module(f"prejudge.benchmarks.importers.{module}"), f"import_{kind}"
    )
    return importer
