"""The command line: it parses, calls one function of a room, and prints. What it can do, the library can do too."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from prejudge._version import __version__
from prejudge.errors import InputError, PrejudgeError, one_line, quoted

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

RUN_AGAIN = "run the same command again to go on where it stopped"


def build_app() -> App:
    """The command tree; a command's module is imported when the command is used or described."""
    from cyclopts import App, Parameter

    from prejudge.cli.arguments import check_numbers
    from prejudge.cli.recipe_option import fill_in

    app = App(
        name="prejudge",
        help="Judge neural architectures before you train them.",
        version=__version__,
        version_flags=["--version"],
        help_epilogue="Start with: prejudge demo",
        config=(fill_in, check_numbers),
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
        SystemExit: Always: 0 done, 1 failed, 2 wrong usage or input, 130 interrupted.
    """
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def parse(arguments: Sequence[str]) -> None:
    """Raise :class:`InputError` where the words are not a command with its arguments."""
    from cyclopts.exceptions import CycloptsError

    try:
        build_app().parse_args(list(arguments), print_error=False, exit_on_error=False)
    except CycloptsError as error:
        raise InputError(_one_line(error)) from error


def run(arguments: list[str]) -> int:
    """Run the command line; returns the exit code instead of leaving the process."""
    return _guarded(lambda: build_app()(arguments, print_error=False, exit_on_error=False))


def check(arguments: list[str]) -> int:
    """Parse the command line and do nothing; returns the exit code."""
    return _guarded(lambda: parse(arguments))


def _guarded(command: Callable[[], Any]) -> int:
    """The exit code of a command; its errors are printed in one line."""
    from cyclopts.exceptions import CycloptsError

    try:
        with warnings.catch_warnings():
            warnings.showwarning = _note
            result = command()
        sys.stdout.flush()
    except CycloptsError as error:
        return _complain(f"{_one_line(error)}; see: {_help_command(error)}", 2)
    except PrejudgeError as error:
        return _complain(_one_line(error), error.exit_code)
    except KeyboardInterrupt:
        return _complain(f"interrupted; what was computed is kept, {RUN_AGAIN}", 130)
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f" {quoted(os.fspath(error.filename))}" if isinstance(error.filename, str | os.PathLike) else ""
        return _complain(f"cannot read or write{where}: {error.strerror or error}; {RUN_AGAIN} once that is solved", 1)
    except MemoryError:
        return _complain("out of memory; try a smaller --batch-size or fewer --workers", 1)
    return result if isinstance(result, int) else 0


def _note(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"prejudge: note: {' '.join(str(message).split())}", file=sys.stderr)


def _complain(message: str, code: int) -> int:
    print(f"prejudge: {message}", file=sys.stderr)
    return code


def _one_line(error: Exception) -> str:
    return one_line(" ".join(str(error).split())).rstrip(".")


def _help_command(error: Exception) -> str:
    chain = getattr(error, "command_chain", None) or ()
    return " ".join(["prejudge", *chain, "--help"])
