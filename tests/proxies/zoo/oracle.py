"""The scores of any network by their plain definitions, in the precision of the network.

Nothing here uses prejudge. Functions of torch are replaced while the network runs, so that every product is seen with
the tensors that it read; a product's share of one image is the gradient of that product alone when all other images'
part of its output gradient is zero. Where no batch norm brings images together there is one backward pass per image,
and nothing has to be known about where the images are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

ALL = "naswot(activations='all')"
CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
MATMULS = ((torch, "matmul"), (torch, "bmm"), (torch, "mm"), (Tensor, "__matmul__"), (Tensor, "matmul"))
RECTIFIERS = (
    *((F, name) for name in ("relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "prelu", "threshold")),
    *((owner, name) for owner in (torch, Tensor) for name in ("relu", "relu_")),
)
SMOOTH = (
    *(
        (F, name)
        for name in ("elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "hardswish", "softsign", "logsigmoid")
    ),
    *((owner, "tanh") for owner in (F, torch, Tensor)),
)
HELD = [name for owner, name in (*RECTIFIERS, *SMOOTH) if owner is F]
ACTIVE: list[Any] = []
"""The recorder of the forward pass that runs, if any: products inside a product are part of it."""


@dataclass
class Call:
    """One product or activation: what it returned, and the way to do it again on detached data."""

    kind: str
    data: Tensor
    weight: Tensor | None
    bias: Tensor | None
    output: Tensor
    again: Callable[[], Tensor]


class Recorder:
    """The products, activations and batch norms of the forward passes in :meth:`watching`."""

    def __init__(self, norm: Callable[..., Tensor] | None, inputs: Tensor):
        self.inputs = inputs
        self.products: list[Call] = []
        self.activations: list[Call] = []
        self.coupled = False
        self._known: dict[Any, bool] = {}
        self._norm = norm

    def sees(self, tensor: Tensor) -> bool:
        """Whether a tensor depends on the images."""
        return depends(tensor, self.inputs, self._known)

    @contextmanager
    def watching(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            for name in ("linear", *CONVOLUTIONS):
                self._replace(stack, F, name, self._product(name, getattr(F, name), (0, 1, 2)))
            self._replace(stack, torch, "addmm", self._product("addmm", torch.addmm, (1, 2, 0)))
            for owner, name in MATMULS:
                self._replace(stack, owner, name, self._product("matmul", getattr(owner, name), (0, 1, None)))
            for owner, name in RECTIFIERS:
                self._replace(stack, owner, name, self._activation("relu", getattr(owner, name)))
            for owner, name in SMOOTH:
                self._replace(stack, owner, name, self._activation("smooth", getattr(owner, name)))
            for name in ("hardtanh", "hardtanh_"):
                self._replace(stack, F, name, self._activation("relu", getattr(F, name), self._is_relu6))
            self._replace(stack, F, "batch_norm", self._batch_norm(F.batch_norm))
            yield

    def _replace(self, stack: ExitStack, owner: Any, name: str, function: Any) -> None:
        stack.enter_context(patch.object(owner, name, function))

    def _inside(self, run: Callable[[], Any]) -> Any:
        ACTIVE.append(self)
        try:
            return run()
        finally:
            ACTIVE.pop()

    def _product(self, kind: str, original: Any, at: tuple[int, int, int | None]) -> Any:
        names = ("input", "weight", "bias")

        def call(*args: Any, **kwargs: Any) -> Any:
            if ACTIVE:
                return original(*args, **kwargs)
            output = self._inside(lambda: original(*args, **kwargs))
            data, weight, bias = (
                None if i is None else args[i] if len(args) > i else kwargs.get(name)
                for i, name in zip(at, names, strict=True)
            )
            detached = data.detach()

            def again() -> Tensor:
                rest = [detached if a is data else a for a in args]
                named = {k: detached if a is data else a for k, a in kwargs.items()}
                repeated: Tensor = original(*rest, **named)
                return repeated

            self.products.append(Call(kind, data, weight, bias, output, again))
            return output.clone()  # which the network may change in place

        return call

    def _activation(self, kind: str, original: Any, chosen: Callable[..., bool] = lambda *_, **__: True) -> Any:
        def call(x: Tensor, *args: Any, **kwargs: Any) -> Any:
            if ACTIVE or not chosen(x, *args, **kwargs):
                return original(x, *args, **kwargs)
            before = x.detach().clone()
            output = self._inside(lambda: original(x, *args, **kwargs))
            self.activations.append(Call(kind, before, None, None, output, lambda: output))
            return output

        return call

    @staticmethod
    def _is_relu6(_: Tensor, low: float = -1.0, high: float = 1.0, *__: Any, **___: Any) -> bool:
        return low == 0

    def _batch_norm(self, original: Any) -> Any:
        def call(x: Tensor, mean: Any, var: Any, weight: Any = None, bias: Any = None, training: bool = False,
                 momentum: float = 0.1, eps: float = 1e-5) -> Tensor:  # fmt: skip
            if not training or not self.sees(x):  # as of a standardized kernel
                return original(x, mean, var, weight, bias, training, momentum, eps)
            self.coupled = self.coupled or self._norm is None
            if self._norm is not None:
                return self._norm(x, weight, bias, eps)
            return original(x, mean, var, weight, bias, training, momentum, eps)

        return call


def constant_statistics(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Batch norm whose statistics are numbers, those of the batch."""
    others = [dim for dim in range(x.dim()) if dim != 1]
    mean, variance = x.detach().mean(others, keepdim=True), x.detach().var(others, unbiased=False, keepdim=True)
    shape = [1, -1] + [1] * (x.dim() - 2)
    normalized = (x - mean) / (variance + eps).sqrt()
    if weight is not None:
        normalized = normalized * weight.view(shape)
    return normalized if bias is None else normalized + bias.view(shape)


