"""The command line: it parses, calls one function of a room, and prints. What it can do, the library can do too."""

from __future__ import annotations

import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import TextIOWrapper
from itertools import takewhile
from typing import TYPE_CHECKING, Any, TextIO

from prejudge._version import __version__
from prejudge.cli.crash import crashes_said
from prejudge.cli.stopping import BROKEN_PIPE, RUN_AGAIN, Stopped, is_broken, silence, stop_behind, stopping
from prejudge.engine.orphans import is_hung
from prejudge.errors import InputError, PrejudgeError, one_line, quoted, visible

if TYPE_CHECKING:
    from cyclopts import App

COMMANDS = {
    "demo": "Run the main job on a small scale; needs no data.",
    "list": "List what can be named elsewhere: spaces, proxies, datasets …",
    "score": "Score untrained architectures with proxies, into a cache.",
    "cache": "Look into score caches; export, merge, check and import scores.",
    "bench": "Import, query and train tables of trained accuracies.",
    "search": "Let a method look for an architecture.",
    "train": "Train what was found, by a published recipe.",
    "test": "Evaluate trained weights.",
    "run": "Run a recipe from search to report, in one folder.",
    "draw": "Draw the cells of an architecture.",
    "report": "Rank correlation of cached scores with trained accuracies; comparison of searches; trainings.",
}
"""The commands, in the order in which ``prejudge --help`` shows them; each is a module of this package."""

_LEAST_COLUMNS = 20
_SIGNALLED = 128


