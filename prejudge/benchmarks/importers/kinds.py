"""Every kind of published file, imported by one function."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from prejudge.errors import InputError, unknown

if TYPE_CHECKING:
    from prejudge.benchmarks.importers.table_import import ImportResult
    from prejudge.engine import Progress

KINDS = ("csv", "npz", "nasbench201", "nats-bench", "nasbench101", "nasbench301")


def import_table(
    kind: str,
    source: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    space: str = "nasbench201",
    column: str | None = None,
    notation: str | None = None,
    fractions: bool | None = None,
    curves: Collection[int] = (),
    check_published: bool = True,
    partial: bool = False,
    progress: Progress | None = None,
) -> ImportResult:
    """Make a table file of a published file of trained accuracies; nothing in it is ever executed.

    Args:
        kind: ``"nasbench201"`` or ``"nats-bench"`` (a ``.pth`` or ``.pickle.pbz2`` file, or a NATS-Bench folder, of the
            topology or the size space), ``"nasbench101"`` (a TFRecord file), ``"nasbench301"`` (a folder of result
            files), ``"csv"`` or ``"npz"``.
        source: The published file or folder.
        out: The table file to write; by default one of this name among the user's own benchmarks.
        name: Name of the table, for ``prejudge.benchmark``; by default that of ``out``, or of the benchmark.
        space: Search space of a CSV or NumPy file.
        column: Of a CSV or NumPy file: the column of architectures, where it is not called ``arch_str``.
        notation: Of a CSV or NumPy file: what integers in an architecture mean, as for the space's ``parse``.
        fractions: Of a CSV, NumPy or NAS-Bench-301 file: whether accuracies are fractions, which become per cent. If
            left out they are per cent, and a column of which none is above 1 is refused.
        curves: Of NAS-Bench-201 and NATS-Bench: schedules whose learning curves are kept too.
        check_published: Whether a file that is called like a published one must be that.
        partial: Of NAS-Bench-201 and NATS-Bench: whether results of architectures may be missing, which are then NaN.
        progress: Called with (parts read, all, seconds) now and then.

    Returns:
        The table file, and whether it was there already, made of the same source.

    Raises:
        MissingDataError: The file does not exist.
        FileFormatError: It is another file, truncated or damaged.
        InputError: The kind is unknown, a row is malformed, or the name is unusable.
        PrejudgeError: The table cannot be written.
    """
    reading: dict[str, Any] = {"column": column, "notation": notation, "fractions": fractions}
    if kind == "csv":
        from prejudge.benchmarks.importers.csv import import_csv

        return import_csv(source, out, space, name=name, **reading)
    if kind == "npz":
        from prejudge.benchmarks.importers.npz import import_npz

        return import_npz(source, out, space, name=name, **reading)
    for option in ("column", "notation", "fractions"):
        if reading[option] is not None and not (kind == "nasbench301" and option == "fractions"):
            raise InputError(f"{option} is for CSV and NumPy files; a file of {kind} says itself what it holds")
    if kind == "nasbench101":
        from prejudge.benchmarks.importers.nasbench101.importer import import_nasbench101

        return import_nasbench101(source, out, name=name, check_published=check_published, progress=progress)
    if kind in ("nasbench201", "nats-bench"):
        from prejudge.benchmarks.importers.nasbench201.importer import import_nasbench201

        return import_nasbench201(
            source,
            out,
            name=name,
            curves=curves,
            check_published=check_published,
            partial=partial,
            progress=progress,
        )
    if kind == "nasbench301":
        from prejudge.benchmarks.importers.nasbench301 import import_nasbench301

        return import_nasbench301(source, out, name=name, fractions=fractions, progress=progress)
    raise unknown("kind of benchmark file", kind, KINDS)
