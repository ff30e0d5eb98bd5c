"""Batch norms in whose place a pass normalizes otherwise: torch's own, and subclasses that do more than normalize."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from prejudge.proxies.network.layers import BatchNorm, StackedLayer, batch_norms, replaced_forward
from prejudge.proxies.score import ScoreFailure

Normalize = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]
"""From the input, the scale and the shift of a batch norm to what it returns."""


@contextmanager
def normalized_by(
    network: nn.Module, make: Callable[[str, BatchNorm], Normalize], *, everywhere: bool = False
) -> Iterator[None]:
    """Let ``make(name, module)`` normalize in the place of every batch norm while the block runs.

    What a subclass does besides, as an activation at its end, stays.

    Args:
        network: Its batch norms are meant.
        make: Makes the function that normalizes in the place of one.
        everywhere: Whether ``F.batch_norm`` outside of these modules is refused.

    Raises:
        ScoreFailure: A subclass normalizes in a way of its own, or ``F.batch_norm`` is refused.
    """
    names = {id(bn): name for name, bn in batch_norms(network).items()}
    plain: dict[str, Any] = {}
    more: dict[str, Any] = {}
    for name, bn in batch_norms(network).items():
        (plain if _only_normalizes(name, bn) else more)[name] = bn

    def instead(bn: BatchNorm) -> Callable[[Tensor], Tensor]:
        normalize = make(names[id(bn)], bn)
        return lambda x: normalize(x, bn.weight, bn.bias)

    def within(bn: BatchNorm) -> Callable[..., Any]:
        forward, normalize = bn.forward, make(names[id(bn)], bn)

        def run(*args: Any, **kwargs: Any) -> Any:
            with _Calls(normalize):
                return forward(*args, **kwargs)

        return run

    with ExitStack() as stack:
        if everywhere:
            stack.enter_context(_Calls(_refused))
        stack.enter_context(replaced_forward(plain, instead))
        stack.enter_context(replaced_forward(more, within))
        yield


def _refused(*_: Any) -> Tensor:
    raise ScoreFailure("a function calls batch_norm where no batch-norm module stands; make it a module")


def _only_normalizes(name: str, bn: BatchNorm) -> bool:
    """Whether a batch norm does nothing else; a subclass may do more, but must normalize by one call of torch's."""
    if isinstance(bn, StackedLayer) or (type(bn).forward is BatchNorm.forward and "forward" not in vars(bn)):
        return True
    dims = 4 if isinstance(bn, nn.BatchNorm2d) else 5 if isinstance(bn, nn.BatchNorm3d) else 3
    like = bn.weight if bn.weight is not None else torch.zeros(())
    x = torch.linspace(-2, 3, 12 * bn.num_features, dtype=like.dtype, device=like.device)
    x = x.view(4, 3, bn.num_features, *[1] * (dims - 3)).movedim(1, -1)
    if dims == 3:
        x = x.reshape(4, bn.num_features, 3)
    with torch.no_grad(), _Calls() as calls:
        found = copy.deepcopy(bn)(x)
    with torch.no_grad():
        same = F.batch_norm(x, None, None, bn.weight, bn.bias, True, 0.0, bn.eps)
    if isinstance(found, Tensor) and found.shape == same.shape and torch.allclose(found, same, atol=1e-4):
        return True
    if calls.number != 1:
        raise ScoreFailure(f"the batch norm {name!r} ({type(bn).__name__}) normalizes in a way of its own")
    return False


class _Calls(TorchFunctionMode):
    """Counts the calls of ``F.batch_norm``, or does something else in their place."""

    def __init__(self, normalize: Normalize | None = None):
        super().__init__()
        self.number = 0
        self._normalize = normalize

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.batch_norm:
            self.number += 1
            if self._normalize is not None:
                given = dict(zip(("input", "running_mean", "running_var", "weight", "bias"), args, strict=False))
                given |= kwargs
                return self._normalize(given["input"], given.get("weight"), given.get("bias"))
        return func(*args, **kwargs)