def build_app() -> App:
    """The command tree; a command's module is imported when the command is used or described."""
    from cyclopts import App, Parameter

    from prejudge.cli.arguments import check_values
    from prejudge.cli.recipe_option import fill_in

    app = App(
        name="prejudge",
        help="Judge neural architectures before you train them.",
        version=__version__,
        version_flags=["--version"],
        help_epilogue="Start with: prejudge demo. Any command with --debug shows the traceback of an error.",
        config=(fill_in, check_values),
        default_parameter=Parameter(negative=(), show_default=lambda value: None if value is False else value),
        help_format="plaintext",
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    for position, (name, summary) in enumerate(COMMANDS.items()):
        app.command(f"prejudge.cli.{name}_command:app", name=name, help=summary, sort_key=position)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: The words after ``prejudge``; None takes those of this process.

    Raises:
        SystemExit: Always: 0 done, 1 failed, 2 wrong usage or input; 130 by Ctrl-C, 143 by SIGTERM, 129 where the
            terminal was closed, 131 by SIGQUIT.
    """
    if sys.stdout is None or sys.stderr is None:  # else the next file would get the number of what is closed
        _open_missing_streams()
    try:
        with crashes_said(), stopping():
            code = run(sys.argv[1:] if arguments is None else list(arguments))
    except Stopped as stop:  # when all was done already
        code = stop.exit_code
    if code > _SIGNALLED or is_hung():
        sys.stderr.flush()
        os._exit(code)  # taking down torch may last seconds
    sys.exit(code)


def parse(arguments: Sequence[str]) -> None:
    """Raise :class:`InputError` where the words are not a command with its arguments."""
    from cyclopts.exceptions import CycloptsError

    try:
        build_app().parse_args(list(arguments), print_error=False, exit_on_error=False)
    except CycloptsError as error:
        raise InputError(_one_line(error)) from error


def run(arguments: list[str]) -> int:
    """Run the command line; returns the exit code instead of leaving the process."""
    words, debug = _without_debug(arguments)
    if debug:
        os.environ["PREJUDGE_DEBUG"] = "1"  # for workers too
    try:
        return run_step(words)
    except Stopped as stop:
        with suppress(OSError):
            _complain(str(stop), stop.exit_code)
            sys.stdout.flush()
            return stop.exit_code
        silence()
        return stop.exit_code
    finally:
        if debug:
            del os.environ["PREJUDGE_DEBUG"]


def run_step(arguments: list[str]) -> int:
    """Run a command within another one, which a signal ends as a whole.

    Raises:
        Stopped: A signal.
    """
    return _guarded(lambda: build_app()(arguments, print_error=False, exit_on_error=False), arguments)


def check(arguments: list[str]) -> int:
    """Parse the command line and do nothing; returns the exit code."""
    return _guarded(lambda: parse(arguments), arguments)


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The words but ``--debug``, and whether it was among them; what follows ``--`` stays."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    options = [word for word in arguments[:end] if word != "--debug"]
    return [*options, *arguments[end:]], len(options) < end


def is_debugging() -> bool:
    """Whether errors show their traceback: after ``--debug``, or where ``PREJUDGE_DEBUG`` is set."""
    return bool(os.environ.get("PREJUDGE_DEBUG"))


def _guarded(command: Callable[[], Any], arguments: Sequence[str]) -> int:
    """The exit code of a command; its errors are printed in one line. Raises :class:`Stopped`."""
    _prepare_terminal()
    in_threads, threading.excepthook = threading.excepthook, _say_thread_error
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _note
            result = command()
        sys.stdout.flush()
    except BaseException as error:
        if (stop := stop_behind(error)) is not None:
            raise stop from None
        if is_debugging():
            traceback.print_exception(error)
        return _say_error(error, arguments)
    finally:
        threading.excepthook = in_threads
    return result if isinstance(result, int) else 0


def _say_error(error: BaseException, arguments: Sequence[str]) -> int:
    """Print an error that we know in one line; the exit code."""
    from cyclopts.exceptions import CycloptsError

    if isinstance(error, CycloptsError):
        return _complain(f"{_one_line(error)}; see: {_help_command(error)}", 2)
    if isinstance(error, PrejudgeError):
        return _complain(_one_line(error), error.exit_code)
    if isinstance(error, BrokenPipeError):
        # The reader of our output (head, less) has gone; Python would complain once more when it closes stdout. Results
        # are printed when they have been written; but where nobody reads the progress either, work was broken off.
        broken_off = is_broken(2)
        silence()
        return BROKEN_PIPE if broken_off else 0
    if isinstance(error, OSError):
        _forget_output()
        where = f" {quoted(os.fspath(error.filename))}" if isinstance(error.filename, str | os.PathLike) else ""
        return _complain(f"cannot read or write{where}: {error.strerror or error}; {RUN_AGAIN} once that is solved", 1)
    if isinstance(error, MemoryError):
        return _complain("out of memory; try a smaller --batch-size or fewer --workers", 1)
    if not isinstance(error, Exception):
        raise error
    return _complain(_unexpected(error, arguments), 1)


def _prepare_terminal() -> None:
    """Let streams show the escapes of characters that they cannot show, and nobody write into two columns."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns[:9]) < _LEAST_COLUMNS:
        os.environ["COLUMNS"] = str(_LEAST_COLUMNS)


def _open_missing_streams() -> None:
    """Give a process that was started without standard output or standard error ones that keep nothing."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8")


def _forget_output() -> None:
    """Drop what standard output could not take; Python would complain once more when it closes it."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unexpected(error: Exception, arguments: Sequence[str]) -> str:
    """The line for an error that is a fault of prejudge, or of code that it was given."""
    words = takewhile(lambda word: word.replace("-", "").isalpha() and not word.startswith("-"), arguments[:2])
    said = f": {' '.join(str(error).split())}" if str(error) else ""
    return one_line(
        f"`{' '.join(['prejudge', *words])}` failed with {type(error).__name__}{said}; "
        "--debug shows where; report it if it is not your own code"
    )


def _note(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"prejudge: note: {visible(' '.join(str(message).split()))}", file=sys.stderr)


def _say_thread_error(failed: threading.ExceptHookArgs) -> None:
    if is_debugging():
        threading.__excepthook__(failed)
    elif failed.exc_type is not SystemExit:
        what = " ".join(str(failed.exc_value).split())
        _complain(one_line(f"note: a thread ended with {failed.exc_type.__name__}: {what}"), 0)


def _complain(message: str, code: int) -> int:
    with suppress(OSError):  # standard error may be the pipe that is broken
        print(f"prejudge: {message}", file=sys.stderr)
    return code


def _one_line(error: Exception) -> str:
    return one_line(" ".join(str(error).split())).rstrip(".")


def _help_command(error: Exception) -> str:
    chain = getattr(error, "command_chain", None) or ()
    return " ".join(["prejudge", *chain, "--help"])