def late(name: str, *args: Any, **kwargs: Any) -> Any:
    return getattr(F, name)(*args, **kwargs)


def identity(x: Tensor, *_: Any) -> Tensor:
    return x


def depends(tensor: Tensor, leaf: Tensor, known: dict[Any, bool]) -> bool:
    """Whether a tensor depends on a leaf; ``known`` keeps what was found for the nodes of the graph."""
    if tensor.grad_fn is None:
        return tensor is leaf
    stack = [tensor.grad_fn]
    while stack:
        node = stack[-1]
        children = [child for child, _ in node.next_functions if child is not None]
        pending = [child for child in children if child not in known]
        if pending and node not in known:
            stack += pending
            continue
        stack.pop()
        known[node] = getattr(node, "variable", None) is leaf or any(known[child] for child in children)
    return known[tensor.grad_fn]


def leaves(tensor: Tensor) -> set[int]:
    """``id`` of the leaves that a tensor depends on."""
    if tensor.grad_fn is None:
        return {id(tensor)} if tensor.requires_grad else set()
    found, seen, stack = set(), set(), [tensor.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        stack += [child for child, _ in node.next_functions]
    return found


def gradients(scalar: Tensor, of: Sequence[Tensor], given: Tensor | None = None, **options: Any) -> list[Tensor]:
    if not scalar.requires_grad or not of:
        return [torch.zeros_like(t) for t in of]
    found = torch.autograd.grad(scalar, of, given, allow_unused=True, retain_graph=True, **options)
    return [torch.zeros_like(t) if g is None else g for t, g in zip(of, found, strict=True)]


def prunable(network: nn.Module, more: Sequence[str] = ()) -> list[nn.Parameter]:
    """Kernels and matrices: weights of convolutions, of linear layers (also transformers' Conv1D), of recurrent layers,
    and the parameters whose names end in one of ``more``."""
    found: list[nn.Parameter] = []
    for module in network.modules():
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear) or type(module).__name__ == "Conv1D":
            found.append(module.weight)
        elif isinstance(module, nn.RNNBase):
            found += [w for name, w in module.named_parameters(recurse=False) if "weight" in name]
    found += [p for name, p in network.named_parameters() if name.endswith(tuple(more))]
    return list({id(w): w for w in found}.values())


def condition(matrix: Tensor) -> float | None:
    values = torch.linalg.eigvalsh(matrix)
    return None if values[0] <= 1e-15 * values[-1] else (values[-1] / values[0]).item()


