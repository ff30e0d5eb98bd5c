"""One batch as callers have it: a tensor, a tuple or dict of tensors, an (x, y) pair, a loader; with any targets."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from prejudge.engine.random_state import own_generators
from prejudge.errors import InputError
from prejudge.proxies.network.private_copy import wrapped

Loss = Callable[[Tensor, Tensor], Tensor]

_FORMS = "a tensor, a tuple or dict of tensors, an (x, y) pair or a DataLoader"
_PLAIN = (bool, int, float, str, type(None))
IGNORED = -100
"""The label that cross-entropy leaves out, as ``F.cross_entropy`` does."""


@dataclass(frozen=True)
class InputBatch:
    """One batch, read.

    Attributes:
        entries: Its parts by position (``network(*entries)``) or by name (``network(**entries)``): tensors, and plain
            values that are passed on.
        images: N.
        targets: Class indices as int64, or others as they were given; None where there are none.
        largest_label: The largest class index; None where the targets are no integers.
        remarks: What a reader of the scores should know about the batch.
        dtype: Of the network, once it is on a device.
    """

    entries: Mapping[int | str, Any]
    images: int
    targets: Tensor | None = None
    largest_label: int | None = None
    remarks: tuple[str, ...] = ()
    dtype: torch.dtype = torch.float32

    @property
    def plain(self) -> bool:
        """Whether it is one floating tensor with the batch first."""
        first = self.entries.get(0)
        if len(self.entries) > 1 or not isinstance(first, Tensor):
            return False
        return first.is_floating_point() and len(first) == self.images

    @property
    def example(self) -> Tensor:
        """A floating tensor where the batch is and, if it has one, of its type."""
        tensors = [t for t in self.entries.values() if isinstance(t, Tensor)]
        floating = [t for t in tensors if t.is_floating_point()]
        return floating[0] if floating else torch.empty(0, dtype=self.dtype, device=tensors[0].device)

    @property
    def given(self) -> Any:
        """The batch in the form in which a network is called with it: a tensor, a tuple or a dict."""
        if all(isinstance(key, str) for key in self.entries):
            return dict(self.entries)
        return self.entries[0] if len(self.entries) == 1 else tuple(self.entries.values())

    def on(self, device: torch.device, dtype: torch.dtype) -> InputBatch:
        """The batch on a device; floating inputs in a network's type, targets in their own."""

        def moved(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            return _graph_safe(value).to(device, dtype if value.is_floating_point() else None, non_blocking=True)

        targets = moved(self.targets)
        if targets is not None and targets.is_floating_point():
            targets = targets.to(torch.promote_types(dtype, torch.float32))  # as the logits in the loss
        entries = {key: moved(value) for key, value in self.entries.items()}
        return replace(self, entries=entries, targets=targets, dtype=dtype)


def read_batch(
    network: nn.Module, inputs: Any, targets: Any = None, *, loss: Loss | None = None, seed: int = 0
) -> InputBatch:
    """Read one batch.

    It reads the labels, and nothing later does: labels that are on a device already are waited for here.

    Args:
        network: What will be called with it; its signature says whether two tensors are two inputs or an (x, y) pair.
        inputs: One of the forms above; an array or nested list of numbers is a tensor. Of a DataLoader the first batch
            is taken. One that was read already is returned as it is.
        targets: The targets ``(N, …)``, as a tensor, array or list.
        loss: The loss that will read the targets; without one they must suit cross-entropy.
        seed: Of a DataLoader's draws; no generator is moved.

    Raises:
        InputError: It is none of these forms, empty, or not floating; or the targets do not suit.
    """
    if isinstance(inputs, InputBatch):
        return inputs
    remarks: tuple[str, ...] = ()
    if _is_loader(inputs):
        if targets is not None:
            raise InputError("a loader gives the targets itself; give it alone, or one of its batches")
        inputs, targets = _first_of(inputs, seed)
        remarks = ("scored on the first batch of the loader",)
    elif targets is None and isinstance(inputs, tuple | list) and len(inputs) == 2 and not _is_array(inputs):
        paired = _as_pair(network, *inputs)
        if paired is not None:
            (inputs, targets), remarks = inputs, paired
    entries = _entries(inputs)
    labels = None if targets is None else _tensor(targets, "targets")
    images = _images(entries, labels)
    read = InputBatch(entries, images, remarks=remarks)
    _check_inputs(read)
    if labels is None:
        return read
    extremes = _extremes(labels)
    labels = _checked(labels, images, loss, None if extremes is None else extremes[0])
    return replace(read, targets=labels, largest_label=None if extremes is None else extremes[1])


def _is_loader(inputs: Any) -> bool:
    """Whether something gives batches: a DataLoader or its like, which can be read again from its beginning."""
    if isinstance(inputs, Tensor | np.ndarray | Mapping | tuple | list | str) or not hasattr(inputs, "__iter__"):
        return False
    return isinstance(inputs, DataLoader) or iter(inputs) is not inputs


def _first_of(loader: Any, seed: int) -> tuple[Any, Any]:
    holders = (loader, getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None))
    own = [g for g in (getattr(h, "generator", None) for h in holders) if isinstance(g, torch.Generator)]
    states = [generator.get_state() for generator in own]
    try:
        with own_generators(seed):
            first = next(iter(loader), None)
    finally:
        for generator, state in zip(own, states, strict=True):
            generator.set_state(state)
    if first is None:
        raise InputError("the loader gives no batch")
    if isinstance(first, Tensor | Mapping):
        return first, None
    if isinstance(first, tuple | list) and len(first) in (1, 2):
        return first[0], first[1] if len(first) == 2 else None
    what = f"{len(first)} entries" if isinstance(first, tuple | list) else type(first).__name__
    raise InputError(f"the loader's batches are {what}, no (x, y) pairs; take one and give inputs and targets")


