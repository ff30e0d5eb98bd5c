"""The processes that train together: one, or as many as ``torchrun`` has started on one machine or several.

Every process holds the whole network and learns its share of each batch. Gradients are averaged once per step; all else
that decides how the training goes on (initial weights, checkpoints, running statistics at the end of an epoch) is the
first process's. So all of them hold the same weights at any time, and the first alone writes and prints.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from prejudge.errors import InputError, PrejudgeError

TIMEOUT = 1800.0
"""Seconds that a process waits for the others: one of them may have a large set of images to read."""

T = TypeVar("T")


class LostContact(PrejudgeError):
    """Another process has ended or does not answer, so that this one cannot go on."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that train together; by default there is no other.

    Attributes:
        rank: Number of this process, from 0.
        size: Processes.
        local_rank: Number of this process on its machine, from 0: which of the machine's devices it has.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 <= self.rank < self.size or self.local_rank < 0:
            raise InputError(
                f"process {self.rank} of {self.size} (on its machine {self.local_rank}): not a process of the group"
            )

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """The device of this process where ``name`` is one of several of a kind: ``cuda`` becomes ``cuda:1``."""
        return f"cuda:{self.local_rank}" if self.size > 1 and name == "cuda" else name

    def average_(self, tensors: Sequence[Tensor], images: int) -> None:
        """Replace tensors by their means over the processes, weighted by the images that each has seen.

        One sum over the processes for each number format. All processes must give tensors of the same shapes in the
        same order: they run the same operations, so that the same parameters have gradients.

        Args:
            tensors: Gradients of means over this process's images.
            images: How many there were.
        """
        if self.size == 1:
            return
        for group in _same_kind(tensors):
            share = torch.full((1,), images, dtype=group[0].dtype, device=group[0].device)
            flat = torch.cat([*(images * t.reshape(-1) for t in group), share])
            with _in_contact():
                dist.all_reduce(flat)
            _copy_back(flat[:-1] / flat[-1], group)

    def sum_(self, tensor: Tensor) -> Tensor:
        """Replace a tensor by its sum over the processes."""
        if self.size > 1:
            with _in_contact():
                dist.all_reduce(tensor)
        return tensor

    @torch.no_grad()
    def broadcast_(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by those of the first process, which must have the same shapes."""
        if self.size == 1:
            return
        for group in _same_kind(list(tensors)):
            flat = torch.cat([t.detach().reshape(-1) for t in group])
            with _in_contact():
                dist.broadcast(flat, 0)
            _copy_back(flat, group)

    def from_first(self, make: Callable[[], T]) -> T:
        """Call ``make`` in the first process only; all return its value, or raise its error.

        Args:
            make: Returns something that can be pickled.
        """
        if self.size == 1:
            return make()
        made: list[Any] = [None, None]
        if self.is_first:
            try:
                made[0] = make()
            except Exception as error:  # the others wait: they must hear of it, whatever it is
                made[1] = error
        with _in_contact():
            dist.broadcast_object_list(made, 0, device=torch.device("cpu"))
        if made[1] is not None:
            raise made[1]
        return made[0]  # type: ignore[no-any-return]

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in all of them."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        with _in_contact():
            dist.all_gather_object(found, value)
        return found


@contextmanager
def joined(device: str = "cpu", *, timeout: float = TIMEOUT) -> Iterator[ProcessGroup]:
    """Join the processes that ``torchrun`` or a launcher like it has started, for as long as the block lasts.

    Args:
        device: Where this process will compute: on ``cuda`` each process takes one device of its machine.
        timeout: Seconds after which a process that does not answer is taken for dead.

    Yields:
        This process's place, as the environment says it (``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR``,
        ``MASTER_PORT``); where it says nothing, or this is the only one, a group of one.

    Raises:
        InputError: The environment is contradictory, or there are more processes than devices.
        LostContact: The processes do not find each other.
    """
    group = _from_environment()
    if group.size == 1:
        yield group
        return
    on_cuda = device.startswith("cuda")
    if device == "cuda" and group.local_rank >= torch.cuda.device_count():
        raise InputError(
            f"process {group.local_rank} of this machine has no CUDA device of its own (there are "
            f"{torch.cuda.device_count()}): start as many processes as there are devices (--nproc-per-node)"
        )
    if on_cuda:
        torch.cuda.set_device(torch.device(group.device(device)))
    mine = not dist.is_initialized()
    if mine:
        with _in_contact():
            # What lies on the CPU (objects, ISTA-NAS's vectors) goes by gloo in any case.
            backend = "cpu:gloo,cuda:nccl" if on_cuda else "gloo"
            dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
    try:
        yield group
    finally:
        if mine:
            dist.destroy_process_group()


def _from_environment() -> ProcessGroup:
    if "WORLD_SIZE" not in os.environ:
        return ProcessGroup()
    found = {}
    for name, default in (("RANK", None), ("WORLD_SIZE", None), ("LOCAL_RANK", "0")):
        text = os.environ.get(name, default)
        if text is None or not text.isdecimal():
            raise InputError(
                f"WORLD_SIZE is set, so that {name} must be a number >= 0, not {text!r}: start by torchrun"
            )
        found[name] = int(text)
    return ProcessGroup(found["RANK"], found["WORLD_SIZE"], found["LOCAL_RANK"])


@contextmanager
def _in_contact() -> Iterator[None]:
    """Say in one line what torch says in many."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        first = str(error).strip().partition("\n")[0][:200]
        raise LostContact(
            f"lost contact with the other processes: one has ended (see its own message) or does not answer ({first})"
        ) from error


def _same_kind(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """The tensors that can be sent together: of one device and format."""
    groups: dict[tuple[torch.device, torch.dtype], list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        groups[tensor.device, tensor.dtype].append(tensor)
    return list(groups.values())


def _copy_back(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    with torch.no_grad():
        parts = flat.split([t.numel() for t in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))
