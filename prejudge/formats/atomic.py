"""Writing a file so that it is the old one or the new one, and saying in one line why it could not be written.

Links are followed. A pipe or a device, such as ``/dev/stdout``, cannot be replaced: the whole content is written into
it once it is complete.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prejudge.errors import BusyError, InputError, MissingDataError, PrejudgeError, quoted

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_STREAM = re.compile(r"/dev/(?:fd/(\d+)|stdout|stderr)|/proc/(?:thread-)?self/fd/(\d+)")
_MOST_LINKS = 40
_LONGEST_SUFFIX = ".part"
_TURN_SECONDS = 60.0
_READER_SECONDS = 5.0
BINARY = getattr(os, "O_BINARY", 0)
"""For :func:`os.open`: Windows changes line ends without it."""


def beside(path: Path, suffix: str) -> Path:
    """``FILE`` + ``suffix`` in the same folder.

    Raises:
        InputError: ``path`` is a folder, or cannot be the name of a file.
    """
    return _named(path).with_name(path.name + suffix)


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Replace ``path`` by ``content``: at any moment, and after a power failure, it is the old file or the new one.

    Raises:
        InputError: ``path`` is a folder, or cannot be the name of a file.
        MissingDataError: Its folder does not exist.
        PrejudgeError: The disk is full or the folder is read-only; ``path`` is untouched and nothing is left behind.
    """
    with replacing(path) as part:
        part.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file beside ``path`` to write; when the block ends well, it takes the place of ``path`` in one step.

    Several processes that replace the same file at the same time do so one after the other.

    Raises:
        InputError: ``path`` is a folder, or cannot be the name of a file.
        MissingDataError: Its folder does not exist.
        BusyError: Another process has been replacing the file for a minute.
        PrejudgeError: The disk is full or the folder is read-only; ``path`` is untouched and nothing is left behind.
    """
    target = destination(path)
    if target is None:
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / "part"
            part.touch()
            yield part
            _pour(part, path)
        return
    part = beside(target, ".part")
    turn, made = -1, False
    try:
        turn, made = _take_turn(part), True
        with suppress(OSError):
            part.chmod(target.stat().st_mode & 0o777)
        yield part
        _sync(part)
        part.replace(target)
        sync_folder(target.parent)
    except BaseException as error:
        if made:
            with suppress(OSError):
                part.unlink()
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise
    finally:
        if turn >= 0:
            os.close(turn)


def replace_by_copy(path: Path, source: Path) -> None:
    """Let ``path`` be a second name of ``source``, or a copy where the file system has no hard links, in one step.

    Raises:
        PrejudgeError: The disk is full or the folder is read-only; ``path`` is untouched.
    """
    part = beside(path, ".part")
    try:
        part.unlink(missing_ok=True)
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
        _sync(part)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise cannot_write(path, error) from error


def make_folder(path: Path) -> Path:
    """Make a folder, and those above it that are missing; returns ``path``.

    Raises:
        InputError: It is a file or lies in one, or cannot be the name of a folder.
        PrejudgeError: It cannot be made.
    """
    check_folder(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_make(path, error) from error
    return path


def check_folder(path: Path) -> None:
    """Refuse what :func:`make_folder` would, and make nothing."""
    _check_name(path)
    try:
        nearest = next((place for place in (path, *path.parents) if os.path.lexists(place)), path)
        if os.path.lexists(nearest) and not stat.S_ISDIR(nearest.stat().st_mode):
            raise InputError(f"cannot make the folder {path}: {nearest} is not a folder; choose another place (--out)")
        path.absolute()
    except OSError as error:  # also a link to nowhere, and a current folder that is gone
        raise _cannot_make(path, error) from error


def _cannot_make(path: Path, error: OSError) -> PrejudgeError:
    return PrejudgeError(f"cannot make the folder {path}: {error.strerror or error}; choose another place (--out)")


def destination(path: Path) -> Path | None:
    """The file that writing to ``path`` makes or replaces, behind all links; None where that is a pipe or a device.

    Raises:
        InputError: It is a folder, or cannot be the name of a file.
        MissingDataError: Its folder does not exist.
        PrejudgeError: It cannot be looked up.
    """
    _named(path)
    try:
        descriptor = _own_stream(path)
        if descriptor is not None:
            os.fstat(descriptor)
            return None
        target = Path(os.path.realpath(path))
    except FileNotFoundError:
        raise MissingDataError(f"cannot write {path}: the current folder is gone; change to another one") from None
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise MissingDataError(f"no folder {target.parent} for {path.name}; make it first") from None
        _check_length(target)
        return target
    except OSError as error:
        raise cannot_write(path, error) from error
    if stat.S_ISDIR(mode):
        raise InputError(f"{quoted(str(path))} is a folder; name a file")
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise InputError(f"{quoted(str(path))} is a disk or a socket; name a file")
    if not stat.S_ISREG(mode):
        return None
    _check_length(target)
    return target


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power failure, where the system can."""
    with suppress(OSError):  # Windows cannot open a folder, and some network disks cannot sync one
        _sync(folder, os.O_RDONLY)