def _as_pair(network: nn.Module, x: Any, y: Any) -> tuple[str, ...] | None:
    """Remarks where two things are inputs and targets; None where they are two inputs."""
    if not isinstance(x, Tensor | np.ndarray) and not _is_array(x):
        return ()
    while (inner := wrapped(network)) is not None:
        network = inner
    parameters = inspect.signature(network.forward).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) == 1 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return ()
    labels = _tensor(y, "targets")
    if sum(p.default is p.empty for p in positional) >= 2 or labels.dim() != 1 or labels.is_floating_point():
        return None
    return ("the second of two inputs was taken for the targets",)


def _entries(inputs: Any) -> dict[int | str, Any]:
    if isinstance(inputs, Mapping):
        named = inputs.items()
    elif isinstance(inputs, tuple | list) and not _is_array(inputs):
        named = enumerate(inputs)  # type: ignore[assignment]
    else:
        named = [(0, inputs)]  # type: ignore[assignment]
    entries: dict[int | str, Any] = {}
    for key, value in named:
        if isinstance(value, _PLAIN) and not isinstance(inputs, _PLAIN):
            entries[key] = value
        else:
            entries[key] = _tensor(value, "inputs" if value is inputs else f"input {key!r}")
    if not any(isinstance(value, Tensor) for value in entries.values()):
        raise InputError(f"inputs hold no tensor; give {_FORMS}")
    return entries


def _is_array(value: Any) -> bool:
    """Whether a value is a nested list of numbers."""
    if isinstance(value, tuple | list):
        return bool(value) and isinstance(value, list) and all(_is_array(v) or _is_number(v) for v in value)
    return False


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float | np.number)


def _tensor(value: Any, what: str) -> Tensor:
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_nested or value.is_quantized:
            raise InputError(f"{what} must be an ordinary dense tensor, not {value.layout} of {value.dtype}")
        return value
    try:
        array = value if isinstance(value, np.ndarray) else np.asarray([_plain_number(v) for v in value])
        return torch.tensor(array, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        expected = _FORMS if what != "targets" else "a tensor, an array or a list of numbers"
        raise InputError(f"{what} must be {expected}, not {type(value).__name__}") from None


def _plain_number(value: Any) -> Any:
    return value.tolist() if isinstance(value, Tensor) else value


def _images(entries: Mapping[int | str, Any], targets: Tensor | None) -> int:
    tensors = {key: t for key, t in entries.items() if isinstance(t, Tensor) and t.dim() > 0}
    sizes = [len(t) for t in tensors.values()]
    if len(tensors) > 1 and targets is not None and targets.dim() and len(targets) in sizes:
        return len(targets)
    if len(tensors) == 1 and targets is not None and targets.dim():
        (only,) = tensors.values()
        if only.dim() == (3 if only.is_floating_point() else 2) and len(targets) == only.shape[1] != len(only):
            return len(targets)  # a batch for each step of a sequence
    first = tensors.get("input_ids", next((t for t in tensors.values() if t.dim() > 1 and len(t) != 1), None))
    return len(first) if first is not None else sizes[0] if sizes else 0


def _check_inputs(batch: InputBatch) -> None:
    tensors = [t for t in batch.entries.values() if isinstance(t, Tensor)]
    if len(tensors) == 1 and tensors[0].dim() < (2 if tensors[0].is_floating_point() else 1):
        raise InputError("inputs must be a tensor with the batch first, e.g. images of shape (N, C, H, W)")
    if not batch.images:
        raise InputError("the batch is empty; give at least one image")
    if not any(t.is_floating_point() or t.dtype in (torch.int32, torch.int64) for t in tensors):
        kind = tensors[0].dtype
        raise InputError(f"inputs must be floating point, not {kind}; convert and normalize the images first")


def _extremes(targets: Tensor) -> tuple[int, int] | None:
    """The smallest and the largest class index; None where the targets are no integers."""
    if targets.is_floating_point() or targets.is_complex() or not targets.numel():
        return None
    smallest, largest = torch.stack(targets.to(torch.int64).aminmax()).tolist()
    return smallest, largest


def _checked(targets: Tensor, images: int, loss: Loss | None, smallest: int | None) -> Tensor:
    """The targets in the type in which they are used."""
    integers = not targets.is_floating_point() and not targets.is_complex()
    if integers and (loss is None or targets.dtype != torch.bool):
        targets = targets.to(torch.int64)
    if loss is not None:
        return targets
    form = f"{targets.dtype} of shape {tuple(targets.shape)}"
    if targets.is_complex() or not targets.dim() or len(targets) != images:
        raise InputError(f"targets must be {images} class indices (int64), not {form}; for other targets give loss=")
    if targets.is_floating_point():
        if not _are_probabilities(targets):
            raise InputError(
                f"targets must be {images} class indices (int64) or class probabilities, not {form}; for other targets "
                "give loss=, e.g. loss=torch.nn.functional.mse_loss"
            )
        return targets
    if (
        smallest is not None
        and smallest < 0
        and (targets.dim() == 1 or bool(((targets < 0) & (targets != IGNORED)).any()))
    ):
        raise InputError(f"label {smallest} is out of range; labels start at 0")
    return targets


def _are_probabilities(targets: Tensor) -> bool:
    if targets.dim() < 2 or targets.shape[1] < 2:
        return False
    return bool((targets >= 0).all()) and bool(((targets.sum(1) - 1).abs() < 1e-3).all())


def _graph_safe(tensor: Tensor) -> Tensor:
    """One that a graph may save: tensors made in inference mode are none."""
    return tensor.clone() if tensor.is_inference() else tensor
