"""The Gram matrix of all images' shares of the weight gradients.

Operations are handled one at a time, so that the full N x P matrix of an entire network is never held. A weight whose
images lie in no known place, as where it acts on a tensor that holds none, has its rows from one backward pass for each
image, which is exact where no batch statistics couple the images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from prejudge.proxies.kernels.per_sample import bias_shares, weight_shares
from prejudge.proxies.network.graph import nodes_from
from prejudge.proxies.network.layers import add_gram, by_repeat, full_precision
from prejudge.proxies.network.operations import Observation, Operation
from prejudge.proxies.network.weights import behind, product_nodes


def send_back(
    scalar: Tensor, logits: Tensor, x: Tensor, operations: Sequence[Operation], listener: Callable[..., None]
) -> None:
    """Send the gradient of ``scalar`` back through the network; the graph is kept.

    Args:
        scalar: A sum of logits.
        logits: The network's output, with its graph.
        x: The images, a leaf of the graph.
        operations: Those whose output gradients are wanted.
        listener: Called with an operation and its output's gradient.
    """
    reached = nodes_from(x, logits)
    aside = []
    for operation in operations:
        if operation.output.requires_grad:
            operation.listeners.append(partial(listener, operation))
            if operation.output.grad_fn not in reached:
                aside.append(operation.output)  # lies on no path to the images: ask for it by name
    try:
        if scalar.requires_grad:
            torch.autograd.grad(scalar, [x, *aside], retain_graph=True, allow_unused=True)
    finally:
        for operation in operations:
            operation.listeners.clear()


def image_rows(scalars: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """The gradient ``(N, P)`` of each image's scalar for each parameter, by one backward pass for each image.

    Args:
        scalars: Shape ``(N,)``, with their graph, which is kept.
        parameters: Leaves of the graph.
    """
    rows = [p.new_zeros(len(scalars), p.numel()) for p in parameters]
    if scalars.requires_grad and parameters:
        for image, scalar in enumerate(scalars):
            found = torch.autograd.grad(scalar, parameters, retain_graph=True, allow_unused=True)
            for row, gradient in zip(rows, found, strict=True):
                if gradient is not None:
                    row[image] = gradient.flatten()
    return rows


def images_are_coupled(logits: Tensor, x: Tensor) -> bool:
    """Whether the logits of one image depend on another image; by up to 2 log2 N backward passes.

    For every pair of images one of the sums of logits holds the first and not the second.
    """
    n = len(logits)
    if not x.numel() and n > 1:
        return True  # tokens that nothing looks up: no gradient can tell
    numbers = torch.arange(n, device=logits.device)
    for bit in range((n - 1).bit_length()):
        for side in (0, 1):
            chosen = (numbers >> bit & 1) == side
            total = logits[chosen].sum()
            (gradient,) = torch.autograd.grad(total, x, retain_graph=True, allow_unused=True)
            if gradient is not None and bool(gradient[~chosen].ne(0).any()):
                return True
    return False


class ShareGram:
    """Accumulates each repeat's N x N Gram matrix of the shares as output gradients arrive.

    A parameter that several operations read contributes the Gram matrix of the *sum* of its shares, so these wait until
    the last of them has reported.

    Args:
        operations: All that report.
        observation: Of the forward pass.
        parameters: ``id`` of the parameters that have rows; others are left out.
        repeats: R.
        full: Accumulate the whole matrix; otherwise only its diagonal, which the trace needs and which is cheaper.
        images_at_once: See :func:`~prejudge.proxies.kernels.per_sample.weight_shares`.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        observation: Observation,
        parameters: Collection[int],
        repeats: int = 1,
        *,
        full: bool,
        images_at_once: int | None = None,
    ):
        self.full = full
        self._repeats, self._images_at_once = repeats, images_at_once
        device = operations[0].output.device if operations else "cpu"
        n = observation.images
        self._diagonal = torch.zeros(repeats, n, device=device)
        self._matrix = torch.zeros(repeats, n, n, device=device) if full else None
        self._waiting: dict[int, Tensor] = {}
        stops = product_nodes(observation)
        self._readers = {
            (id(operation), part): _rows_of(operand, parameters, stops)
            for operation in operations
            for part, operand in (("weight", operation.weight), ("bias", operation.bias))
            if operand is not None
        }
        self._open = Counter(key for keys in self._readers.values() for key in keys)
        forms: dict[int, set[str]] = {}
        for operation in operations:
            for key in self._readers[id(operation), "weight"]:
                derived = operation.weight.grad_fn is not None
                forms.setdefault(key, set()).add(
                    f"{id(operation)}" if derived else f"{operation.function} {operation.options}"
                )
        self._plain_order = {key for key, found in forms.items() if len(found) > 1}

    def reads(self, operation: Operation) -> bool:
        """Whether an operation reads a parameter that has rows."""
        return any(self._readers.get((id(operation), part)) for part in ("weight", "bias"))

    def add(self, operation: Operation, output_grad: Tensor) -> None:
        """Take the gradient with respect to one operation's output."""
        with torch.no_grad():
            output_grad = output_grad.detach()
            done = []
            keys = self._readers[id(operation), "weight"]
            if keys:
                derived = operation.weight.grad_fn is not None
                plain = derived or any(key in self._plain_order for key in keys)
                shares = weight_shares(operation, output_grad, plain_order=plain, images_at_once=self._images_at_once)
                done += self._collect(operation.weight, keys, shares)
            keys = self._readers.get((id(operation), "bias"), {})
            if keys and operation.bias is not None:
                done += self._collect(operation.bias, keys, bias_shares(operation, output_grad)[None])
            for blocks in done:
                for block in blocks:
                    self.add_rows(block)

    def _collect(self, operand: Tensor, keys: Mapping[int, Tensor], shares: Tensor) -> list[Tensor]:
        """Add an operand's shares to those of the parameters behind it; return what is complete."""
        if operand.grad_fn is None:
            parts = {id(operand): shares}
        else:
            parts = dict(zip(keys, _pulled_back(operand, list(keys.values()), shares[0]), strict=True))
        done = []
        for key, part in parts.items():
            self._open[key] -= 1
            if key in self._waiting:
                part = part + self._waiting.pop(key)
            if self._open[key]:
                self._waiting[key] = part
            else:
                done.append(part)
        return done

    def add_rows(self, rows: Tensor) -> None:
        """Take one block of rows, ``(N * R, P)``."""
        rows = by_repeat(full_precision(rows), self._repeats)
        if self._matrix is not None:
            self._matrix = self._matrix.to(rows.dtype)
            add_gram(self._matrix, rows)
        else:
            self._diagonal = self._diagonal.to(rows.dtype) + torch.linalg.vector_norm(rows, dim=2).square()

    def finish(self) -> Tensor:
        """The Gram matrices ``(R, N, N)``, or their diagonals ``(R, N)`` where only these were asked for."""
        for blocks in self._waiting.values():  # an operation that nothing depends on never reports
            for block in blocks:
                self.add_rows(block)
        self._waiting.clear()
        return self._diagonal if self._matrix is None else self._matrix


def _rows_of(operand: Tensor, parameters: Collection[int], stops: Collection[Any]) -> dict[int, Tensor]:
    return {id(p): p for p, _ in behind(operand, stops) if id(p) in parameters}


def _pulled_back(operand: Tensor, parameters: list[Tensor], shares: Tensor) -> list[Tensor]:
    """Shares ``(N, P)`` of a tensor as shares of the parameters that it is a function of, ``(1, N, P)`` each."""
    rows = [p.new_zeros(1, len(shares), p.numel(), dtype=shares.dtype) for p in parameters]
    for image, share in enumerate(shares):
        given = share.view(operand.shape).to(operand.dtype)
        found = torch.autograd.grad(operand, parameters, given, retain_graph=True, allow_unused=True)
        for row, gradient in zip(rows, found, strict=True):
            if gradient is not None:
                row[0, image] = gradient.flatten()
    return rows
