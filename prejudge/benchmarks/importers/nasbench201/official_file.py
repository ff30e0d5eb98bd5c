"""The published files of NAS-Bench-201 and of NATS-Bench's two spaces, read one architecture at a time.

Three kinds hold the same state dicts of the official classes ``ArchResults`` and ``ResultsCount``: the torch file of
NAS-Bench-201 (Dong & Yang, ICLR 2020), and NATS-Bench (Dong et al., TPAMI 2021) as one compressed pickle or as a
directory with a pickle per architecture. They are read as data: nothing in them is called, and torch is not needed.
"""

from __future__ import annotations

import bz2
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prejudge.errors import FileFormatError, MissingDataError, quoted
from prejudge.formats.pickle.entries import EntryUnpickler
from prejudge.formats.zip import READ_ERRORS, open_zip

KINDS = ("nas-bench-201", "nats-bench", "nats-bench-simple")
BytesRead = Callable[[int, int], None]
"""Called with the bytes read so far and the bytes in all."""

OfficialArchitecture = tuple[int, str, dict[str, dict[str, Any]]]
"""The official index, the text, and the results by epochs of the schedule."""

_EXTENSION = ".pickle.pbz2"
_EPOCHS = {
    "nasbench201": {"12": "12", "200": "200", "less": "12", "full": "200"},
    "nats-size": {"01": "1", "12": "12", "90": "90"},
}
"""The epochs of each schedule, as the files of a space name it."""

_SIZE = re.compile(r"(?<![a-z])(sss|size)(?![a-z])", re.IGNORECASE)
_TORCH_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
"""The first pickle of a torch file in the legacy format: a number that says just this."""

_TORCH_PROTOCOL = 1001
_MOST_UNPACKED = 64 << 30
_FIXED = 48 << 20
_MEMO_SHARE = {"nas-bench-201": 0.06, "nats-bench": 0.24, "nats-bench-simple": 0.0}
"""Bytes of memo per byte of file: two per text, measured, rounded up (a compressed file is taken to grow fourfold)."""


@dataclass(frozen=True)
class OfficialFile:
    """A published benchmark file that was recognized.

    Attributes:
        path: The file or directory.
        kind: One of :data:`KINDS`.
        version: The version in its name, e.g. ``"v1_1"``; None if the name has none.
        digest: The hex digits of its md5 in its name; None if the name has none.
        bytes: Its size, for a directory that of all its files.
        space: Name of the search space; by the name of the file.
    """

    path: Path
    kind: str
    version: str | None
    digest: str | None
    bytes: int
    space: str = "nasbench201"


def recognize(path: str | Path) -> OfficialFile:
    """Say which of the published files this is, by its first bytes.

    Args:
        path: A ``.pth`` or ``.pickle.pbz2`` file, or a NATS-Bench directory.

    Raises:
        MissingDataError: There is nothing, or a directory without ``meta.pickle.pbz2``.
        FileFormatError: It is something else.
    """
    path = Path(path)
    if not path.exists():
        raise MissingDataError(f"no file or directory {path}")
    space = "nats-size" if _SIZE.search(path.name) else "nasbench201"
    version = re.search(r"-(v\d+_\d+)(?![0-9a-z])", path.name)
    found = version[1] if version else None
    if path.is_dir():
        if not (path / f"meta{_EXTENSION}").is_file():
            raise MissingDataError(f"{path} has no meta{_EXTENSION}, so it is not a NATS-Bench directory (…-simple)")
        size = sum(file.stat().st_size for file in path.glob(f"*{_EXTENSION}"))
        return OfficialFile(path, "nats-bench-simple", found, None, size, space)
    with path.open("rb") as stream:
        start = stream.read(512)
    kind = _kind(path, start)
    digest = re.search(r"-v\d+_\d+-([0-9a-f]{5,32})\.", path.name)
    return OfficialFile(path, kind, found, digest[1] if digest else None, path.stat().st_size, space)


def _kind(path: Path, start: bytes) -> str:
    if start.startswith((_TORCH_MAGIC, b"PK\x03\x04")):
        return "nas-bench-201"
    if start.startswith(b"BZh"):
        if re.fullmatch(r"(\d{6}|meta)\.pickle\.pbz2", path.name):
            raise FileFormatError(f"{path} is one part of a NATS-Bench directory; give the directory {path.parent}")
        return "nats-bench"
    if start[257:262] == b"ustar":
        raise FileFormatError(f"{path} is a tar archive; unpack it and give the directory or file inside")
    if start.lstrip()[:1] == b"<":
        raise FileFormatError(f"{path} is a web page, so the download failed; download the file again")
    raise FileFormatError(
        f"{path} is not a published file of NAS-Bench-201 or NATS-Bench (a .pth or .pickle.pbz2 file); "
        f"it begins with {start[:8]!r}"
    )


