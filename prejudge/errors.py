"""The exceptions a user may meet. Each message is one line: what is wrong, with the offender named, and what to do."""

from __future__ import annotations


class PrejudgeError(Exception):
    """Base of every error that prejudge raises on purpose; the command line prints it as one line and exits with 1."""

    exit_code = 1


class InputError(PrejudgeError, ValueError):
    """The caller's input is wrong (an unknown name, a malformed text, a wrong shape); the command line exits with 2."""

    exit_code = 2


class MissingDataError(InputError, FileNotFoundError):
    """A file that is needed is not there; the message says which file belongs where."""


class FileFormatError(PrejudgeError):
    """A file is truncated, corrupt, foreign, or of a version that this prejudge cannot read."""


class BusyError(PrejudgeError):
    """Another process is writing the same file."""


def unknown(kind: str, name: object, known: object) -> InputError:
    """The one way to say that a name is not known.

    Args:
        kind: What was asked for, e.g. ``"space"``.
        name: The unknown name.
        known: An iterable of the names that exist.

    Returns:
        The exception to raise; it names the closest match where there is one.
    """
    from difflib import get_close_matches

    names = sorted(str(k) for k in known)  # type: ignore[attr-defined]
    close = get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return InputError(f"unknown {kind} {name!r}{hint} (known: {', '.join(names) or 'none'})")
