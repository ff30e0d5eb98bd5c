"""What the rectifiers of a network see: which units are on, and how alike the images' patterns are.

A torch function mode sees every rectifier, whether it is an ``nn.ReLU`` or ``F.relu`` inside some forward, before an
in-place one overwrites its input.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

RECTIFIERS: frozenset[Callable[..., Any]] = frozenset(
    {
        F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6, F.leaky_relu, F.leaky_relu_,
        F.threshold, F.prelu,
    }
)

KERNELS = ("activation_kernel", "preactivation_kernel", "activation_patterns")


def _rows(x: Tensor) -> Tensor:
    """``(N, F)`` without a copy in either memory format; the order of features is the same for every image."""
    if x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        x = x.permute(0, 2, 3, 1)
    return x.reshape(len(x), -1)


def _binary(rows: Tensor) -> Tensor:
    """Mellor's A A^T + (1-A)(1-A)^T with A = [input > 0], from one product: the number of units in the same state."""
    on = (rows > 0).float()
    both = on @ on.T  # exact: counts below 2^24
    count = both.diagonal()
    return 2 * both - count[:, None] - count[None, :] + rows.shape[1]


def _raw(rows: Tensor) -> Tensor:
    rows = rows.float() if rows.dtype in (torch.bfloat16, torch.float16) else rows
    return rows @ rows.T


_POWERS = (1, 2, 4, 8, 16, 32, 64, 128)


def _packed(rows: Tensor) -> Tensor:
    """The signs, eight to a byte, ``(N, ceil(F / 8))``."""
    on = rows > 0
    on = F.pad(on, (0, -on.shape[1] % 8)).view(len(on), -1, 8)
    return (on.to(torch.uint8) * torch.tensor(_POWERS, dtype=torch.uint8, device=on.device)).sum(2, dtype=torch.uint8)


_MAKE = {"activation_kernel": _binary, "preactivation_kernel": _raw, "activation_patterns": _packed}


class RectifierWatch(TorchFunctionMode):
    """Computes the wanted kernels of every rectifier that runs while it is active.

    Args:
        wanted: Names out of :data:`KERNELS`.
    """

    def __init__(self, wanted: Iterable[str]):
        super().__init__()
        self.wanted = [k for k in KERNELS if k in wanted]
        self.seconds = 0.0
        self._seen: list[tuple[Any, dict[str, Tensor]]] = []  # per rectifier: its output's graph node, its kernels
        self._last: dict[int, tuple[Any, int, dict[str, Tensor]]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in RECTIFIERS:
            return func(*args, **(kwargs or {}))
        start = time.perf_counter()
        found = self._kernels(args[0])
        self.seconds += time.perf_counter() - start
        output = func(*args, **(kwargs or {}))
        self._seen.append((output.grad_fn, found))
        return output

    def _kernels(self, x: Tensor) -> dict[str, Tensor]:
        # Several rectifiers often read one tensor (the edges out of a cell's node): count it each time, compute it once.
        known = self._last.get(id(x))
        if known is not None and known[0]() is x and known[1] == x._version:
            return known[2]
        with torch.no_grad():
            rows = _rows(x.detach())
            found = {name: _MAKE[name](rows) for name in self.wanted}
        self._last[id(x)] = (weakref.ref(x), x._version, found)
        return found

    def results(self, logits: Tensor, x: Tensor) -> dict[str, Tensor | None]:
        """The kernels over all live rectifiers; None where there is none.

        A rectifier is live when the logits depend on it and it depends on the images: one on a dead branch carries no
        information, and counting it would tell apart networks that compute the same function.

        Args:
            logits: The network's output, with its graph.
            x: Its input, a leaf of that graph.

        Returns:
            ``activation_kernel`` and ``preactivation_kernel`` ``(N, N)`` in float64 on the CPU,
            ``activation_patterns`` ``(N, bytes)`` uint8 on the CPU.
        """
        live = nodes_between(logits.grad_fn, x)
        chosen = [kernels for node, kernels in self._seen if node in live]
        results: dict[str, Tensor | None] = dict.fromkeys(self.wanted)
        for name in self.wanted if chosen else ():
            if name == "activation_patterns":
                results[name] = torch.cat([k[name] for k in chosen], dim=1).cpu()
            else:
                results[name] = torch.stack([k[name] for k in chosen]).cpu().double().sum(0)
        self._seen.clear()
        self._last.clear()
        return results


def nodes_between(output: Any, leaf: Tensor) -> set[Any]:
    """The graph nodes on a path from ``output`` back to ``leaf``."""
    reaches: dict[Any, bool] = {}
    stack = [output] if output is not None else []
    while stack:
        node = stack[-1]
        children = [child for child, _ in node.next_functions if child is not None]
        pending = [child for child in children if child not in reaches]
        if node not in reaches and pending:
            stack.extend(pending)
            continue
        stack.pop()
        reaches[node] = getattr(node, "variable", None) is leaf or any(reaches[child] for child in children)
    return {node for node, yes in reaches.items() if yes}
