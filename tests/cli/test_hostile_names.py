"""Names from files, and terminals of every kind: each command shows them, in lines that hold nothing hidden."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from prejudge import cli
from prejudge.cache import Protocol, ScoreCache
from prejudge.cli import output
from prejudge.cli.progress import ProgressBar
from prejudge.proxies.score import Score
from prejudge.spaces import space

NAMES = (
    "[/x] boo",
    "[link=http://evil.example]a[/link]",
    "esc\x1b]0;x\x07\x1b[2J",
    "\u202egnp.exe\u200b\x9b1m",
    ":smile: é",
    "=1+1",
)
VISIBLE = (*NAMES[:2], "esc\\x1b]0;x\\x07\\x1b[2J", "\\u202egnp.exe\\u200b\\x9b1m", *NAMES[4:])


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    path = tmp_path / "scores\x1b[31m.h5"
    protocol = Protocol("nasbench201", {"channels": 4}, data=NAMES[3], init=NAMES[2], source=NAMES[0])
    with ScoreCache(path) as cache:
        for number, cell in enumerate(list(space("nasbench201"))[5:35:2]):
            failed = Score.failed(f"{NAMES[number % 4]}\nand more")
            cache.put(protocol, cell, {name: float(number) for name in NAMES} | {"failing": failed, "zen": number % 4})
    return path


def hidden(text: str) -> list[str]:
    return [character for character in text if not character.isprintable() and character != "\n"]


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize(
    "words",
    [
        ["cache", "info"], ["cache", "verify"], ["report", "--benchmark", "digits"],
        ["cache", "export", "--out", "a\x1b[2J.csv"],
    ],
    ids=lambda words: " ".join(words[:2]),
)  # fmt: skip
def test_commands_hide_nothing(
    words: list[str], as_json: bool, scores: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scores.parent)
    assert cli.run([*words, str(scores), *["--json"] * as_json]) == 0
    out, err = capsys.readouterr()
    assert not hidden(out + err)
    if as_json:
        assert any("\x1b" in text for text in _texts(json.loads(out))), "JSON reads as the same text"
    elif words[1] in ("info", "--benchmark"):
        assert all(name in out for name in VISIBLE)


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in _texts(item)]
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else [str(value)]


def test_tables_fields_lines_and_bars_show_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    for name in NAMES:
        output.print_table(name, ["a", name], [[name, [name]]], numeric=["a"])
        output.print_fields(name, {name: name})
        output.tell(name)
        output.say(f"{name}\nprejudge: another line")
        with ProgressBar(name) as bar:
            bar.describe(name)
            bar(1, 2)
    out, err = capsys.readouterr()
    assert not hidden(out) and all(out.count(name) >= 4 for name in VISIBLE)
    assert "\x1b]0" not in err and "\u202e" not in err and err.count("\nprejudge: another") == 0


def test_an_integer_that_python_does_not_print_is_said_to_be_large(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table("", ["n"], [[1 << 400_000]])
    output.print_json({"n": 1 << 400_000})
    assert capsys.readouterr().out.count("a int too large to show") == 2


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_a_stream_that_has_no_such_character_shows_its_escape(
    as_json: bool, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stream)
        assert cli.run(["cache", "info", str(scores), *["--json"] * as_json]) == 0
        stream.flush()
    text = written.getvalue().decode("ascii")
    assert (NAMES[4] in json.dumps(json.loads(text), ensure_ascii=False)) if as_json else ":smile: \\xe9" in text


@pytest.mark.parametrize("columns", ["0", "1", "2", "x", "٣"])
def test_no_terminal_is_too_narrow(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert cli.run(["list", "--help"]) == cli.run(["list", "spaces"]) == 0
    assert "nasbench201" in capsys.readouterr().out


def test_an_error_in_a_thread_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError("one\n\x1b[2Jtwo")

    def app(*_: object, **__: object) -> None:
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()

    monkeypatch.setattr(cli, "build_app", lambda: app)
    before = threading.excepthook
    assert cli.run([]) == 0 and threading.excepthook is before
    assert capsys.readouterr().err == "prejudge: note: a thread ended with ZeroDivisionError: one \\x1b[2Jtwo\n"


@pytest.mark.skipif(os.name == "nt", reason="POSIX shells")
@pytest.mark.parametrize(
    ("ending", "code", "lines"),
    [
        ("| head -n 1", 0, 0), (">&-", 0, 0), ("2>&- >/dev/null", 0, 0), ("> /dev/full", 1, 1),
        ("2>&1 >&- | head -n 0", 0, 0),
    ],
    ids=ascii,
)  # fmt: skip
def test_closed_and_full_standard_streams(ending: str, code: int, lines: int) -> None:
    command = f"set -o pipefail; {sys.executable} -m prejudge list proxies {ending}"
    done = subprocess.run(
        ["bash", "-c", command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=240
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (code, lines), done.stderr


@pytest.mark.skipif(os.name == "nt", reason="POSIX environments")
@pytest.mark.parametrize("words", [["list", "benchmarks"], ["list", "spaces"], ["bench", "info", "mine"]], ids=" ".join)
def test_no_home_no_place_for_temporary_files_and_no_current_folder(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = f"cd {tmp_path}/gone; rmdir ../gone; exec {sys.executable} -m prejudge {' '.join(words)}"
    environment = {"PATH": os.environ["PATH"], "TMPDIR": "/nowhere", "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == (2 if words[-1] == "mine" else 0), done.stderr
    assert len(done.stderr.splitlines()) == (words[-1] == "mine")
