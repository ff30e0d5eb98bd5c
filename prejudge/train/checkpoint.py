"""Checkpoints: files from which training goes on as if it had never stopped.

A checkpoint holds tensors and plain values only, so that reading one runs no code. It carries the plan of its run, and
no run with another plan goes on from it. A file is written beside the old one and takes its place in one step: whatever
happens to the process, the last complete checkpoint is there.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from torch import Tensor

from prejudge.engine.plan import check_plan, plain_plan
from prejudge.errors import FileFormatError, InputError, MissingDataError, quoted
from prejudge.formats.atomic import make_folder, replace_by_copy, replacing
from prejudge.formats.pickle.unpickler import Unpickler
from prejudge.formats.zip import damaged_entry, open_zip

_FORMAT, _VERSION = "prejudge checkpoint", 1
_LAST, _BEST = "last.pt", "best.pt"
_PLAIN = (type(None), bool, int, float, str, bytes)


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file.

    Attributes:
        epoch: As it was given to :meth:`CheckpointManager.save`.
        state: Tensors, all on the CPU, and plain values, by name.
        plan: What the run was to do.
    """

    epoch: int
    state: dict[str, Any]
    plan: dict[str, Any]


class CheckpointManager:
    """The checkpoints of one run: ``last.pt``, ``best.pt`` and ``epoch-0050.pt`` in one folder.

    In distributed training every process may call it; only that of rank 0 writes.

    Args:
        folder: Where the checkpoints lie; it is made with the first one.
        plan: Everything that must be the same for a run to go on from a checkpoint (method, space, genotype, data,
            recipe …): texts, numbers, lists and dicts, as JSON has them.
        keep_every: Keep the checkpoint of each epoch that is a multiple of this; 0 keeps none of them.

    Raises:
        InputError: JSON cannot write the plan, ``keep_every`` is negative, or ``folder`` is a file.
    """

    def __init__(self, folder: Path | str, plan: dict[str, Any], *, keep_every: int = 0):
        self.folder = Path(folder)
        self.keep_every = keep_every
        if keep_every < 0:
            raise InputError(f"keep_every must be 0 or more, not {keep_every}")
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"{self.folder} is a file; checkpoints need a folder")
        self.plan = plain_plan(plan)
        self._known_as_ours = False

    def save(self, epoch: int, state: dict[str, Any], *, best: bool = False, keep: bool = False) -> Path:
        """Write ``last.pt``.

        Args:
            epoch: How many epochs the run has finished.
            state: State dicts and other tensors and plain values, nested in dicts, lists and tuples as you like.
            best: Make it ``best.pt`` too.
            keep: Keep it as ``epoch-NNNN.pt`` too, whatever ``keep_every`` says.

        Returns:
            The path of ``last.pt``.

        Raises:
            InputError: The state holds something else, or ``last.pt`` belongs to a run with another plan.
            FileFormatError: The ``last.pt`` that is there is no checkpoint, or it is damaged.
            PrejudgeError: The file could not be written; the checkpoints that were there are untouched.
        """
        last = self.folder / _LAST
        if _rank() != 0:
            return last
        plain = _plain(state, "state")
        make_folder(self.folder)
        if not self._known_as_ours:
            self.latest()
        content = io.BytesIO()  # by way of memory: torch reports a full disk in a way that cannot be told from others
        torch.save(
            {"format": _FORMAT, "version": _VERSION, "plan": self.plan, "epoch": int(epoch), "state": plain}, content
        )
        others = [self.folder / _BEST] if best else []
        if keep or (self.keep_every and epoch % self.keep_every == 0):
            others.append(self._kept(epoch))
        with replacing(last) as part:
            part.write_bytes(content.getbuffer())
            # last.pt comes last: a run that ends between two files repeats this epoch and makes both again.
            for other in others:
                replace_by_copy(other, part)
        return last

    def latest(self) -> Checkpoint | None:
        """The last checkpoint, or None where there is none yet.

        Raises:
            InputError: It belongs to a run with another plan; the message names what differs.
            FileFormatError: It is not a checkpoint, or it is damaged.
        """
        found = self._read(self.folder / _LAST) if (self.folder / _LAST).is_file() else None
        self._known_as_ours = True
        return found

    def best(self) -> Checkpoint | None:
        """The checkpoint that was last saved as the best, or None; raises as :meth:`latest` does."""
        return self._read(self.folder / _BEST) if (self.folder / _BEST).is_file() else None

    def load(self, epoch: int) -> Checkpoint:
        """The checkpoint of an epoch: a kept one, or the last one.

        Raises:
            MissingDataError: That epoch's was not kept.
            InputError: It belongs to a run with another plan.
            FileFormatError: It is not a checkpoint, or it is damaged.
        """
        if self._kept(epoch).is_file():
            return self._read(self._kept(epoch))
        last = self.latest()
        if last is not None and last.epoch == epoch:
            return last
        kept = ", ".join(map(str, self.epochs())) or "none"
        raise MissingDataError(f"{self.folder} has no checkpoint of epoch {epoch} (kept: {kept})")

    def epochs(self) -> list[int]:
        """The epochs whose checkpoints were kept, in order."""
        numbers = (path.stem.removeprefix("epoch-") for path in self.folder.glob("epoch-*.pt"))
        return sorted(int(number) for number in numbers if number.isdecimal())

    def _kept(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04d}.pt"

    def _read(self, path: Path) -> Checkpoint:
        checkpoint = read_checkpoint(path)
        check_plan(path, checkpoint.plan, self.plan, "choose another folder, or ask for what it was made with")
        return checkpoint


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint of any run.

    Args:
        path: A file that :meth:`CheckpointManager.save` wrote.

    Returns:
        What it holds, with all tensors on the CPU.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is not a checkpoint of prejudge, it is damaged, or it is of a later version.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no checkpoint {path}")
    content = _load(path)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise FileFormatError(f"{path} is not a checkpoint of prejudge")
    if content.get("version") != _VERSION:
        raise FileFormatError(
            f"{path} is a checkpoint of version {quoted(content.get('version'))}, this prejudge reads "
            f"version {_VERSION}"
        )
    epoch, state, plan = content.get("epoch"), content.get("state"), content.get("plan")
    if type(epoch) is not int or not isinstance(state, dict) or not isinstance(plan, dict):
        raise FileFormatError(f"{path} is a checkpoint without an epoch, a state or a plan")
    return Checkpoint(epoch, state, plan)