class Oracle:
    """The definitions on one network and batch; every method makes its own forward pass on a copy.

    Args:
        network: Without anything random.
        x: The images ``(N, …)``.
        y: Class indices ``(N,)``.
        more: Ends of the names of prunable weights that no convolution or linear layer holds.
        classes: How many there are; for the count of operations.
    """

    def __init__(self, network: nn.Module, x: Tensor, y: Tensor, more: Sequence[str] = (), classes: int = 0):
        self.given, self.x, self.y, self.more, self.given_classes = network, x, y, more, classes

    def _run(self, norm: Callable[..., Tensor] | None = None, x: Tensor | None = None) -> None:
        self.network = copy.deepcopy(self.given).train().requires_grad_()
        for module in self.network.modules():
            if getattr(module, "inplace", None) is True:
                module.inplace = False  # type: ignore[assignment]
            for name, value in list(vars(module).items()):
                if any(value is getattr(F, known) for known in HELD):  # a function that the module holds
                    setattr(module, name, partial(late, value.__name__))
        self.weights = prunable(self.network, self.more)
        if x is not None:  # the linearized network; some have buffers that their first pass fills
            with torch.no_grad():
                self.network(self.x)
                for value in {
                    **self.network.state_dict(keep_vars=True),
                    **dict(self.network.named_parameters()),
                }.values():
                    if value.is_floating_point():
                        value.abs_()
        self.inputs = (self.x if x is None else x).clone().requires_grad_()
        self.record = Recorder(norm, self.inputs)
        with self.record.watching():
            output = self.network(self.inputs.clone())
        self.logits: Tensor = getattr(output, "logits", output)

    def of_the_loss(self) -> dict[str, float]:
        self._run()
        found = gradients(F.cross_entropy(self.logits, self.y), self.weights)
        pairs = list(zip(self.weights, found, strict=True))
        return {
            "grad_norm": sum(g.norm().item() for _, g in pairs),
            "snip": sum((w * g).abs().sum().item() for w, g in pairs),
            "plain": sum((w * g).sum().item() for w, g in pairs),
            "l2_norm": sum(w.norm().item() for w in self.weights),
            "params": sum(p.numel() for p in self.network.parameters()),
        }

    def flops(self) -> int:
        """Half of torch's count for one image, and one for each output of a classifier with a bias."""
        network, classes = copy.deepcopy(self.given).eval().requires_grad_(False), self.given_classes
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # which the counter does not see
        try:
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                network(self.x[:1])
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
        heads = [m for m in network.modules() if isinstance(m, nn.Linear) and m.out_features == classes]
        return int(counter.get_total_flops()) // 2 + classes * sum(m.bias is not None for m in heads)

    def grasp(self) -> float:
        with patch.object(F, "hardsigmoid", lambda x, inplace=False: F.relu6(x + 3) / 6):
            self._run()
        first = gradients(F.cross_entropy(self.logits, self.y), self.weights, create_graph=True)
        product = sum((g.detach() * g).sum() for g in first)
        assert isinstance(product, Tensor)
        return -sum((w * h).sum().item() for w, h in zip(self.weights, gradients(product, self.weights), strict=True))

    def _products(self) -> list[Call]:
        """The products with a prunable weight, or with a function of it that no image is part of."""
        ids, found = {id(w) for w in self.weights}, []
        for call in self.record.products:
            assert call.weight is not None
            if not self.record.sees(call.weight) and leaves(call.weight) & ids:
                found.append(call)
            elif call.kind == "matmul" and not self.record.sees(call.data) and leaves(call.data) & ids:
                raise NotImplementedError("a weight on the left")
        return found

    def _of_image(self, tensor: Tensor, image: int) -> Tensor:
        """One image's part of a tensor whose dimension 0 holds the images, slowest first; zero elsewhere."""
        if len(tensor) % len(self.x):
            raise NotImplementedError(f"the images in {tuple(tensor.shape)}")
        parts = tensor.new_zeros(len(self.x), tensor.numel() // len(self.x))
        parts[image] = tensor.reshape(len(self.x), -1)[image]
        return parts.reshape(tensor.shape)

    def _without_images(self, calls: list[Call]) -> bool:
        """Whether a product sees no image while batch norms bring the images together: nothing in it is one image's."""
        return self.record.coupled and not all(self.record.sees(call.output) for call in calls)

    def fisher(self) -> float | None:
        self._run()
        calls = self._products()
        if self._without_images(calls):
            return None
        outputs = [call.output for call in calls]
        if self.record.coupled:
            whole = gradients(F.cross_entropy(self.logits, self.y), outputs)
            each = [[self._of_image(g, i) for g in whole] for i in range(len(self.x))]
        else:
            losses = F.cross_entropy(self.logits, self.y, reduction="none") / len(self.x)
            each = [gradients(loss, outputs) for loss in losses]
        total = 0.0
        for number, call in enumerate(calls):
            assert call.weight is not None
            axis = call.output.dim() - 1
            if call.kind in CONVOLUTIONS:
                axis -= int(call.kind[-2])
            channels = call.output.shape[axis]
            others = [dim for dim in range(call.output.dim()) if dim != axis]
            rows = torch.stack([(call.output * image[number]).sum(others) for image in each])
            total += (rows.square().mean(0) / 2).sum().item() * (call.weight.numel() // channels)
        return total

    def label_kernel(self) -> Tensor | None:
        self._run()
        scores = self.logits.gather(1, self.y[:, None])[:, 0]
        calls = self._products()
        if self._without_images(calls):
            return None
        biases = {key for call in calls if call.bias is not None for key in leaves(call.bias)}
        for module in self.network.modules():
            if isinstance(module, nn.RNNBase):
                biases |= {id(p) for name, p in module.named_parameters(recurse=False) if "bias" in name}
        of = [*self.weights, *(p for p in self.network.parameters() if id(p) in biases)]
        if not self.record.coupled:
            return self._gram([gradients(score, of) for score in scores])
        rows = [[torch.zeros_like(p) for p in of] for _ in scores]
        for call, gradient in zip(calls, gradients(scores.sum(), [c.output for c in calls]), strict=True):
            again = call.again()
            read = [at for at, p in enumerate(of) if id(p) in leaves(again)]
            for image, row in enumerate(rows):
                shares = gradients(again, [of[at] for at in read], self._of_image(gradient, image))
                for at, share in zip(read, shares, strict=True):
                    row[at] += share
        return self._gram(rows)

    def tangent_kernel(self, norm: Callable[..., Tensor] | None) -> Tensor:
        """TE-NAS's, of the parameters called "weight"."""
        self._run(norm)
        of = [p for name, p in self.network.named_parameters() if "weight" in name]
        return self._gram([gradients(logits.sum(), of) for logits in self.logits])

    @staticmethod
    def _gram(rows: list[list[Tensor]]) -> Tensor:
        matrix = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
        return matrix @ matrix.T

    def synflow(self) -> float:
        self._run(identity, torch.ones_like(self.x[:1]))
        found = gradients(self.logits.sum(), self.weights)
        return sum((w * g).abs().sum().item() for w, g in zip(self.weights, found, strict=True))

    def of_the_inputs(self) -> dict[str, float]:
        self._run()
        rows = gradients(self.logits.sum(), [self.inputs])[0].flatten(1).numpy()
        values = np.linalg.eigvalsh(np.corrcoef(rows)) + 1e-5
        within = 0.0
        for label in set(self.y.tolist()):
            members = rows[(self.y == label).numpy()]
            if len(members) > 1:
                within += abs(np.log(np.abs(np.corrcoef(members)) + 1e-5).sum())
        return {"jacob_cov": -float(np.sum(np.log(values) + 1 / values)), "epe_nas": within}

    def regions(self, kinds: set[str]) -> dict[str, float]:
        self._run()
        calls = [c for c in self.record.activations if c.kind in kinds and self.record.sees(c.output)]
        outputs = [c.output for c in calls]
        found = torch.autograd.grad(self.logits.sum(), outputs, allow_unused=True) if calls else ()
        live = [c.data.reshape(len(self.x), -1) for c, g in zip(calls, found, strict=True) if g is not None]
        if not live:
            return {}
        on = torch.cat([(rows > 0).to(rows.dtype) for rows in live], 1)
        raw = torch.stack([rows @ rows.T for rows in live]).sum(0)
        hamming = torch.linalg.slogdet(on @ on.T + (1 - on) @ (1 - on).T)[1].item()
        if kinds != {"relu"}:
            return {ALL: hamming}
        return {
            "naswot": hamming,
            "naswot_hnas": torch.linalg.slogdet(raw)[1].item(),
            "linear_regions": len(np.unique(on.numpy(), axis=0)),
        }

    def all(self) -> dict[str, float | None]:
        """Every default proxy's value; None where it has none, as a singular kernel has."""
        label, fixed = self.label_kernel(), self.tangent_kernel(constant_statistics)
        flow = self.synflow()
        return {
            **self.of_the_loss(),
            "flops": self.flops(),
            "grasp": self.grasp(),
            "fisher": self.fisher(),
            **self.of_the_inputs(),
            **dict.fromkeys(("naswot", "naswot_hnas", "linear_regions", ALL)),
            **self.regions({"relu"}),
            **self.regions({"relu", "smooth"}),
            "synflow": flow,
            "logsynflow": float(np.log(flow)) if flow > 0 else None,
            "ntk_trace": None if label is None else (label.trace() / len(self.x)).sqrt().item(),
            "ntk_condition": None if label is None else condition(label),
            "ntk_condition_fixed_bn": condition(fixed),
        }
