"""The multiply-adds of one image, by torch's own formulas (:mod:`torch.utils.flop_counter`).

A dispatch mode sees every kernel that a forward pass of one image runs, whoever calls it, and gives its shapes to the
formula. For that, attention runs in plain products of matrices, as in every pass, and modules are in training mode: the
fused kernels of evaluation have no formula.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.backends import cudnn, mkldnn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from prejudge.errors import InputError
from prejudge.proxies.network.layers import batch_norms
from prejudge.proxies.passes.logits import run
from prejudge.proxies.score import ScoreFailure

_FORMULAS: dict[str, Callable[..., int]] = {  # products that torch's counter leaves out, by the shapes of their tensors
    "mv": lambda matrix, vector: matrix.numel(),
    "addmv": lambda bias, matrix, vector: matrix.numel(),
    "dot": lambda a, b: a.numel(),
    "addbmm": lambda bias, a, b: a.numel() * b[-1],
    "_addmm_activation": lambda bias, a, b: a.numel() * b[-1],
}
_WITH_BIAS = frozenset({"addmm", "baddbmm", "addmv", "_addmm_activation"})
_RECURRENT = frozenset({"aten::mkldnn_rnn_layer", "aten::_cudnn_rnn", "aten::miopen_rnn"})
_WITHOUT_FORMULA = (
    "_fft_", "linalg_", "_linalg_", "_cdist_forward", "_pdist_forward", "cholesky", "triangular_solve", "_trilinear",
    "conv_tbc", "_sparse_mm", "mkldnn_", "_mkl_linear", "_native_multi_head", "_transformer_encoder", "_scaled_dot_",
    "_flash_attention", "_efficient_attention", "_cudnn_rnn", "miopen_rnn", "_lstm_mps",
)  # fmt: skip
_NO_PRODUCTS = frozenset({"linalg_vector_norm", "linalg_cross"})
_NAMESPACES = frozenset({"aten", "prim", "prims", "profiler"})


def multiply_adds(network: nn.Module, inputs: Tensor, repeats: int = 1) -> int:
    """Count the multiply-adds of one image: matrix products, also those inside attention, and convolutions.

    A product counts half of the FLOPs that torch's counter gives it. No bias counts but the classifier's: one for each
    logit, where a linear layer with a bias makes them. What depends on no image counts once.

    Args:
        network: A private copy in training mode, on any device, also ``meta``; its buffers stay as they are.
        inputs: The batch ``(N * R, …)``; one image of each repeat runs, or all where the network needs more than one.
        repeats: R, the number of networks that ``network`` holds; they share the products equally.

    Raises:
        ScoreFailure: Torch has no formula for a kernel, or N images do not share the products equally.
        InputError: The network cannot take the batch.
    """
    images, total = repeats, None
    if len(inputs) > repeats:
        try:
            total = _products(network, inputs[:repeats])
        except InputError:  # as of one that normalizes over the batch, or leaves out dimensions of size 1
            images = len(inputs)
    if total is None:
        total = _products(network, inputs)
    if total % images:
        raise ScoreFailure(f"the {total} multiply-adds of {images} images are no whole number for each")
    return total // images


class _Counter(TorchDispatchMode):
    """Adds up the products of every kernel that runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0
        self.without_formula: set[str] = set()
        self.biased: list[Tensor] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to skip the compiler, torch would import it: seconds for every process

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        formula = flop_registry.get(func.overloadpacket)
        if formula is None:
            with self:
                inside = func.decompose(*args, **kwargs)
            if inside is not NotImplemented:
                return inside
        output = func(*args, **kwargs)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=output) // 2
        elif name in _FORMULAS:
            self.total += _FORMULAS[name](*(a.shape for a in args if isinstance(a, Tensor)))
        elif func.namespace not in _NAMESPACES or (name.startswith(_WITHOUT_FORMULA) and name not in _NO_PRODUCTS):
            self.without_formula.add(f"{func.namespace}::{name}")
        if name in _WITH_BIAS:
            self.biased.append(output)
        return output


class _Hidden(TorchFunctionMode):
    """Notes which numbers leave torch, as NumPy's products would be out of sight."""

    def __init__(self, counter: _Counter) -> None:
        super().__init__()
        self.counter = counter

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ("numpy", "__array__") and args[0].is_floating_point():
            self.counter.without_formula.add("NumPy")
        return func(*args, **(kwargs or {}))


def _products(network: nn.Module, inputs: Tensor) -> int:
    """The multiply-adds of some images, and one for each logit where a linear layer with a bias made them."""
    counter, logits = _counted(network, inputs)
    if counter.without_formula & _RECURRENT:
        with _without_libraries():
            counter, logits = _counted(network, inputs)
    if counter.without_formula:
        names = ", ".join(sorted(counter.without_formula))
        raise ScoreFailure(f"torch's counter of FLOPs has no formula for {names}; give it one (register_flop_formula)")
    memory = logits.untyped_storage()._cdata
    classifiers = [o for o in counter.biased if o.untyped_storage()._cdata == memory and o.numel() == logits.numel()]
    # where none returns the logits itself, as of two heads that are averaged, all that make as many
    classifiers = classifiers or [o for o in counter.biased if o.shape == logits.shape]
    return counter.total + logits.numel() * len(classifiers)


def _counted(network: nn.Module, inputs: Tensor) -> tuple[_Counter, Tensor]:
    norms = batch_norms(network).values()
    of_norms = {id(buffer) for bn in norms for buffer in bn.buffers()}
    kept = [(buffer, buffer.clone()) for buffer in network.buffers() if id(buffer) not in of_norms]
    counter = _Counter()
    try:
        for bn in norms:
            bn.eval()  # one image of one position has no variance
        with torch.no_grad(), _Hidden(counter), counter:
            return counter, run(network, inputs)
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
        for bn in norms:
            bn.train()


@contextmanager
def _without_libraries() -> Iterator[None]:
    """Let torch's own kernels run recurrent layers: products of matrices, and not one kernel for all."""
    libraries: tuple[Any, ...] = mkldnn, cudnn
    kept = [library.enabled for library in libraries]
    try:
        for library in libraries:
            library.enabled = False
        yield
    finally:
        for library, enabled in zip(libraries, kept, strict=True):
            library.enabled = enabled
