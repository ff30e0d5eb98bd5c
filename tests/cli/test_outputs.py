"""What every command does with an ``--out`` that is no plain new file, and with a disk that fails: all, or one line."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from prejudge import cli
from prejudge.cache import Protocol, ScoreCache
from prejudge.formats import atomic
from prejudge.spaces import space

resource = pytest.importorskip("resource", reason="limits, sockets and pipes with names are POSIX's")

CELL = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"
REPORT = ["report", "{scores}", "--benchmark", "digits"]
NETWORK = ["--data", "digits", "--channels", "2", "--cells", "1"]
WRITERS = {
    "report-html": [*REPORT, "--format", "html"],
    "export-csv": ["cache", "export", "{scores}", "--format", "csv"],
    "export-parquet": ["cache", "export", "{scores}", "--format", "parquet"],
    "search": ["search", "random", "--benchmark", "digits", "--queries", "3"],
    "import": ["bench", "import", "csv", "{accuracies}"],
    "join": ["bench", "join", "{table}", "{costs}"],
}
"""Commands that write one file, which may be a pipe."""

CACHES = {
    "merge": ["cache", "merge", "{scores}"],
    "score": ["score", "nasbench201", *NETWORK, "--archs", "{cells}", "--proxies", "params"],
    "bench-train": ["bench", "train", "nasbench201", *NETWORK, "--archs", "{cells}", "--epochs", "1"],
}
"""Those that add to what is there, beside which they keep a journal: only to a file."""

FOLDERS = {
    "demo": ["demo", "--archs", "10"],
    "train": ["train", CELL, *NETWORK, "--epochs", "1"],
    "run": ["run", "digits-darts"],
}
"""Those that write a folder."""

HOSTILE = ["a\0b", "a\udcffb", "a\ud800b", "n" * 256, "n/" * 3000, ""]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("sources")
    cells = [str(cell) for cell in list(space("nasbench201"))[5:25:2]]
    protocol = Protocol("nasbench201", {"channels": 4}, data="digits")
    with ScoreCache(folder / "scores.h5") as cache:
        for number, cell in enumerate(cells):
            cache.put(protocol, cell, {"zen": float(number), "params": 1.0 + number % 3})
    (folder / "accuracies.csv").write_text(
        "\n".join(["arch_str,cifar10_test_200ep", *(f"{c},{50 + k}" for k, c in enumerate(cells))])
    )
    (folder / "costs.csv").write_text(
        "\n".join(["arch_str,edgegpu_latency", *(f"{c},{k + 1}" for k, c in enumerate(cells))])
    )
    (folder / "cells.txt").write_text(cells[0])
    assert cli.run(["bench", "import", "csv", str(folder / "accuracies.csv"), "--out", str(folder / "table.h5")]) == 0
    names = {
        "scores": "scores.h5",
        "accuracies": "accuracies.csv",
        "costs": "costs.csv",
        "cells": "cells.txt",
        "table": "table.h5",
    }
    return {key: str(folder / name) for key, name in names.items()}


@pytest.fixture
def call(
    sources: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str]]:
    """``call(words, out)``: the exit code of a command, and its one line if it has failed."""
    monkeypatch.setattr(atomic, "_READER_SECONDS", 0.2)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def call(words: list[str], out: str | Path) -> tuple[int, str]:
        code = cli.run([*(word.format(**sources) if "{" in word else word for word in words), "--out", str(out)])
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("prejudge: ")]
        errors = [line for line in said if "prejudge: note" not in line]
        assert len(errors) == (code != 0), said
        return code, "".join(errors)

    return call


def kinds(folder: Path) -> dict[str, int]:
    """Names and kinds of all that is in a folder."""
    return {path.name: stat.S_IFMT(path.lstat().st_mode) for path in folder.iterdir()}


def obstacles(folder: Path) -> list[Path]:
    """Paths at which no file can be written."""
    (folder / "folder").mkdir()
    (folder / "file").write_text("a file")
    (folder / "loop").symlink_to("pool")
    (folder / "pool").symlink_to("loop")
    (folder / "to-folder").symlink_to("folder")
    (folder / "to-nowhere").symlink_to("missing/file")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(folder / "socket"))
    return [folder / name for name in ("folder", "loop", "to-folder", "to-nowhere", "socket", "missing/x", "file/x")]


@pytest.mark.parametrize("command", [*WRITERS, *CACHES])
def test_what_cannot_be_written_is_refused_and_stays(command: str, call: Any, tmp_path: Path) -> None:
    words, place = (WRITERS | CACHES)[command], tmp_path / "place"
    place.mkdir()
    targets = [*obstacles(place), *(name and place / name for name in HOSTILE), Path("/dev/fd/987")]
    before = kinds(place)
    for target in targets:
        code, line = call(words, target)
        assert code and line.isprintable(), ascii(str(target))
        assert kinds(place) == before, ascii(str(target))
    assert (place / "file").read_text() == "a file" and not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize("command", WRITERS)
def test_pipes_devices_and_links_are_written_into(command: str, call: Any, tmp_path: Path) -> None:
    words, place = WRITERS[command], tmp_path / "place"
    place.mkdir()
    (place / "null").symlink_to(os.devnull)
    (place / "old").write_text("old")
    (place / "to-old").symlink_to("old")
    (place / "again").symlink_to("to-old")
    (place / "to-new").symlink_to("new")
    os.mkfifo(place / "pipe")
    before = kinds(place)
    assert call(words, place / "null") == (0, "") and call(words, os.devnull) == (0, "")
    assert "a pipe that nobody reads" in call(words, place / "pipe")[1]
    assert "disk is full" in call(words, "/dev/full")[1]
    assert kinds(place) == before and Path(os.devnull).is_char_device()
    for name in ("again", "to-new", "a\nb\x1b[31m"):
        assert call(words, place / name) == (0, ""), name
    assert kinds(place) == before | dict.fromkeys(("new", "a\nb\x1b[31m"), stat.S_IFREG)
    assert (place / "old").read_bytes() != b"old" and (place / "new").stat().st_size


@pytest.mark.parametrize("command", CACHES)
def test_what_is_added_to_must_be_a_file(command: str, call: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for target in (tmp_path / "pipe", os.devnull, "/dev/stdout", "/dev/full"):
        code, line = call(CACHES[command], target)
        assert code == 2 and "needs a file" in line
    assert set(kinds(tmp_path)) == {"pipe", "work"} and not Path("/dev/stdout.lock").exists()


@pytest.mark.parametrize("command", FOLDERS)
def test_a_folder_that_cannot_be_made_is_said(command: str, call: Any, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    names = [
        target
        for target in obstacles(place)
        if target.name in ("loop", "socket", "x") and "missing" not in target.parts
    ]
    before = kinds(place)
    for target in [*names, place / "file", *(name and place / name for name in HOSTILE), "/dev/null"]:
        code, line = call(FOLDERS[command], target)
        assert code and line.isprintable(), ascii(str(target))
        assert kinds(place) == before
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize("command", [*WRITERS, *CACHES])
def test_a_full_disk_leaves_the_old_file_whatever_fits(command: str, call: Any, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "old").write_text("old")
    (place / "out").symlink_to("old")
    before = kinds(place)
    target = place / ("out" if command in WRITERS else "new")
    for limit in (0, 1, 100):
        with bytes_of_a_file(limit):
            code, line = call((WRITERS | CACHES)[command], target)
        assert code == 1 and "disk is full" in line, limit
        left = {name: kind for name, kind in kinds(place).items() if not name.startswith("new.")}
        assert left == before and (place / "old").read_text() == "old"
        assert not list(place.glob("*.part"))
    if command in CACHES:
        assert call(CACHES[command], target) == (0, ""), "it goes on when there is room"


@contextmanager
def bytes_of_a_file(limit: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("fault", ["os.fsync", "pathlib.Path.replace", "os.open"])
@pytest.mark.parametrize("command", WRITERS)
def test_a_failing_disk_leaves_the_old_file(
    command: str, fault: str, call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").write_text("old")
    call(WRITERS[command], os.devnull)  # whatever it imports
    real = os.open

    def fail(path: Any, *others: Any, **named: Any) -> Any:
        if fault == "os.open" and not str(path).endswith(".part"):
            return real(path, *others, **named)
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(fault, fail)
        code, line = call(WRITERS[command], tmp_path / "out")
    assert code == 1 and "no permission or a read-only folder" in line, line
    assert (tmp_path / "out").read_text() == "old" and set(kinds(tmp_path)) == {"out", "work"}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_four_writers_at_once_end_in_one_whole_file(sources: dict[str, str], tmp_path: Path) -> None:
    """Those that replace a file all succeed; those that add to one may say that another is at it."""
    rounds, commands = 3, {name: words for name, words in (WRITERS | CACHES).items() if name != "bench-train"}
    code = (
        "import sys, json; from prejudge import cli\n"
        "for place, commands in json.loads(sys.argv[1]):\n"
        "    codes = {name: cli.run([*words, '--out', f'{place}/{name}']) for name, words in commands.items()}\n"
        "    print(json.dumps(codes), file=sys.stderr)\n"
    )
    filled = {
        name: [word.format(**sources) if "{" in word else word for word in words] for name, words in commands.items()
    }
    places = [tmp_path / str(number) for number in range(rounds)]
    for place in places:
        place.mkdir()
    work = json.dumps([(str(place), filled) for place in places])
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, work], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    said = [process.communicate(timeout=1200)[1].splitlines() for process in started]
    assert [process.returncode for process in started] == [0] * 4
    codes = [json.loads(line) for lines in said for line in lines if line.startswith("{")]
    assert len(codes) == 4 * rounds and not any(found[name] for found in codes for name in WRITERS)
    busy = [line for lines in said for line in lines if line.startswith("prejudge: ") and "note" not in line]
    assert len(busy) == sum(found[name] for found in codes for name in CACHES if name in found)
    assert all("is being written by" in line for line in busy), busy
    for place in places:
        left = {path.name for path in place.iterdir()}
        assert left == {*commands, "merge.lock", "score.lock"}
        assert (
            cli.run(["cache", "verify", str(place / "merge")])
            == cli.run(["cache", "verify", str(place / "score")])
            == 0
        )
        assert cli.run(["bench", "info", str(place / "import")]) == cli.run(["bench", "info", str(place / "join")]) == 0
        assert (place / "report-html").read_text().endswith("</html>") and len(
            (place / "export-csv").read_text().splitlines()
        ) == 11
