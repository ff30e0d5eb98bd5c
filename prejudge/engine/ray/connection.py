"""Joining a Ray cluster, or saying in one line and within a bounded time why that cannot be done."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from prejudge.engine.orphans import HUNG
from prejudge.errors import InputError, PrejudgeError, quoted
from prejudge.formats.text import whole_number

ANSWER_SECONDS = 10.0
"""Seconds that a head may take to answer; Ray itself would try for two minutes and then end the process."""

JOIN_SECONDS = 20.0
"""Seconds that joining may take once a head has answered; where it dies meanwhile, Ray would wait for ever."""

LEAVE_SECONDS = 5.0
"""Seconds that leaving may take."""

_CLIENT = "ray://"
_CLIENT_PORT = 10001
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""The connection preface of HTTP/2, which every gRPC server answers with a frame of settings."""


def find_ray() -> Any:
    """The ``ray`` package.

    Raises:
        PrejudgeError: It is not installed.
    """
    os.environ.setdefault(
        "RAY_BACKEND_LOG_LEVEL", "fatal"
    )  # read when ray is loaded; its errors reach us as exceptions
    try:
        import ray
    except ImportError as error:
        raise PrejudgeError(f"the Ray engine needs the package ray: pip install 'prejudge[ray]' ({error})") from None
    return ray


def connect(ray: Any, address: str) -> bool:
    """Join the cluster at ``address``; False where this process is in one already.

    Args:
        ray: The package.
        address: ``auto`` (the cluster of ``RAY_ADDRESS`` or of this machine), ``local`` (started for this process and
            ended with it), ``HOST:PORT`` of the head, or ``ray://HOST:PORT``.

    Raises:
        InputError: It is not an address.
        PrejudgeError: No cluster answers there.
    """
    if ray.is_initialized():
        return False
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or "auto"
    if address not in ("auto", "local"):
        _greet(address)
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    if not address.startswith(_CLIENT):
        options |= {"configure_logging": False}
    for logger in ("ray", "ray.util.client_builder", "ray._private.worker"):  # some have levels of their own
        logging.getLogger(logger).addFilter(_is_error)
    begin = partial(ray.init, address=address, log_to_driver=False, **options)
    with _own_sigterm():
        try:
            begin() if address == "local" else _in_time(begin, JOIN_SECONDS)
        except TimeoutError:
            raise _refusal(
                address, f"it has stopped answering for {JOIN_SECONDS:.0f} s; see ray status there"
            ) from None
        except (Exception, SystemExit) as error:  # Ray ends the process when a head falls silent at this very moment
            leave(ray)
            raise _refusal(address, _last_words(str(error))) from None
    _remarks_to_stderr(ray)
    return True


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def leave(ray: Any) -> None:
    """Leave the cluster, whether or not it still answers."""
    with suppress(Exception):
        _in_time(ray.shutdown, LEAVE_SECONDS)


def _in_time(action: Callable[[], Any], seconds: float) -> None:
    """Do something of Ray's in a thread, which is left alone where it never comes back.

    Raises:
        TimeoutError: It has not come back.
    """
    failure: list[BaseException] = []

    def attempt() -> None:
        try:
            action()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=attempt, daemon=True, name=HUNG)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError
    if failure:
        raise failure[0]


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray would exit with a code of its own at a SIGTERM; the handler of this process stays."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:  # as it is when a signal is being dealt with
            signal.signal(signal.SIGTERM, before)


def _remarks_to_stderr(ray: Any) -> None:
    """Ray says on standard output that a node has died, amid what a command prints there, and has no option for it."""
    worker = getattr(getattr(ray, "_private", None), "worker", None)
    plain = getattr(worker, "print_to_stdstream", None)
    if plain is not None and not isinstance(plain, partial):
        worker.print_to_stdstream = partial(_to_stderr, plain)  # type: ignore[union-attr]


def _to_stderr(plain: Callable[..., None], data: dict[str, Any], *rest: Any, **options: Any) -> None:
    plain(data | {"is_err": True}, *rest, **options)


def _last_words(text: str) -> str:
    """One line of an error; of one that has the traceback of another process its end."""
    return " ".join((text.strip().splitlines()[-1] if "Traceback" in text else text).split())


def _refusal(address: str, reason: str) -> PrejudgeError:
    if address == "auto":
        return PrejudgeError(
            "no Ray cluster on this machine: start one with ray start --head, or name one with --address HOST:PORT "
            f"(or local: one for this run alone); {reason}"
        )
    token = "" if os.environ.get("RAY_AUTH_MODE") == "token" else "; if it asks for a token, set RAY_AUTH_MODE=token"
    return PrejudgeError(f"cannot join the Ray cluster at {address}: {reason}{token}")


def _greet(address: str) -> None:
    """Make sure that a head answers at ``address``."""
    host, port = _host_and_port(address)
    hint = "see ray status there, and --address"
    try:
        with socket.create_connection((host, port), timeout=ANSWER_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
                return  # it would take a certificate to say more
            connection.settimeout(ANSWER_SECONDS)
            connection.sendall(_GREETING)
            answer = connection.recv(9)
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or error
        raise PrejudgeError(f"no Ray head answers at {host}:{port} ({reason}); {hint}") from None
    if answer[3:4] != b"\x04":
        raise PrejudgeError(f"what answers at {host}:{port} is not a Ray head; {hint}")


def _host_and_port(address: str) -> tuple[str, int]:
    host, colon, port = address.removeprefix(_CLIENT).rpartition(":")
    if not colon and address.startswith(_CLIENT):
        host, port = port, str(_CLIENT_PORT)
    number = whole_number(port) or 0
    if not host or not 0 < number < 65536:
        raise InputError(
            f"cannot read the Ray address {quoted(address)}; give auto, local, HOST:PORT or ray://HOST:PORT"
        )
    return host.strip("[]"), number
