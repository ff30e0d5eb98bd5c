"""The activation functions of torch: which call is one, of which kind, and when a unit of it is on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from prejudge.errors import unknown

RELUS = frozenset({"relu", "relu6", "leaky_relu", "prelu", "rrelu", "threshold"})
"""Piecewise linear with a single kink that turns the unit on; ReLU6 and its like bend once more, far up."""

OTHERS = frozenset(
    {
        "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "hardswish", "tanh", "hardtanh", "softsign",
        "tanhshrink", "softshrink", "hardshrink", "logsigmoid",
    }
)  # fmt: skip
"""Those whose units are on where the input is positive, by convention."""

GATES = frozenset({"sigmoid", "hardsigmoid"})
"""Those that mostly weigh what another path computes, as in squeeze-and-excitation."""

_GROUPS: dict[str, frozenset[str]] = {"relu": RELUS, "all": RELUS | OTHERS}
_BY_NAME = {
    name: kind
    for kind in RELUS | OTHERS | GATES
    for name in (kind, f"{kind}_")  # with an underscore those that work in place
} | {"_threshold": "threshold", "log_sigmoid": "logsigmoid", "special_expit": "sigmoid"}


@dataclass(frozen=True, eq=False)
class Activation:
    """One call of an activation function.

    Attributes:
        kind: Its name, as ``"leaky_relu"``.
        inputs: What it reads.
        threshold: The input above which a unit is on.
    """

    kind: str
    inputs: Tensor
    threshold: float = 0.0


def activation_of(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation | None:
    """The activation that a call of a torch function is; None where it is none.

    ``clamp``, ``hardtanh`` and a maximum with zeros are ReLUs where they cut at 0.
    """
    name = getattr(func, "__name__", "")
    kind = _BY_NAME.get(name)
    if kind is None:
        cut = _CUTS.get(name)
        return None if cut is None else cut(args, kwargs)
    x = args[0] if args else kwargs["input"]
    if kind == "threshold":
        return Activation(kind, x, float(_argument(args, kwargs, 1, "threshold")))
    if kind == "hardtanh" and _argument(args, kwargs, 1, "min_val", -1.0) == 0:
        kind = "relu6"
    return Activation(kind, x)


def counted(selection: str) -> frozenset[str]:
    """The kinds that a proxy's option ``activations`` names.

    Args:
        selection: ``"relu"``, ``"all"`` (all but gates), kinds as ``"gelu"``, or several of these joined by ``+``.

    Raises:
        InputError: A part is neither a group nor a kind.
    """
    kinds: frozenset[str] = frozenset()
    for part in (part.strip() for part in selection.split("+")):
        if part not in _GROUPS and part not in RELUS | OTHERS | GATES:
            raise unknown("kind of activation", part, [*_GROUPS, *sorted((RELUS | OTHERS | GATES) - {"relu"})])
        kinds |= _GROUPS.get(part, frozenset({part}))
    return kinds


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], at: int, name: str, default: Any = None) -> Any:
    return args[at] if len(args) > at else kwargs.get(name, default)


def _clamp(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation | None:
    least, most = _argument(args, kwargs, 1, "min"), _argument(args, kwargs, 2, "max")
    x = args[0] if args else kwargs["input"]
    if isinstance(least, Tensor) or least != 0 or (most is not None and (isinstance(most, Tensor) or most <= 0)):
        return None
    return Activation("relu" if most is None else "relu6", x)


def _maximum(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation | None:
    pair = [args[0] if args else kwargs["input"], _argument(args, kwargs, 1, "other")]
    for x, other in (pair, pair[::-1]):
        if isinstance(other, Tensor) and not other.requires_grad and isinstance(x, Tensor) and x.requires_grad:
            return None if bool(other.any()) else Activation("relu", x)
    return None


_CUTS: dict[str, Callable[[tuple[Any, ...], dict[str, Any]], Activation | None]] = {
    **dict.fromkeys(("clamp", "clamp_", "clip", "clip_", "clamp_min", "clamp_min_"), _clamp),
    **dict.fromkeys(("maximum", "max", "fmax"), _maximum),
}