def cannot_write(path: Path, error: OSError) -> PrejudgeError:
    """The one line for a failed write."""
    if error.errno in _FULL:
        return PrejudgeError(
            f"cannot write {path}: the disk is full; what was saved before is safe, free space and run again"
        )
    if error.errno in _FORBIDDEN:
        return PrejudgeError(f"cannot write {path}: no permission or a read-only folder; choose another place")
    return PrejudgeError(f"cannot write {path}: {error.strerror or error}")


def _named(path: Path) -> Path:
    _check_name(path)
    if not path.name:
        raise InputError(f"{quoted(str(path))} is a folder; name a file")
    return path


def _check_name(path: Path) -> None:
    if "\0" in str(path):
        raise InputError(f"{quoted(str(path))}: the name of a file cannot hold the character NUL")
    try:
        str(path).encode()
    except UnicodeEncodeError:  # journals and reports, which are text, could not say it
        raise InputError(f"{quoted(str(path))}: the name of a file must be text in UTF-8") from None


def _check_length(target: Path) -> None:
    """Refuse a name beside which there is no room for the name of the file to write."""
    try:
        beside(target, _LONGEST_SUFFIX).lstat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise cannot_write(target, error) from error


def _own_stream(path: Path) -> int | None:
    """The descriptor that a path means, or a link to it; None where it means a file.

    Its file is not looked for: a redirected stream would be replaced by another file, and its own be lost.
    """
    here = Path(os.path.normpath(path.absolute()))
    for _ in range(_MOST_LINKS):
        found = _STREAM.fullmatch(here.as_posix())
        if found is not None:
            return int(found[1] or found[2] or {"stdout": 1, "stderr": 2}[here.name])
        if not here.is_symlink():
            return None
        here = Path(os.path.normpath(here.parent / here.readlink()))
    return None


def _sync(path: Path, flags: int = os.O_RDWR | BINARY) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _take_turn(part: Path) -> int:
    """Make an empty file that no other process writes until the returned descriptor, if not negative, is closed."""
    if os.name == "nt":  # Windows lets nobody replace an open file
        part.unlink(missing_ok=True)
        part.touch(exist_ok=False)
        return -1
    deadline = time.monotonic() + _TURN_SECONDS
    while True:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | BINARY, 0o666)
        try:
            locked = _try_lock(descriptor)
            if locked and _is_at(descriptor, part):
                found = os.fstat(descriptor)
                if found.st_size == 0 and found.st_nlink == 1:
                    descriptor, mine = -1, descriptor
                    return mine
                part.unlink()  # of a process that was killed: it may be a second name of a whole file
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        if not locked:
            if time.monotonic() > deadline:
                raise BusyError(f"{part.with_suffix('')} is being replaced by another process; wait for it")
            time.sleep(0.01)


def _try_lock(descriptor: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _pour(part: Path, path: Path) -> None:
    """Write a whole file into a pipe or a device."""
    try:
        with part.open("rb") as source, os.fdopen(_open_stream(path), "wb") as stream:
            shutil.copyfileobj(source, stream)
    except OSError as error:
        raise cannot_write(path, error) from error


def _open_stream(path: Path) -> int:
    descriptor = _own_stream(path)
    if descriptor is not None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        return os.dup(descriptor)
    deadline = time.monotonic() + _READER_SECONDS
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
        except OSError as error:
            if error.errno != errno.ENXIO or not path.is_fifo():
                raise
            if time.monotonic() > deadline:
                raise PrejudgeError(f"cannot write {path}: it is a pipe that nobody reads") from None
            time.sleep(0.05)
            continue
        os.set_blocking(descriptor, True)
        return descriptor
