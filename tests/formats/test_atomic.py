from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from prejudge.errors import MissingDataError, PrejudgeError
from prejudge.formats import atomic
from prejudge.formats.atomic import beside, cannot_write, replace_by_copy, replacing, write_atomically


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
    with pytest.raises(MissingDataError, match=r"no folder .*nowhere for file; make it first"):
        write_atomically(tmp_path / "nowhere" / "file", b"")


def test_links_are_followed_and_stay_links(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for name in ("there/file", "there/new"):
        link = tmp_path / Path(name).name
        link.symlink_to(name)
    (tmp_path / "there" / "file").write_bytes(b"old")
    (tmp_path / "again").symlink_to("file")
    write_atomically(tmp_path / "again", b"new")
    write_atomically(tmp_path / "new", b"made")
    assert (tmp_path / "there" / "file").read_bytes() == b"new"
    assert (tmp_path / "there" / "new").read_bytes() == b"made"
    assert all((tmp_path / name).is_symlink() for name in ("file", "again", "new"))
    assert len(list((tmp_path / "there").iterdir())) == 2


def test_what_cannot_be_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for path, words in (
        (tmp_path, "is a folder"),
        (Path(), "is a folder"),
        (tmp_path / "a\0b", "NUL"),
        (tmp_path / "a", "cannot write"),
        (tmp_path / ("n" * 300), "cannot write"),
    ):
        with pytest.raises(PrejudgeError, match=words) as caught:
            write_atomically(path, b"x")
        assert len(str(caught.value).splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_written_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = os.urandom(300_000)  # more than a pipe holds
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, content)
    reader.join(10)
    assert received == [content] and pipe.is_fifo() and len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(atomic, "_READER_SECONDS", 0.1)
    with pytest.raises(PrejudgeError, match="a pipe that nobody reads"):
        write_atomically(pipe, content)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such devices here")
def test_devices_are_written_into(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(os.devnull)
    for path in (Path(os.devnull), tmp_path / "link"):
        write_atomically(path, b"x")
        assert path.is_char_device()
    with pytest.raises(PrejudgeError, match="disk is full"):
        write_atomically(Path("/dev/full"), b"x")


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="no such devices here")
def test_standard_output_is_written_into(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from prejudge.formats.atomic import write_atomically as w; print('before'); "
        "w(Path('/dev/stdout'), b'content\\n'); w(Path('/dev/fd/1'), b'more\\n'); print('after')"
    )
    piped = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout
    with (tmp_path / "file").open("wb") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert piped == (tmp_path / "file").read_bytes() == b"before\ncontent\nmore\nafter\n"


def test_several_processes_replace_a_file_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    code = (
        "import sys, time; from pathlib import Path; from prejudge.formats.atomic import replacing\n"
        "for _ in range(20):\n"
        f"    with replacing(Path({str(path)!r})) as part:\n"
        "        with part.open('w') as file:\n"
        "            for _ in range(5):\n"
        "                file.write(sys.argv[1]); file.flush(); time.sleep(0.0005)\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(number)]) for number in range(4)]
    assert [process.wait(120) for process in started] == [0, 0, 0, 0]
    assert path.read_text() in {str(number) * 5 for number in range(4)} and len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_process_left_is_not_written_to(tmp_path: Path) -> None:
    """It may be a second name of a whole file."""
    path, whole = tmp_path / "file", tmp_path / "whole"
    whole.write_bytes(b"whole")
    (tmp_path / "file.part").hardlink_to(whole)
    write_atomically(path, b"new")
    assert whole.read_bytes() == b"whole" and path.read_bytes() == b"new" and len(list(tmp_path.iterdir())) == 2
    replace_by_copy(path, whole)
    assert path.samefile(whole)
