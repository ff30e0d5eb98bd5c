"""NAS-Bench-201 and NATS-Bench's two spaces (Dong & Yang, ICLR 2020; Dong et al., TPAMI 2021) into one table."""

from __future__ import annotations

import functools
import hashlib
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prejudge.benchmarks.importers.nasbench201.official_file import (
    OfficialArchitecture,
    OfficialFile,
    check_digest,
    expected_memory,
    iter_architectures,
    recognize,
)
from prejudge.benchmarks.importers.nasbench201.official_objects import directory_of, iter_objects, kind_of, space_of
from prejudge.benchmarks.importers.nasbench201.trials import UNITS, MalformedTrial, Trials
from prejudge.benchmarks.importers.table_import import (
    ImportResult,
    TableImport,
    file_sha256,
    parts,
    remark,
)
from prejudge.engine import Progress
from prejudge.errors import FileFormatError, InputError, MissingDataError
from prejudge.spaces import space as find_space
from prejudge.spaces.base import EnumerableSpace, require_enumerable

SCHEDULES = {"nasbench201": (12, 200), "nats-size": (1, 12, 90)}
"""Epochs of the published trainings of each space."""

_OTHER_NAMES = {"ImageNet16-120": "imagenet16-120", "imagenet16": "imagenet16-120"}
_MEGABYTE = 1_000_000
_PROCESS_MEMORY = 200 * _MEGABYTE
"""Interpreter, columns of all 15,625 architectures and the table's file, before the source is read (measured: 160)."""

_CURVES = 100
"""Learning curves of an architecture in v1_1: five to nine of each dataset, of three trainings and their mean."""

_COPIES = 4
"""A curve is in memory as it was gathered, as it is checked, and compressed twice, which saves little."""


@dataclass(frozen=True)
class ImportPlan:
    """The resources of an import.

    Attributes:
        kind: Kind of the source, one of ``official_file.KINDS``.
        file: The file; None for a loaded object.
        bytes: Size of the file; 0 for a loaded object.
        memory: Most bytes of memory that the whole process will take (for a loaded object: beyond it).
        curves: Schedules whose learning curves will be kept.
        space: Name of the search space.
    """

    kind: str
    file: OfficialFile | None
    bytes: int
    memory: int
    curves: tuple[int, ...]
    space: str = "nasbench201"

    @property
    def table_name(self) -> str:
        """Name of the table. NATS-Bench estimated all times of the topology space anew, so that its is another one."""
        if self.space == "nats-size":
            return "nats-sss"
        return "nats-tss" if self.kind.startswith("nats") else "nasbench201"


def plan(source: str | os.PathLike[str] | Any, *, curves: bool | Collection[int] = False) -> ImportPlan:
    """Say what :func:`import_nasbench201` will read and how much memory it will take, without reading it.

    Args:
        source: As for :func:`import_nasbench201`.
        curves: As for :func:`import_nasbench201`.

    Raises:
        MissingDataError: The file does not exist.
        FileFormatError: It is another file.
        InputError: It is neither a file nor an object of the official packages; or no such schedule is published.
    """
    file: OfficialFile | None
    if isinstance(source, str | os.PathLike):
        file = recognize(Path(source))
        kind, space = file.kind, file.space
    else:
        kind, space, directory = kind_of(source), space_of(source), directory_of(source)
        file = replace(recognize(directory), space=space) if directory else None
    schedules = _schedules(space, curves)
    memory = _PROCESS_MEMORY + _COPIES * 8 * _CURVES * len(_enumerable(space)) * sum(schedules)
    if file is None:
        return ImportPlan(kind, None, 0, memory, schedules, space)
    return ImportPlan(file.kind, file, file.bytes, memory + expected_memory(file), schedules, space)


