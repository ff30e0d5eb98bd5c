"""The observer of a forward pass: it sees the operations on weights, whoever calls them.

A torch function mode sees every function that a network calls: those of its modules, and those that read a weight
without its module. It marks each tensor as one that holds the images in dimension 0, one that holds none (it depends on
parameters and constants alone), or neither known. A product or convolution of data with a tensor of the second kind is
an operation on a weight. Custom autograd functions are out of its sight; the graph shows them (see :mod:`weights`).
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from prejudge.proxies.network.activation_functions import activation_of
from prejudge.proxies.network.image_by_image import keeps_images_apart, known_to_keep_apart
from prejudge.proxies.network.layers import StackedLayer, prunable_layers
from prejudge.proxies.network.operations import (
    CONSTANT,
    CONVOLUTIONS,
    IMAGES,
    MARK,
    SCALES,
    UNKNOWN,
    Observation,
    Operation,
    Places,
    mark_of,
)

_OPERANDS: dict[str, tuple[int, int, int | None]] = {  # positions of the data, the weight and the bias
    **dict.fromkeys(CONVOLUTIONS, (0, 1, 2)),
    "linear": (0, 1, 2),
    "addmm": (1, 2, 0),
    "baddbmm": (1, 2, 0),
    **SCALES,
}
_KEYWORDS = {"addmm": ("mat1", "mat2", "input"), "baddbmm": ("batch1", "batch2", "input")}
_PRODUCTS = frozenset({"matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv"})
_SEVERAL = frozenset(f"{kind}{cell}" for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu") for cell in ("", "_cell")) | {
    "bilinear", "scaled_dot_product_attention", "tensordot", "addbmm", "dot", "inner", "einsum",
}  # fmt: skip
_OPTIONS = {
    False: {"stride": 1, "padding": 0, "dilation": 1, "groups": 1},
    True: {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1},
}
_DROPOUTS = frozenset(
    {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "rrelu", "rrelu_"}
)
_SHAPED_LIKE = frozenset({"randn_like", "rand_like", "empty_like", "full_like", "bernoulli", "bernoulli_"})
_BATCH_NORMS = frozenset({"batch_norm", "native_batch_norm"})
_OVERLOADS = (torch._ops.OpOverload, torch._ops.OpOverloadPacket)
_ROWWISE = _DROPOUTS | _BATCH_NORMS | {*CONVOLUTIONS, *SCALES, "linear", "instance_norm", "embedding"}
_NO_PRODUCTS = _ROWWISE | {
    "__get__", "__getitem__", "__setitem__", "addcdiv", "addcmul", "broadcast_tensors", "broadcast_to", "copy_", "cos",
    "cumsum", "embedding", "embedding_bag", "expand", "expand_as", "flip", "gather", "hstack", "index_add", "index_put",
    "index_select", "lerp", "masked_fill", "masked_fill_", "max", "min", "movedim", "narrow", "norm", "permute", "prod",
    "reciprocal", "remainder", "repeat", "repeat_interleave", "roll", "rsub", "scatter", "select", "sign", "sin",
    "swapaxes", "t", "take_along_dim", "tile", "unbind", "vstack", "where",
}  # fmt: skip


@contextmanager
def observed(
    network: nn.Module,
    x: Tensor,
    *,
    repeats: int = 1,
    places: Places | None = None,
    lenient: bool = False,
    search: bool = False,
) -> Iterator[Observation]:
    """Collect the operations on weights of the forward pass that runs in the block.

    Args:
        network: The network, or a stack of R; of a stack only the calls of its layers are collected.
        x: The images ``(N * R, …)`` that it is given.
        repeats: R.
        places: Where the images are, where an earlier pass found them.
        lenient: Whether places that are not known stay so; otherwise :class:`Unplaced` is raised.
        search: Whether the inputs of activations are kept too, for a pass that finds the places; dropout is off in it.
    """
    observation = Observation(len(x) // repeats, places=places, lenient=lenient or search)
    if repeats > 1:
        handles = [m.register_forward_hook(_of_layer(observation)) for m in prunable_layers(network).values()]
        try:
            yield observation
        finally:
            for handle in handles:
                handle.remove()
        return
    setattr(x, MARK, IMAGES)
    with _Observer(observation, search):
        yield observation


@contextmanager
def unobserved() -> Iterator[None]:
    """Hide the functions that run in the block from every observer."""
    with torch._C.DisableTorchFunction():
        yield


def _of_layer(observation: Observation) -> Callable[..., None]:
    def record(layer: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
        with unobserved():  # also by what watches the stack
            assert isinstance(layer, StackedLayer)
            convolution = hasattr(layer, "stride")
            options = {name: getattr(layer, name) for name in _OPTIONS[False]} if convolution else {}
            data, function = args[0].detach(), "conv2d" if convolution else "linear"
            if convolution and layer.padding_mode != "zeros":  # type: ignore[attr-defined]
                data = F.pad(data, layer._reversed_padding_repeated_twice, mode=layer.padding_mode)  # type: ignore[attr-defined]
                options["padding"] = 0
            bias: Tensor | None = layer.bias  # type: ignore[attr-defined]
            operation = Operation(function, data, layer.weight, bias, output, _never, options=options)  # type: ignore[attr-defined]
            observation.operations.append(operation)

    return record


def _never(*_: Any) -> Tensor:
    raise AssertionError("a stacked layer is not repeated")


def _tensors(args: Any, kwargs: dict[str, Any]) -> list[Tensor]:
    found = []
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += [v for v in value if isinstance(v, Tensor)]
    return found


def _look_inside(function: Any) -> Callable[..., Any]:
    """A copy of one of torch's Python functions whose own calls reach the observer, as that of the function does."""
    names = {**function.__globals__, "has_torch_function": lambda *_: False}
    inside = types.FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )
    inside.__kwdefaults__ = function.__kwdefaults__
    return inside