def _load(path: Path) -> Any:
    try:
        with open_zip(path, most_bytes=path.stat().st_size) as archive:
            damaged = damaged_entry(path, archive)  # torch does not compare checksums
            if damaged is None:  # nor does it see that keys with equal hashes take it for ever
                _check_pickle(archive)
        if damaged is None:
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch says in many ways that a file is not one of its own
        if isinstance(error, UnpicklingError):
            raise FileFormatError(
                f"{path} is not a checkpoint, or it is damaged: it holds more than tensors and plain values; "
                "nothing in it was run"
            ) from error
        raise _damaged(path) from error
    raise _damaged(path)


def _check_pickle(archive: ZipFile) -> None:
    for name in archive.namelist():
        if name.endswith("/data.pkl"):
            Unpickler(archive.read(name), lambda pid: None).load()


def _damaged(path: Path) -> FileFormatError:
    return FileFormatError(f"{path} is not a checkpoint, or it is damaged; remove it, or put a whole one there")


def _rank() -> int:
    distributed = torch.distributed
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def _plain(value: Any, where: str) -> Any:
    """The same value with nothing in it that cannot be read back without running code."""
    if isinstance(value, Tensor):
        value = value.detach()
        if type(value) is not Tensor:
            raise InputError(f"{where} is a {type(value).__name__}; a checkpoint holds plain tensors only")
        whole = value.numel() * value.element_size()
        return value if value.untyped_storage().nbytes() <= whole else value.clone()  # a view would save all it views
    if isinstance(value, np.bool_ | np.number):
        return value.item()
    if isinstance(value, dict):
        items = {_plain(key, f"a key of {where}"): _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
        return OrderedDict(items) if isinstance(value, OrderedDict) else items
    if isinstance(value, list):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, tuple):
        return tuple(_plain(item, f"{where}[{i}]") for i, item in enumerate(value))
    if type(value) not in _PLAIN:
        raise InputError(f"{where} is a {type(value).__name__}; a checkpoint holds tensors and plain values only")
    return value