def import_nasbench201(
    source: str | os.PathLike[str] | Any,
    out: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    curves: bool | Collection[int] = False,
    check_published: bool = True,
    partial: bool = False,
    progress: Progress | None = None,
) -> ImportResult:
    """Read ``NAS-Bench-201-v1_*.pth``, or NATS-Bench's ``NATS-tss-v1_*`` or ``NATS-sss-v1_*``; write a table file.

    Neither torch nor the official packages are needed. A file that lists fewer architectures than the space has makes a
    table with NaN for the others. Columns, for each schedule (12 and 200 epochs; 1, 12 and 90 of the size space), for
    each seed and the mean over all seeds that there are:

    * dataset ``cifar10``: ``train`` (50,000 images) and ``test`` (official ``ori-test``); ``valid`` is the next one's.
    * dataset ``cifar10-valid``: ``train`` (25,000 images), ``valid`` (the other 25,000; ``x-valid``), ``test``.
    * datasets ``cifar100`` and ``imagenet16-120``: ``train``, ``valid`` (``x-valid``), ``test`` (``x-test``) and
      ``valtest``, both together (``ori-test``).

    Quantities are ``accuracy`` (per cent), ``loss``, and ``seconds``: of split ``train`` those of the whole training
    (official ``train-all-time``), of the others those of one evaluation (``per-time``). Every number is the official
    float64, and the mean adds in the official order; it is NaN where one of the trainings lacks the number. Extras are
    ``params_{dataset}`` and ``flops_{dataset}`` (counts; where trainings disagree, that of seed 888, as nats_bench
    decides since 1.6), ``latency_{epochs}ep_{dataset}`` (and ``_seed{seed}``), ``n_seeds_{epochs}ep_{dataset}``.

    Args:
        source: The file or directory; or an object of ``nas_201_api`` or ``nats_bench`` that has loaded it.
        out: The table file to write; by default one of this name among the user's own benchmarks.
        name: Name of the table, for ``prejudge.benchmark``; by default the file name of ``out``, or ``nasbench201``
            (for NATS-Bench: ``nats-tss`` or ``nats-sss``).
        curves: Whether to keep the numbers after each epoch too, for all schedules or for those named (``(12,)``): of
            ``train`` all quantities (``seconds`` are those until then), of the others accuracy and loss where the
            training was evaluated after each epoch. Curves of 200 epochs need gigabytes: :func:`plan` says how much.
        check_published: Whether the file must have the md5 whose digits are in its name.
        partial: Whether architectures that the source lists may have no results; theirs are NaN.
        progress: Told (megabytes read, megabytes of the source, seconds); of a loaded object architectures instead.

    Returns:
        The table file, and whether it was there already, made of the same file.

    Raises:
        MissingDataError: The file does not exist, results are missing that it lists, or the table's folder is.
        FileFormatError: It is another, a truncated or a damaged file, or its architectures are not in the official
            order; the message names the first offender.
        InputError: The name is unusable; the object is none of the official packages; no such schedule is published.
        PrejudgeError: The table cannot be written.
    """
    planned = plan(source, curves=curves)
    file, start = planned.file, time.perf_counter()
    schedules = ", ".join(map(str, planned.curves))
    known = {
        "kind": planned.kind,
        "partial": "yes" if partial else "no",
        "learning curves": f"after {schedules} epochs" if schedules else "left out",
    }
    if file is None:
        known["source"] = f"a loaded {type(source).__name__}"
    else:
        known |= {"source": file.path.name, "bytes": str(file.bytes)}
    digest = None if file is None else functools.partial(_sha256, file)
    job = TableImport.begin(out, name, planned.table_name, planned.space, known, digest)
    if not job.target.parent.is_dir():  # said before minutes of reading
        raise MissingDataError(
            f"no folder {job.target.parent} for the table {job.target.name}; make it, or say another --out"
        )
    if existing := job.existing():
        return existing
    if file is None:
        archs = _counted(source, progress, start, partial)
    else:
        if check_published:
            check_digest(file)
        archs = iter_architectures(file, _in_megabytes(progress, start), partial=partial)
    space = _enumerable(planned.space)
    trials, read = _gather(known["source"], space, archs, planned.curves)
    columns, (extra, extra_units) = trials.columns(), trials.extras()
    datasets = {m.dataset for m in columns}
    version = {} if file is None else {"version": file.version or "unknown"}
    try:
        return job.write(
            columns,
            extra=extra,
            units=UNITS | extra_units,
            provenance={
                "architectures": read,
                "left out": ", ".join(sorted(trials.left_out)) or "nothing",
                **version,
                **remark(parts(read, len(space))),
            },
            curves=trials.curves(),
            fractions=False,
            aliases={other: dataset for other, dataset in _OTHER_NAMES.items() if dataset in datasets},
        )
    except InputError as error:
        raise FileFormatError(f"{known['source']}: {error}") from error


def _enumerable(space: str) -> EnumerableSpace[Any]:
    return require_enumerable(find_space(space))


def _schedules(space: str, curves: bool | Collection[int]) -> tuple[int, ...]:
    published = SCHEDULES[space]
    if isinstance(curves, bool):
        return published if curves else ()
    unpublished = sorted(set(curves) - set(published))
    if unpublished:
        raise InputError(f"there are learning curves of {published} epochs, not of {unpublished[0]}")
    return tuple(sorted(set(curves)))


def _gather(
    source: str, space: EnumerableSpace[Any], archs: Iterator[OfficialArchitecture], curves: Collection[int]
) -> tuple[Trials, int]:
    """The trainings of all architectures, and how many architectures there were."""
    trials, read = Trials(len(space), curves), 0
    for index, text, results in archs:
        if not 0 <= index < len(space):
            raise FileFormatError(f"{source}: {space.name} has no architecture {index}, only 0..{len(space) - 1}")
        if text != str(space[index]):
            raise FileFormatError(
                f"{source}: architecture {index} is {text}, but in the official order it is {space[index]}"
            )
        try:
            trials.add(index, results)
        except MalformedTrial as error:
            raise FileFormatError(f"{source}: results of architecture {index} are damaged: {error}") from error
        read += 1
    if not read:
        raise FileFormatError(f"{source} holds no results")
    return trials, read


def _sha256(file: OfficialFile) -> str:
    """SHA-256 of a file; of a directory that of its files' names and contents in the order of the names."""
    if file.path.is_file():
        return file_sha256(file.path)
    digest = hashlib.sha256()
    for part in sorted(file.path.glob("*.pbz2")):
        digest.update(part.name.encode() + part.read_bytes())
    return digest.hexdigest()


def _in_megabytes(progress: Progress | None, start: float) -> Any:
    if progress is None:
        return None
    return lambda done, total: progress(done // _MEGABYTE, -(-total // _MEGABYTE), time.perf_counter() - start)


def _counted(api: Any, progress: Progress | None, start: float, partial: bool) -> Iterator[OfficialArchitecture]:
    for done, arch in enumerate(iter_objects(api, partial=partial), start=1):
        yield arch
        if progress is not None:
            progress(done, len(api.arch2infos_dict), time.perf_counter() - start)