_ATTENTION = _look_inside(F.multi_head_attention_forward)


class _Observer(TorchFunctionMode):
    def __init__(self, observation: Observation, search: bool):
        super().__init__()
        self.seen = observation
        self.search = search
        self.outputs: dict[int, Operation] = {}
        self.before: Any = None  # the graph node of what a function changes in place

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if type(func) in _OVERLOADS and not str(func).startswith("aten."):
            name = f"torch.ops.{func}"  # a library's, whatever it is called
        if func is F.multi_head_attention_forward:
            with self:
                return _ATTENTION(*args, **kwargs)
        if self.search:
            activation = activation_of(func, args, kwargs)
            if activation is not None:
                self.seen.activations.append(activation.inputs.detach().clone())
            if name in _DROPOUTS:
                return args[0]
            if name == "bernoulli_":
                return args[0].fill_(1.0)
            if name == "scaled_dot_product_attention":
                given = zip(("query", "key", "value", "attn_mask", "dropout_p", "is_causal"), args, strict=False)
                args, kwargs = (), {**dict(given), **kwargs, "dropout_p": 0.0}
        if name[-1:] == "_" or kwargs.get("inplace") or (len(args) > 1 and args[1] is True):
            changed = self.outputs.get(id(args[0])) if args else None
            if changed is not None and changed.values is None:
                changed.values = args[0].detach().clone()
            self.before = args[0].grad_fn if name != "__get__" and args and isinstance(args[0], Tensor) else None
        else:
            self.before = None
        if name == "hardsigmoid":  # torch's own cannot be differentiated twice
            output: Any = F.relu6(args[0] + 3) / 6
            output = args[0].copy_(output) if kwargs.get("inplace") else output
        else:
            output = func(*args, **kwargs)
        if name == "__setitem__":
            self._note(func, name, args, kwargs, args[0], (args[0],))
        elif isinstance(output, Tensor):
            self._note(func, name, args, kwargs, output, (output,))
        elif isinstance(output, tuple | list) and output:
            made = _tensors(output, {})
            if made:
                self._note(func, name, args, kwargs, output, made)
        return output

    def _note(self, func: Any, name: str, args: Any, kwargs: dict[str, Any], output: Any, made: Any) -> None:
        given = args if len(args) == 1 and not kwargs and isinstance(args[0], Tensor) else _tensors(args, kwargs)
        constants, mark = [], CONSTANT
        for tensor in given:
            found = mark_of(tensor)
            if found == CONSTANT:
                constants.append(tensor)
            elif found > mark:
                mark = found
        alone = mark == CONSTANT
        if not alone and not (
            mark == IMAGES and self._keeps_apart(func, name, args, kwargs, output, made[0], constants)
        ):
            mark = UNKNOWN
            if name not in ("__get__", "__setitem__", "detach"):
                self.seen.apart = False
        for tensor in made:
            if not alone or tensor.grad_fn is not None:
                setattr(tensor, MARK, mark)
        weights = [c for c in constants if c.requires_grad]
        if weights:
            self._read(func, name, args, kwargs, made, weights, alone)

    def _keeps_apart(
        self,
        func: Any,
        name: str,
        args: Any,
        kwargs: dict[str, Any],
        output: Any,
        result: Tensor,
        constants: list[Tensor],
    ) -> bool:
        n = self.seen.images
        if not result.dim() or len(result) != n:
            return False
        if name in _SHAPED_LIKE:
            return True
        if name in _ROWWISE:
            data = args[0] if args else kwargs["input"]
            if name in _BATCH_NORMS and n > 1 and (args[5] if len(args) > 5 else kwargs.get("training", False)):
                self.seen.coupling = "batch norm"
            if name == "instance_norm" and kwargs.get("running_mean") is not None:
                return False
            if name in CONVOLUTIONS and data.dim() != int(name[-2]) + 2:
                return False  # one image alone, whose channels come first
            if name in ("layer_norm", "rms_norm") and data.dim() <= len(
                args[1] if len(args) > 1 else kwargs["normalized_shape"]
            ):
                return False
            fixed = {id(c) for c in constants}
            return (
                data.dim() > 1
                and id(data) not in fixed
                and all(t is data or id(t) in fixed for t in _tensors(args, kwargs))
            )
        if name in _PRODUCTS or name == "scaled_dot_product_attention":
            fixed = {id(c) for c in constants}
            operands = _tensors(args, kwargs)
            images = [t for t in operands if id(t) not in fixed]
            rank = result.dim()
            if any(t.dim() != rank for t in images) or any(c.dim() > rank for c in constants):
                return False
            # of two dimensions, images are rows only on the left
            return rank > 2 or (len(images) == 1 and images[0] is operands[0])
        if name == "addmm":
            return len(constants) == 2 and all(args[1] is not c for c in constants)
        if name == "__get__":
            attribute = getattr(getattr(func, "__self__", None), "__name__", "")
            return attribute in ("data", "real") or (attribute in ("mT", "mH") and result.dim() > 2)
        return keeps_images_apart(name, args, kwargs, output, n, constants)

    def _read(
        self,
        func: Any,
        name: str,
        args: Any,
        kwargs: dict[str, Any],
        made: Sequence[Tensor],
        weights: list[Tensor],
        alone: bool,
    ) -> None:
        """Note what a function did with tensors that depend on parameters alone."""
        given = {self.before, *(t.grad_fn for t in _tensors(args, kwargs))}
        for node in {t.grad_fn for t in made}:
            self.seen.readers.append((node, given - {node, None}))
            if alone:
                self.seen.derived.add(node)
        output = made[0]
        if name == "linear" and output._base is not None:  # it stays in the graph where its view is changed in place
            self.seen.readers.append((output._base.grad_fn, given - {None}))
        if name in _OPERANDS:
            named = _KEYWORDS.get(name, ("input", "weight", "bias"))
            operands: list[Any] = [
                None if at is None else args[at] if len(args) > at else kwargs.get(key)
                for at, key in zip(_OPERANDS[name], named, strict=True)
            ]
            data, weight, bias = operands
            if any(weight is w for w in weights):
                self._record(func, name, args, kwargs, data, weight, bias, output)
            elif any(data is w for w in weights) and name not in SCALES:
                self.seen.whole.append((name, [data]))
        elif name in _PRODUCTS and len(weights) == 1 and len(args) == 2 and not alone:
            data = args[1] if args[0] is weights[0] else args[0]
            self._record(func, name, args, kwargs, data, weights[0], None, output)
        elif name in _PRODUCTS or name in _SEVERAL:
            self.seen.whole.append((name, weights))
        elif not alone:
            self.seen.elsewhere.append((name, weights))
            if name in _NO_PRODUCTS or known_to_keep_apart(name):
                return
            matrices = [w for w in weights if sum(size > 1 for size in w.shape) > 1]
            if matrices:
                self.seen.unknown.append((name, matrices))

    def _record(
        self,
        func: Any,
        name: str,
        args: Any,
        kwargs: dict[str, Any],
        data: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        output: Tensor,
    ) -> None:
        def again(other: Tensor, kernel: Tensor, shift: Tensor | None) -> Tensor:
            swap = {id(bias): shift, id(weight): kernel, id(data): other}
            repeated: Tensor = func(
                *(swap.get(id(a), a) if isinstance(a, Tensor) else a for a in args),
                **{key: swap.get(id(a), a) if isinstance(a, Tensor) else a for key, a in kwargs.items()},
            )
            return repeated

        options = {}
        if name in CONVOLUTIONS:
            defaults = _OPTIONS["transpose" in name]
            options = {
                key: args[3 + i] if len(args) > 3 + i else kwargs.get(key, default)
                for i, (key, default) in enumerate(defaults.items())
            }
        operation = Operation(name, data.detach(), weight, bias, output, again, options=options)
        self.seen.add(operation, data)
        self.outputs[id(output)] = operation
