"""The end of a command by a signal: in one line, within five seconds, with the exit code that shells expect."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SECONDS = 3.0
"""Seconds to clean up; what has not ended by then is ended as by ``kill -9``, which files survive."""

BROKEN_PIPE = 141
"""The exit code of what SIGPIPE ends."""

RUN_AGAIN = "run the same command again to go on where it stopped"

_NAMES = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "the terminal was closed", "SIGQUIT": "quit"}
_WORDS = {int(getattr(signal, name)): text for name, text in _NAMES.items() if hasattr(signal, name)}


class Stopped(KeyboardInterrupt):
    """A signal asks this process to end.

    Attributes:
        exit_code: 128 and the signal's number: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(f"{_WORDS[number]}; what was written to its place (--out) is kept, {RUN_AGAIN}")
        self.exit_code = 128 + number


def stop_behind(error: BaseException | None) -> Stopped | None:
    """The signal that has led to an error: cleaning up after it may have failed in its turn."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return error if isinstance(error, Stopped) else Stopped()
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def stopping() -> Iterator[None]:
    """Within the block the first signal raises :class:`Stopped`; later ones wait with it for the deadline.

    Signals that were ignored before, as ``nohup`` has it, stay so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {number: signal.getsignal(number) for number in _WORDS}
    handled = [n for n, handler in usual.items() if handler in (signal.SIG_DFL, signal.default_int_handler)]
    heard, told = socket.socketpair()
    told.setblocking(False)
    process, stopped = os.getpid(), False

    def stop(number: int, _: object) -> None:
        nonlocal stopped
        if os.getpid() != process:  # a child by fork, which has no deadline
            os._exit(128 + number)
        stopped = True
        for other in handled:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    for number in handled:
        signal.signal(number, stop)
    wakeup = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_hold_the_deadline, args=(heard, handled), daemon=True, name="prejudge-deadline").start()
    os.register_at_fork(after_in_child=lambda: _forget(process))
    try:
        yield
    finally:
        if not stopped:
            signal.set_wakeup_fd(wakeup)
            for number in handled:
                signal.signal(number, usual[number])
            told.close()


def silence() -> None:
    """Let what is still to be printed go nowhere: the terminal or the reader of our output has gone."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        with suppress(OSError):
            os.dup2(nothing, descriptor)
    os.close(nothing)


def is_broken(descriptor: int) -> bool:
    """Whether nobody reads a pipe any more."""
    import select

    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))


def _hold_the_deadline(heard: socket.socket, handled: list[int]) -> None:
    """The first signal is heard here at once, also while the main thread is in a long operation."""
    with heard:
        while True:
            received = heard.recv(1)
            if not received:
                return
            if received[0] in handled:
                break
        number = received[0]
        with Path(os.devnull).open("w") as nothing:
            # Also where this thread cannot run any more, since the interpreter is being taken down.
            faulthandler.dump_traceback_later(SECONDS + 0.5, exit=True, file=nothing)
            threading.Event().wait(SECONDS)
            with suppress(OSError):
                os.write(2, f"prejudge: {Stopped(number)}\n".encode())
            os._exit(128 + number)


def _forget(process: int) -> None:
    """A child by fork must not tell the parent of its own signals."""
    if threading.current_thread() is threading.main_thread() and os.getppid() == process:
        signal.set_wakeup_fd(-1)
