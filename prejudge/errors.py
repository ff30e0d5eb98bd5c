"""The exceptions a user may meet. Each message is one line: what is wrong, with the offender named, and what to do."""

from __future__ import annotations

from operator import index

_LONGEST = 500
_LONGEST_QUOTE = 80
_LONGEST_LIST = 300

_RANGES = ((0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800), (0x3164, 0x3164),
           (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF))  # fmt: skip
_UNSEEN = frozenset(chr(code) for first, last in _RANGES for code in range(first, last + 1))
"""Characters that Python calls printable although nothing of them is seen: fillers, joiners, variation selectors."""


class PrejudgeError(Exception):
    """Base of every error that prejudge raises on purpose; the command line prints it as one line and exits with 1."""

    exit_code = 1

    def __str__(self) -> str:
        """The message, whatever it quotes: one line of at most 500 printable characters."""
        return one_line(super().__str__())


class InputError(PrejudgeError, ValueError):
    """The caller's input is wrong (an unknown name, a malformed text, a wrong shape); the command line exits with 2."""

    exit_code = 2


class MissingDataError(InputError, FileNotFoundError):
    """A file that is needed is not there; the message says which file belongs where."""


class FileFormatError(PrejudgeError):
    """A file is truncated, corrupt, foreign, or of a version that this prejudge cannot read."""


class BusyError(PrejudgeError):
    """Another process is writing the same file."""


class DeviceError(PrejudgeError):
    """A device has failed, so that this process cannot compute on it any more."""


def quoted(value: object) -> str:
    """``repr`` for messages: short, and of anything that a file may hold, such as an integer of a million digits."""
    try:
        text = visible(repr(value[: 2 * _LONGEST_QUOTE] if isinstance(value, str) else value))
    except (ValueError, RecursionError, MemoryError):
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= _LONGEST_QUOTE else f"{text[: _LONGEST_QUOTE - 1]}…"


def check_integer(name: str, value: object, least: int | None = 1) -> int:
    """The value as an ``int``, where it is an integer.

    Args:
        name: What it is called in messages.
        value: An integer of Python or NumPy. Nothing is rounded: 2.0 is none, nor are True and "2".
        least: The smallest that is allowed; None for any.

    Raises:
        InputError: It is something else, smaller, or does not fit into 64 bits.
    """
    try:
        number = None if isinstance(value, bool) else index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or abs(number) >= 2**63 or (least is not None and number < least):
        what = "a positive integer" if least == 1 else "an integer" + ("" if least is None else f" of at least {least}")
        raise InputError(f"{name} must be {what}, not {quoted(value)}")
    return number


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
    given = quoted(name)
    close = (
        get_close_matches(name if isinstance(name, str) else given, names, n=1) if len(given) < _LONGEST_QUOTE else []
    )
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return InputError(f"unknown {kind} {given}{hint} (known: {_listed(names)})")


def _listed(names: list[str]) -> str:
    shown, length = 0, 0
    while shown < len(names) and length + len(names[shown]) <= _LONGEST_LIST:
        length += len(names[shown]) + 2
        shown += 1
    rest = len(names) - shown
    return (", ".join(names[:shown]) + (f" and {rest} more" if rest else "")) or "none"


def one_line(text: str) -> str:
    """A message as it is shown: one line of at most 500 visible characters, without the middle of a longer one."""
    blanks = "".join(" " if character.isspace() else character for character in _without_middle(text))
    return _without_middle(visible(blanks))  # escapes are longer than what they stand for


def _without_middle(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    # The beginning says what is wrong, the end what to do.
    return f"{text[: _LONGEST * 3 // 5]} … {text[-_LONGEST * 2 // 5 + 3 :]}"


def visible(text: str, keep: str = "") -> str:
    """A text whose every character can be seen, as a terminal and a page may show it.

    Control characters, overrides of the writing direction, characters without width, lone surrogates and blanks other
    than the usual one become escapes as Python writes them: a file cannot clear the screen, nor pretend another name.

    Args:
        text: Any text.
        keep: Characters that stay as they are, such as line ends.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or (c.isprintable() and c not in _UNSEEN) else _escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
