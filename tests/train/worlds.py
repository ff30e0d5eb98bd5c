"""Several processes on this machine, as torchrun would start them."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import socket
from collections.abc import Callable
from typing import Any

import torch

from prejudge.train.process_group import ProcessGroup, joined


def together(function: Callable[..., Any], *args: Any, size: int = 2, timeout: float = 60) -> list[Any]:
    """What ``function(world, *args)`` returns, or the exception it raises, in each process; None for one that died."""
    kinds = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in kinds else "spawn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answers: Any = context.Queue()
    processes: list[Any] = [
        context.Process(target=_run, args=(answers, rank, size, port, timeout, function, args)) for rank in range(size)
    ]
    found: list[Any] = [None] * size
    for process in processes:
        process.start()
    try:
        waiting = set(range(size))
        while waiting:
            try:
                rank, answer = answers.get(timeout=0.2)
                found[rank] = pickle.loads(answer)
                waiting.discard(rank)
            except queue.Empty:
                waiting -= {r for r in waiting if processes[r].exitcode not in (None, 0)}
    finally:
        for process in processes:
            process.join(timeout=5)
            process.kill()
    return found


def _run(
    answers: Any, rank: int, size: int, port: int, timeout: float, function: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in places.items()})
    try:
        with joined(timeout=timeout) as world:
            # As bytes: tensors would come as handles into a process that may be gone.
            answers.put((rank, pickle.dumps(function(world, *args))))
    except Exception as error:
        answers.put((rank, pickle.dumps(error)))


__all__ = ["ProcessGroup", "together"]
