"""Which functions treat every image by itself; and whether a network does, outside of its layers and batch norms.

Only then can networks be stacked. A torch function mode sees every function that the network calls between its layers,
once, and refuses what is not known to keep images apart: random draws, reductions and reshapes across the batch, and
whatever else is not listed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from prejudge.proxies.network.layers import StackedLayer


class Unstackable(Exception):
    """These networks cannot run as one; the message says why. Each by itself can still be scored."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_POINTWISE = _names("""
    relu relu_ relu6 leaky_relu leaky_relu_ threshold threshold_ _threshold elu elu_ celu celu_ selu selu_ gelu silu
    mish softplus hardswish hardsigmoid hardtanh hardtanh_ sigmoid sigmoid_ tanh tanh_ logsigmoid log_sigmoid softsign
    tanhshrink softshrink hardshrink clip clip_ clamp_min_
    add add_ sub sub_ mul mul_ div div_ true_divide maximum minimum neg abs exp log sqrt rsqrt square pow clamp clamp_
    clamp_min clamp_max __add__ __radd__ __iadd__ __sub__ __rsub__ __isub__ __mul__ __rmul__ __imul__ __truediv__
    __rtruediv__ __itruediv__ __neg__ __pow__ __gt__ __ge__ __lt__ __le__ gt ge lt le
    contiguous clone detach to type float double half bfloat16 type_as zeros_like ones_like new_zeros new_ones
""")
_SPATIAL = _names("""
    avg_pool1d avg_pool2d max_pool1d max_pool2d lp_pool2d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d
    adaptive_max_pool2d interpolate upsample pixel_shuffle pixel_unshuffle channel_shuffle view reshape view_as
    reshape_as unfold fold
""")
_ALONG = {  # position and default of the argument that names dimensions
    "cat": (1, 0), "concat": (1, 0), "stack": (1, 0), "chunk": (2, 0), "split": (2, 0), "flatten": (1, 0),
    "mean": (1, None), "sum": (1, None), "amax": (1, None), "amin": (1, None), "var": (1, None), "std": (1, None),
    "softmax": (1, None), "log_softmax": (1, None), "unsqueeze": (1, 0), "squeeze": (1, None), "unflatten": (1, 0),
    "transpose": (1, 0),
}  # fmt: skip
_QUESTIONS = _names("__get__ dim ndimension size __len__ numel is_floating_point is_contiguous stride")


def watch_first_forward(network: nn.Module) -> None:
    """Let the network's next forward pass raise :class:`Unstackable` where it does not keep images apart.

    Args:
        network: Its stacked layers are trusted, whatever forward function stands in for theirs.
    """
    handles: list[Any] = []
    mode: list[_ImageByImage] = []

    def enter(_: nn.Module, args: tuple[Any, ...]) -> None:
        mode.append(_ImageByImage(len(args[0])))
        mode[0].__enter__()  # type: ignore[no-untyped-call]

    def leave(*_: Any) -> None:
        for handle in handles[:-1]:  # torch goes through the hooks of the last kind, after an error without a copy
            handle.remove()
        if mode:
            mode.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def trust(change: int) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            if mode:
                mode[0].trusted += change

        return hook

    handles.append(network.register_forward_pre_hook(enter))
    for layer in network.modules():
        if isinstance(layer, StackedLayer):
            handles += [layer.register_forward_pre_hook(trust(1)), layer.register_forward_hook(trust(-1))]
    handles.append(network.register_forward_hook(leave, always_call=True))


class _ImageByImage(TorchFunctionMode):
    def __init__(self, images: int):
        super().__init__()
        self.images = images
        self.trusted = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        name = getattr(func, "__name__", str(func))
        if not self.trusted and not keeps_images_apart(name, args, kwargs, output, self.images):
            raise Unstackable(f"the network calls {name!r}, which is not known to treat every image by itself")
        return output


def known_to_keep_apart(name: str) -> bool:
    """Whether a function acts on entries or positions, or moves them, and is no product of matrices."""
    return name in _POINTWISE or name in _SPATIAL or name in _ALONG or name in _QUESTIONS or name in ("pad", "permute")


def keeps_images_apart(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, images: int, constants: Sequence[Tensor] = ()
) -> bool:
    """Whether a function's call leaves row i of its output to image i alone; False where that is not known.

    Args:
        name: The function's name.
        args: What it was given; tensors hold the images in dimension 0.
        kwargs: Likewise.
        output: What it returned.
        images: N.
        constants: Those of its arguments that hold no image.
    """
    outputs = output if isinstance(output, tuple | list) else (output,)
    if name in _QUESTIONS:
        return not any(isinstance(o, Tensor) for o in outputs)
    if not all(isinstance(o, Tensor) and o.dim() and len(o) == images for o in outputs):
        return False
    fixed = {id(c) for c in constants}
    given = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor) and id(a) not in fixed]
    dims = {a.dim() for a in given} - {0}
    if name in _POINTWISE:
        # no broadcast can bring two images together
        return len(dims) == 1 and all(c.dim() <= max(dims) for c in constants)
    if name in _SPATIAL:
        return True
    if name == "pad":
        return len(args[1] if len(args) > 1 else kwargs["pad"]) <= 2 * (max(dims) - 1)
    if name == "__getitem__":
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        return index[0] == slice(None) and all(i is None or isinstance(i, int | slice) for i in index)
    if name == "permute":
        return _dimensions(args[1:] if len(args) > 2 else args[1], max(dims))[0] == 0
    if name in _ALONG:
        position, default = _ALONG[name]
        along = kwargs.get("dim", kwargs.get("start_dim", args[position] if len(args) > position else default))
        rank = outputs[0].dim() if name in ("stack", "unsqueeze") else max(dims, default=outputs[0].dim())
        if name == "transpose":
            along = args[1:3] if len(args) > 2 else None
        return along is not None and 0 not in _dimensions(along, rank)
    return False


def _dimensions(along: Any, rank: int) -> list[int]:
    return [d % rank for d in (along if isinstance(along, tuple | list) else (along,))]
