"""Help, exit codes and one-line errors of every command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prejudge import cli
from prejudge.errors import BusyError, InputError

COMMANDS = [
    ["demo"],
    ["list"],
    ["score"],
    ["cache", "info"],
    ["cache", "export"],
    ["cache", "merge"],
    ["cache", "verify"],
    ["cache", "import"],
    ["bench", "import"],
    ["bench", "info"],
    ["bench", "query"],
    ["bench", "join"],
    ["draw"],
    ["search"],
    ["search", "te-nas"],
    ["bench", "train"],
    ["train"],
    ["test"],
    ["run"],
    ["report"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_explains_every_option_and_has_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Usage: prejudge")
    example = text[text.index("Example:") :]
    assert f"prejudge {' '.join(command)}" in " ".join(example.split())
    assert "--json" in text


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f" {name} " in text for name in cli.COMMANDS)
    assert {c[0] for c in COMMANDS} == set(cli.COMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        ["no-such-command"],
        ["list", "no-such-kind"],
        ["score"],
        ["score", "nasbench201", "--out", "x.h5"],
        ["score", "nasbench201", "--data", "digits", "--out", "x.h5", "--workers", "0"],
        ["score", "nasbench201", "--data", "digits", "--out", "x.h5", "--no-such-option"],
        ["score", "nasbench999", "--data", "digits", "--out", "x.h5"],
        ["score", "nasbench201", "--data", "digits", "--out", "x.h5", "--proxies", "no_such_proxy"],
        ["score", "nasbench201", "--data", "digits", "--out", "x.h5", "--proxies", "zen(no_such_option=1)"],
        ["score", "nasbench201", "--data", "digits", "--out", "x.h5", "--archs", "some"],
        ["score", "nasbench201", "--data", "no-such-data", "--out", "x.h5"],
        ["score", "nasbench201", "--data", "npz:missing.npz", "--out", "x.h5"],
        ["score", "nasbench201", "--data", "digits", "--out", "x.h5", "--channels", "0"],
        ["score", "nasbench201", "--data", "digits", "--out", "x.h5", "--form", "no-such-form"],
        ["score", "--recipe", "missing.yaml"],
        ["cache", "info", "missing.h5"],
        ["cache", "verify", "missing.h5"],
        ["cache", "export", "missing.h5", "--out", "x.csv"],
        ["cache", "merge", "missing.h5", "--out", "x.h5"],
        ["bench", "info", "no-such-table"],
        ["bench", "join", "digits", "missing.csv"],
        ["bench", "query", "digits", "0", "--quantity", "loss"],
        ["draw", "nasbench201", "0", "--out", "cell.gif"],
        ["draw", "nasbench201", "|none~0|", "--out", "cell.svg"],
        ["bench", "query", "digits", "0", "--metric", "no_such_metric"],
        ["bench", "query", "digits", "|none~0|", "--metric", "digits_test_1ep"],
        ["bench", "import", "csv", "missing.csv", "--out", "x.h5"],
        ["bench", "import", "no-such-kind", "missing.csv", "--out", "x.h5"],
        ["report", "missing.h5", "--benchmark", "digits", "--out", "x.html"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("prejudge: ")
    assert captured.err.count("\n") == 1, captured.err
    assert not [p for p in tmp_path.iterdir() if p.suffix != ".lock"], "wrong usage leaves no file behind"


def test_integers_are_read_with_the_option_that_says_what_they_mean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = ["bench", "query", "digits", "(4, 3, 3, 0, 0, 0)", "--metric", "digits_test_7ep"]
    draw = ["draw", "nasbench201", "433000", "--out", str(tmp_path / "x.svg")]
    for words in (query, draw):
        assert cli.run(words) == 2
        assert "notation='naslib'; say which" in capsys.readouterr().err
        assert cli.run([*words, "--notation", "naslib", "--json"]) == 0
        assert "|avg_pool_3x3~0|+|nor_conv_1x1~0|" in capsys.readouterr().out


def raising(error: BaseException) -> object:
    def build_app() -> object:
        def app(*_: object, **__: object) -> None:
            raise error

        return app

    return build_app


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InputError("bad\n  input"), 2, "prejudge: bad input\n"),
        (BusyError("another process writes x.h5"), 1, "prejudge: another process writes x.h5\n"),
        (OSError(28, "No space left on device", "x.h5"), 1, "'x.h5': No space left on device"),
        (MemoryError(), 1, "out of memory"),
        (KeyboardInterrupt(), 130, "run the same command again"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_failures_have_their_exit_code(
    error: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "build_app", raising(error))
    assert cli.run([]) == code
    err = capsys.readouterr().err
    assert text in err
    assert err.count("\n") == 1


def test_a_bug_is_one_line_and_its_traceback_can_be_had(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "build_app", raising(ZeroDivisionError("one\n\x1b[2Jtwo")))
    assert cli.run(["bench", "import", "csv", "x.csv"]) == 1
    assert capsys.readouterr().err == (
        "prejudge: `prejudge bench import` failed with ZeroDivisionError: one \\x1b[2Jtwo; "
        "--debug shows where; report it if it is not your own code\n"
    )
    assert cli.run(["bench", "--debug", "import"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "in fail" in err or "raise error" in err
    assert "PREJUDGE_DEBUG" not in os.environ


@pytest.mark.parametrize("kind", ["spaces", "genotypes", "proxies", "searches", "datasets", "benchmarks", "recipes"])
def test_lists_are_readable_by_people_and_machines(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["list", kind]) == 0
    capsys.readouterr()
    assert cli.run(["list", kind, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert isinstance(rows, list)
    expected = {"spaces": "nasbench201", "proxies": "synflow", "datasets": "digits", "benchmarks": "digits"}
    if kind in expected:
        assert expected[kind] in json.dumps(rows)


def modules_after(words: list[str]) -> set[str]:
    """Modules that a fresh interpreter has loaded after a command."""
    code = f"import sys; from prejudge import cli; cli.run({words!r}); print(*sys.modules, file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    return set(result.stderr.split())


@pytest.mark.parametrize(
    "words",
    [["--help"], ["score", "--help"], ["list", "spaces"], ["list", "proxies"], ["bench", "info", "digits"]],
    ids=" ".join,
)
def test_quick_answers_load_no_torch(words: list[str]) -> None:
    assert not {"torch", "sklearn", "scipy"} & modules_after(words)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX process times")
def test_help_takes_half_a_second_of_processor_time() -> None:
    """Processor time, not wall time: the tests share their machine."""
    seconds = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, "-m", "prejudge", "--help"], capture_output=True, check=True, timeout=240)
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(seconds) < 0.5


def test_the_module_runs_as_a_program() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "prejudge", "--version"], capture_output=True, text=True, timeout=240
    )
    assert result.returncode == 0
    assert result.stdout.strip() == __import__("prejudge").__version__


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m prejudge list proxies --json | head -c 1"
    result = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, timeout=240)
    assert result.stderr == ""
