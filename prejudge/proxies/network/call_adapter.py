"""A network as a function of one floating tensor, whatever it is called with and whatever it returns.

The passes run ``network(x)`` with one tensor and read one tensor of logits. Hooks on their copy turn ``x`` of shape
``(N, D)`` into the arguments of the call: floating inputs are parts of it. Tokens have no gradient; another part of
``x`` stands for what the network looks up for them. It is zero and added to the output of the lookup, so that the table
keeps its gradient and ``x`` gets that of the lookup's output; or it takes the place of that output, for passes that
draw their input. Masks and everything else pass through.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from prejudge.engine.device_errors import named_device_errors
from prejudge.errors import InputError
from prejudge.proxies.network.batch import InputBatch
from prejudge.proxies.network.graph import nodes_above
from prejudge.proxies.network.image_by_image import Unstackable
from prejudge.proxies.network.observer import unobserved
from prejudge.proxies.network.operations import IMAGES, MARK, OTHER_PATH
from prejudge.proxies.network.placement import IMAGES_FIRST, NOWHERE, Placement
from prejudge.proxies.score import ScoreFailure

Key = int | str

NO_INPUT_GRADIENT = "the inputs are integers that the network looks up in no table, so no gradient leads to them"

_LOOKUPS = frozenset({"embedding", "embedding_bag"})
_INDEXING = frozenset({"__getitem__", "index_select"})
_TOKENS = "_prejudge_tokens"


@dataclass(frozen=True)
class Part:
    """A part of ``x``: one floating input, or the output of one lookup.

    Attributes:
        start: Its first column.
        shape: Of what it holds of one image, ``(before, after, …)``; see :class:`Placement`.
        place: Where the input or output holds the images.
    """

    start: int
    shape: tuple[int, ...]
    place: Placement

    @property
    def stop(self) -> int:
        """The column after its last."""
        return self.start + torch.Size(self.shape).numel()

    def of(self, x: Tensor) -> Tensor:
        """The input or output that ``x`` holds."""
        columns = x[:, self.start : self.stop]
        if self.place == IMAGES_FIRST:
            return columns.reshape(len(x), *self.shape[2:])
        dim = self.place.dim
        apart = columns.reshape(len(x), *self.shape).movedim((0, 1, 2), (dim + 1, dim, dim + 2))
        result: Tensor = apart.flatten(dim, dim + 2)
        return result


class CallAdapter:
    """The hooks of one network, and what they need to know.

    Args:
        batch: The batch on the device.
        places: Where each tensor of it holds the images.
        tokens: The inputs that are followed to where they are looked up.
        lookups: By their number among the lookups of the tokens: place and output of each that counts.

    Attributes:
        batch: The batch.
        places: The places.
        width: D.
        order: The images of the batch in the order in which the inputs that pass through hold them; None as they are.
        remark: What was read as the logits, where that was a choice; empty before the network has run.
    """

    def __init__(
        self,
        batch: InputBatch,
        places: Mapping[Key, Placement],
        tokens: Collection[Key] = (),
        lookups: Mapping[int, tuple[Placement, Tensor]] | None = None,
    ):
        self.batch, self.places, self._tokens = batch, places, tokens
        self.order: Tensor | None = None
        self.remark = ""
        self._parts: dict[Key, Part] = {}
        self._lookups: dict[int, Part] = {}
        width = 0
        if not batch.plain:
            for key, value in batch.entries.items():
                if is_differentiated(key, value) and places[key] != NOWHERE:
                    self._parts[key] = Part(width, tuple(places[key].first(value).shape[1:]), places[key])
                    width = self._parts[key].stop
        for number, (place, output) in (lookups or {}).items():
            self._lookups[number] = Part(width, tuple(place.first(output).shape[1:]), place)
            width = self._lookups[number].stop
        self.width = width
        self._drawn = False
        self._running: list[tuple[int, _LookupMode | None]] = []

    def leaf(self) -> Tensor:
        """``x`` of the batch, ``(N, D)``; of a plain one the tensor itself."""
        if self.batch.plain:
            plain: Tensor = self.batch.given
            return plain
        n = self.batch.images
        parts = [p.place.first(self.batch.entries[key]).reshape(n, -1) for key, p in self._parts.items()]
        like = self.batch.example
        return torch.cat([*parts, like.new_zeros(n, self.width - sum(p.shape[1] for p in parts))], 1)

    def attach(self, network: nn.Module) -> nn.Module:
        """Let a private copy of the network take ``x`` and return logits."""
        network.register_forward_pre_hook(self._enter, with_kwargs=True)
        network.register_forward_hook(self._leave, always_call=True)
        return network

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Let ``x`` take the place of what lookups give, in the block."""
        self._drawn = True
        try:
            yield
        finally:
            self._drawn = False

    @property
    def description(self) -> str:
        """The batch in messages."""
        if self.batch.plain:
            return f"shape {tuple(self.batch.given.shape)}"
        tensors = {key: value for key, value in self.batch.entries.items() if isinstance(value, Tensor)}
        kinds = {key: f"{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}" for key, t in tensors.items()}
        return ", ".join(kind if key == 0 and len(kinds) == 1 else f"{key}: {kind}" for key, kind in kinds.items())

    def arguments(self, x: Tensor | None = None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of one call, by position and by name.

        Args:
            x: For as many images as it has rows; without it the batch as it is.
        """
        values: dict[Key, Any] = {}
        for key, value in self.batch.entries.items():
            if x is not None and key in self._parts:
                values[key] = self._parts[key].of(x)
            elif isinstance(value, Tensor):
                values[key] = self._passed(key, value, x)
            else:
                values[key] = value
        if all(isinstance(key, str) for key in values):
            return (), {str(key): value for key, value in values.items()}
        return tuple(values.values()), {}

    def _passed(self, key: Key, value: Tensor, x: Tensor | None) -> Tensor:
        """A copy of an input, for as many images as are asked for."""
        with unobserved():
            value, place = value.clone(), self.places[key]
            if place != NOWHERE:
                order = torch.arange(self.batch.images) if self.order is None else self.order
                if x is not None and len(x) != len(order):
                    order = order[torch.arange(len(x)) % len(order)]
                    value = value.index_select(place.dim, order.to(value.device))
                elif self.order is not None:
                    value = value.index_select(place.dim, order.to(value.device))
            if x is not None:
                value = value.to(x.device, x.dtype if value.is_floating_point() else None)
        if key in self._tokens:
            setattr(value, _TOKENS, key)
            if place == IMAGES_FIRST:
                setattr(value, MARK, IMAGES)
        return value

    def _enter(self, _: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        (x,) = args
        mode = _LookupMode(self, x) if self._lookups else None
        self._running.append((len(x), mode))
        given = None if self.batch.plain else self.arguments(x)
        if mode is not None:
            mode.__enter__()  # type: ignore[no-untyped-call]
        return given

    def _leave(self, _: nn.Module, __: Any, output: Any) -> Tensor | None:
        if not self._running:
            return None
        images, mode = self._running.pop()
        if mode is not None:
            mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        if output is None:  # it was left by an error
            return None
        logits, self.remark = logits_in(output, images)
        return logits

    def looked_up(self, number: int, output: Tensor, x: Tensor) -> Tensor:
        """The result of the lookup of that number, as the network gets it."""
        part = self._lookups.get(number)
        if part is None:
            return output
        found = part.of(x).to(output.dtype)
        if found.shape != output.shape:
            raise ScoreFailure(OTHER_PATH)
        return found if self._drawn else output + found


def run_network(
    network: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], description: str, device: torch.device
) -> Any:
    """The output of a network.

    Raises:
        InputError: It cannot take what it is given.
        DeviceError: The device has failed.
    """
    try:
        with named_device_errors(device):
            return network(*args, **kwargs)
    except (torch.OutOfMemoryError, Unstackable, InputError):
        raise
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        message = " ".join(str(error).split())
        raise InputError(f"the network cannot take a batch of {description}: {message}") from error


def adapter_of(network: nn.Module) -> CallAdapter | None:
    """The adapter of a running copy, or of a copy of that."""
    owners = (getattr(hook, "__self__", None) for hook in network._forward_pre_hooks.values())
    return next((owner for owner in owners if isinstance(owner, CallAdapter)), None)


def turn_inputs(network: nn.Module, turn: int) -> None:
    """Roll the images of the inputs that pass through a running copy, as those of ``x`` are rolled."""
    adapter = adapter_of(network)
    if adapter is not None:
        adapter.order = torch.arange(adapter.batch.images).roll(turn)


def is_differentiated(key: Key, value: Any) -> bool:
    """Whether the gradient for an input is asked for: a floating one that is no mask by its name."""
    return isinstance(value, Tensor) and value.is_floating_point() and "mask" not in str(key)


def logits_in(output: Any, images: int) -> tuple[Tensor, str]:
    """The logits ``(N, …)`` in what a network returned, and a remark where they were chosen among several tensors.

    A tensor; the ``logits`` of an object or dictionary (torchvision, transformers); the first of a tuple or list; the
    only tensor of a dictionary.

    Raises:
        InputError: It is nothing of these, or not floating with the batch first; or the first of a tuple seems to be
            features, because another output depends on the same weights and more.
    """
    logits, remark = output, ""
    if isinstance(output, Mapping):
        logits = next(iter(output.values())) if len(output) == 1 else output.get("logits")
    elif not isinstance(output, Tensor) and hasattr(output, "logits"):
        logits = output.logits
    elif isinstance(output, tuple | list) and output:
        logits = output[0]
        if len(output) > 1 and isinstance(logits, Tensor):
            _check_last(logits, output[1:])
            shape = ", ".join(["N", *map(str, logits.shape[1:])])
            remark = f"the first of {len(output)} outputs, of shape ({shape}), was taken for the logits"
    wanted = "the network must return logits (N, classes), or another floating tensor with the batch first"
    if not isinstance(logits, Tensor):
        what = type(output).__name__
        if isinstance(output, Mapping):
            what += f" with {', '.join(map(str, output)) or 'nothing'}, none of which is called logits"
        raise InputError(f"{wanted}, not {what}; wrap it so that it does")
    if not logits.is_floating_point() or not logits.dim() or len(logits) != images:
        form = f"{logits.dtype} of shape {tuple(logits.shape)} for {images} images"
        raise InputError(f"{wanted}, not {form}; wrap it so that it does")
    return logits, remark


def _check_last(first: Tensor, others: Sequence[Any]) -> None:
    """Refuse features in front of the logits: another output depends on all weights that they depend on, and more."""
    weights = _leaves(first)
    for number, other in enumerate(others, 2):
        if isinstance(other, Tensor) and other.is_floating_point() and other.dim() and weights < _leaves(other):
            raise InputError(
                f"the network returns {len(others) + 1} outputs, of which number {number} depends on more weights than "
                "the first, which would be taken for the logits; wrap it so that it returns the logits alone"
            )


def _leaves(output: Tensor) -> set[int]:
    variables = (getattr(node, "variable", None) for node in nodes_above(output))
    return {id(variable) for variable in variables if variable is not None}


class _LookupMode(TorchFunctionMode):
    """Follows the tokens through the functions of a forward pass to where they are looked up."""

    def __init__(self, adapter: CallAdapter, x: Tensor):
        super().__init__()
        self._adapter, self._x = adapter, x
        self._number = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        key = follow_tokens(func, args, kwargs or {}, output)
        if key is None:
            return output
        self._number += 1
        return self._adapter.looked_up(self._number, output, self._x)


def follow_tokens(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> Key | None:
    """Mark what a function makes of tokens; where it looks them up, the key of the input that they come from."""
    key: Key | None = None
    for value in (*args, *kwargs.values()):
        for tensor in value if isinstance(value, tuple | list) else (value,):
            if isinstance(tensor, Tensor) and key is None:
                key = getattr(tensor, _TOKENS, None)
    if key is None:
        return None
    name = getattr(func, "__name__", "")
    made = output if isinstance(output, tuple | list) else (args[0] if name == "__setitem__" else output,)
    for tensor in made:
        # comparisons make masks and counts of tokens, not tokens
        if isinstance(tensor, Tensor) and not tensor.is_floating_point() and tensor.dtype != torch.bool:
            setattr(tensor, _TOKENS, key)
    looked_up = name in _LOOKUPS or (name in _INDEXING and isinstance(args[0], Tensor))
    return key if looked_up and isinstance(output, Tensor) and output.is_floating_point() else None


@dataclass(frozen=True, eq=False)
class Lookup:
    """One lookup of a forward pass.

    Attributes:
        tokens: The input that is looked up.
        in_table: Whether in a table of the network, and not in other data.
        output: What it gave.
    """

    tokens: Key
    in_table: bool
    output: Tensor


class TokenWatch(TorchFunctionMode):
    """Collects the lookups of a forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.lookups: list[Lookup] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        key = follow_tokens(func, args, kwargs or {}, output)
        if key is not None:
            in_table = func.__name__ in _LOOKUPS or isinstance(args[0], nn.Parameter)
            self.lookups.append(Lookup(key, in_table, output.detach()))
        return output
