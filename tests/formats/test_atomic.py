from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from prejudge.errors import PrejudgeError
from prejudge.formats.atomic import beside, cannot_write, replacing, write_atomically


def test_the_new_content_takes_the_place_of_the_old_with_its_rights(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    path.chmod(0o640)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new" and [p.name for p in tmp_path.iterdir()] == ["file.bin"]
    assert os.name == "nt" or path.stat().st_mode & 0o777 == 0o640


def test_a_failure_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as part:
        assert part == beside(path, ".part")
        part.write_bytes(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["file.bin"]


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EIO, "error")]
)
def test_why_it_could_not_be_written(code: int, words: str) -> None:
    error = cannot_write(Path("f"), OSError(code, os.strerror(code)))
    assert words in str(error) and "\n" not in str(error) and "f" in str(error)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(PrejudgeError, match="cannot write"):
        write_atomically(tmp_path / "nowhere" / "file", b"")