def expected_memory(file: OfficialFile) -> int:
    """Bytes that :func:`iter_architectures` needs beyond one or two architectures in the caller's hands (measured)."""
    return _FIXED + int(_MEMO_SHARE[file.kind] * file.bytes)


def check_digest(file: OfficialFile, progress: BytesRead | None = None) -> None:
    """Compare the md5 with the digits in the name: NAS-Bench-201 gives its last six, NATS-Bench its first five.

    A file whose name has no digits passes, and so does a directory.

    Args:
        file: The file.
        progress: Called after each piece.

    Raises:
        FileFormatError: They differ.
    """
    if file.digest is None:
        return
    md5, done = hashlib.md5(usedforsecurity=False), 0
    with file.path.open("rb") as stream:
        while piece := stream.read(4 << 20):
            md5.update(piece)
            done += len(piece)
            if progress is not None:
                progress(done, file.bytes)
    found = md5.hexdigest()
    if not found.startswith(file.digest) and not found.endswith(file.digest):
        raise FileFormatError(
            f"{file.path} is damaged or renamed: its md5 is {found}, but its name says {file.digest}; download it again"
        )


def iter_architectures(
    file: OfficialFile, progress: BytesRead | None = None, *, partial: bool = False
) -> Iterator[OfficialArchitecture]:
    """Read the architectures one after the other.

    Args:
        file: The result of :func:`recognize`.
        progress: Called after each architecture.
        partial: Whether architectures that the file lists may have no results.

    Yields:
        ``(index, text, results)`` with the official index, the architecture's text, and ``results["12"]`` and
        ``results["200"]`` (of the size space ``"1"``, ``"12"`` and ``"90"``): the state dict of ``ArchResults`` by
        epochs of the schedule (the older files call them "less" and "full"), as plain dicts, lists, texts and numbers.
        Nothing is kept of what was yielded.

    Raises:
        MissingDataError: Architectures have no results.
        FileFormatError: The file is truncated or damaged (found out only when reading comes there), holds anything but
            plain values, or is of another benchmark.
    """
    report = progress or (lambda done, total: None)
    read = _from_directory if file.kind == "nats-bench-simple" else _from_file
    return read(file, report, partial)


def _lacking(path: Path, missing: int, whole: int, what: str, some: Sequence[str]) -> MissingDataError:
    """The error for a source that lacks results which it should have."""
    names = ", ".join(some[:3]) + (", …" if missing > 3 else "")
    return MissingDataError(
        f"{path} lacks {missing:,} of {whole:,} {what} ({names}); unpack or download it again, or take what is there "
        "with --partial (partial=True)"
    )


def _from_file(file: OfficialFile, report: BytesRead, partial: bool) -> Iterator[OfficialArchitecture]:
    with ExitStack() as stack:
        raw = stack.enter_context(file.path.open("rb"))
        read: Callable[[int], bytes] = raw.read
        name = str(file.path)
        if file.kind == "nats-bench":
            read, name = stack.enter_context(bz2.open(raw)).read, f"{name} (decompressed)"
        elif raw.read(4) == b"PK\x03\x04":
            read, name = _zip_member(file.path, raw, stack), f"{name} (data.pkl)"
        else:
            raw.seek(0)
        machine = EntryUnpickler()
        machine.go_on(read, name)
        legacy = machine.skip(_TORCH_MAGIC)
        if legacy and (machine.load() != _TORCH_PROTOCOL or type(machine.load()) is not dict):
            raise FileFormatError(f"{file.path} is a torch file of an unknown version")
        texts: dict[int, str] = {}
        for index, value in machine.entries("arch2infos"):
            text, results = _normalized(file, file.path, index, value)
            if index in texts:
                raise FileFormatError(f"{file.path} holds architecture {index} twice")
            texts[index] = text
            yield index, text, results
            report(min(raw.tell(), file.bytes), file.bytes)
        content = machine.value
        if legacy and machine.load() != []:
            raise FileFormatError(f"{file.path} holds tensors, which the benchmark files do not")
        _check_content(file.path, content, texts, partial)
        report(file.bytes, file.bytes)


def _zip_member(path: Path, raw: Any, stack: ExitStack) -> Callable[[int], bytes]:
    """Reads the pickle in a torch file of today's format, a zip archive."""
    archive = stack.enter_context(open_zip(path, most_bytes=_MOST_UNPACKED))
    names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(names) != 1:
        raise FileFormatError(f"{path} is a zip archive, but no torch file: it has no data.pkl")
    try:
        member = stack.enter_context(archive.open(names[0]))
    except READ_ERRORS as error:
        raise FileFormatError(f"{path} is a truncated or damaged torch file ({error})") from None

    def read(size: int) -> bytes:
        try:
            part = member.read(size)
        except READ_ERRORS as error:
            raise OSError(str(error)) from None
        raw.seek(archive.fp.tell() if archive.fp else 0)  # by which progress is told
        return part

    return read


def _check_content(path: Path, content: Any, texts: dict[int, str], partial: bool) -> None:
    """Compare what surrounded the architectures with what was read."""
    if type(content) is not dict or type(content.get("arch2infos")) is not dict:
        raise FileFormatError(f"{path} has no arch2infos, so it is not a file of NAS-Bench-201 or NATS-Bench")
    archs, evaluated = _meta_archs(path, content), content.get("evaluated_indexes")
    for index, text in texts.items():
        if index >= len(archs) or archs[index] != text:
            raise FileFormatError(f"{path}: the results of architecture {index} are of another one, {text!r}")
    if isinstance(evaluated, list | set) and {index for index in evaluated if type(index) is int} != set(texts):
        raise FileFormatError(f"{path} holds {len(texts)} architectures, but its evaluated_indexes are others")
    if not partial and len(texts) < len(archs):
        absent = [str(index) for index in range(len(archs)) if index not in texts]
        raise _lacking(path, len(absent), len(archs), "architectures", absent)


def _meta_archs(path: Path, content: Any) -> list[str]:
    archs = content.get("meta_archs") if type(content) is dict else None
    if type(archs) is not list or not all(type(arch) is str for arch in archs):
        raise FileFormatError(f"{path} has no meta_archs, so it is not a file of NAS-Bench-201 or NATS-Bench")
    return archs


def _from_directory(file: OfficialFile, report: BytesRead, partial: bool) -> Iterator[OfficialArchitecture]:
    machine = EntryUnpickler()
    archs, paths = _parts(file, machine)
    missing = [path.name for path in paths if not path.is_file()]
    if missing and not partial:
        raise _lacking(file.path, len(missing), len(paths), "files", missing)
    absent = set(missing)
    done = (file.path / f"meta{_EXTENSION}").stat().st_size
    for index, path in enumerate(paths):
        if path.name in absent:
            continue
        text, results = _normalized(file, path, index, _load(machine, path))
        if text != archs[index]:
            raise FileFormatError(f"{path}: the results are of another architecture than meta{_EXTENSION} says")
        yield index, text, results
        done += path.stat().st_size
        report(min(done, file.bytes), file.bytes)


def _parts(file: OfficialFile, machine: EntryUnpickler) -> tuple[list[str], list[Path]]:
    """The architectures of a directory, and the file that each of them should have."""
    meta = file.path / f"meta{_EXTENSION}"
    archs = _meta_archs(meta, _load(machine, meta))
    return archs, [file.path / f"{index:06d}{_EXTENSION}" for index in range(len(archs))]


def _load(machine: EntryUnpickler, path: Path) -> Any:
    with bz2.open(path) as stream:
        machine.go_on(stream.read, f"{path} (decompressed)")
        return machine.load()


def _normalized(file: OfficialFile, path: Path, index: Any, value: Any) -> tuple[str, dict[str, dict[str, Any]]]:
    """The architecture's text and its results by epochs, checked as far as every reader relies on them."""
    if type(index) is not int or index < 0 or type(value) is not dict or not value:
        raise FileFormatError(f"{path}: arch2infos has an entry that is not an architecture's results")
    epochs = _EPOCHS[file.space]
    other = [key for key in value if key not in epochs]
    if other:
        known = " and ".join(dict.fromkeys(epochs.values()))
        raise FileFormatError(
            f"{path} has results for the schedule {quoted(other[0])} instead of {known} epochs, so it is not of "
            f"{file.space}; its name says the space: NATS-sss-… is the size space, NATS-tss-… the topology"
        )
    results = {epochs[key]: result for key, result in value.items()}
    for result in results.values():
        trials = result.get("all_results") if type(result) is dict else None
        if type(trials) is not dict or type(result.get("arch_str")) is not str:
            raise FileFormatError(f"{path}: the results of architecture {index} are not those of ArchResults")
        for key, trial in trials.items():
            named = type(key) is tuple and [type(part) for part in key] == [str, int]
            if not named or type(trial) is not dict:
                raise FileFormatError(f"{path}: architecture {index} has a trial that is not of (dataset, seed)")
    if len({result["arch_str"] for result in results.values()}) > 1:
        raise FileFormatError(f"{path}: the results of architecture {index} are of two architectures")
    return next(iter(results.values()))["arch_str"], results
