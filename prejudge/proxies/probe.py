"""The probe: one untrained network, one batch, and every quantity that a proxy may read about the two.

A probe works on a private copy of the network, so the caller's weights, buffers, gradients, mode and hooks stay as
they are, and inside a forked random state. It is told beforehand what will be read; the first read of a quantity runs
the pass that gives it together with everything else that this pass is still expected to give.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from prejudge.errors import InputError, unknown
from prejudge.proxies import first_order, flow, gaussian, jacobian
from prejudge.proxies.clock import Clock
from prejudge.proxies.device import find_device
from prejudge.proxies.layers import counted_layers

MODES = ("exact", "fast")

_STAGES: dict[str, tuple[str, ...]] = {
    **first_order.STAGES,
    "weights": (),
    "parameters": (),
    "jacobian_kernel": ("jacobian",),
    "fixed_bn_kernel": ("fixed-statistics backward",),
    "synaptic_flow": ("synaptic flow",),
    "gaussian_response": ("gaussian forward",),
}


class Probe:
    """Everything that proxies may read about one network on one batch.

    Args:
        network: Any module whose output is logits ``(N, classes)``; it is copied, never changed.
        inputs: Images ``(N, C, H, W)``, or any floating tensor with the batch first.
        targets: Class indices ``(N,)``; may be None if nothing that is read needs labels.
        reads: The quantities that will be read; others may be read too but cost a pass of their own.
        mode: ``"exact"``, or ``"fast"`` for bf16 passes (approximate).
        device: Where to run; default: where the network is.
        seed: Of every random draw inside the probe (dropout, Gaussian images).

    Raises:
        InputError: Shapes, types or labels do not fit, or the network cannot be copied.
    """

    def __init__(
        self,
        network: nn.Module,
        inputs: Tensor,
        targets: Tensor | None = None,
        *,
        reads: Iterable[str] = (),
        mode: str = "exact",
        device: torch.device | str | None = None,
        seed: int = 0,
    ):
        if mode not in MODES:
            raise unknown("mode", mode, MODES)
        _check(inputs, targets)
        tensor = next((t for t in (*network.parameters(), *network.buffers()) if t.is_floating_point()), inputs)
        self.device = tensor.device if device is None else find_device(device)
        self.mode = mode
        self.seed = seed
        self.network = self._private_copy(network)
        self.inputs = self._layout(inputs.to(self.device, tensor.dtype))
        self.targets = None if targets is None else targets.to(self.device, torch.int64)
        self.clock = Clock(self.device)
        self._planned = {r for r in reads if self._known(r)}
        self.read: set[str] = set()
        """Names of the quantities that have been read so far."""
        self._found: dict[Any, Any] = {}

    # ---- quantities of the shared pass -------------------------------------------------------------------------

    @property
    def logits(self) -> Tensor:
        """Class scores, ``(N, K)``."""
        return self._shared("logits")

    @property
    def loss(self) -> Tensor:
        """Mean cross-entropy."""
        return self._shared("loss")

    @property
    def weight_gradients(self) -> dict[str, Tensor]:
        """Gradient of the loss for each counted layer's weight; zeros where the layer did not run."""
        return self._shared("weight_gradients")

    @property
    def channel_saliency(self) -> dict[str, Tensor]:
        """Fisher saliency of each output channel of each executed counted layer, ``(C_out,)``."""
        return self._shared("channel_saliency")

    @property
    def weight_curvature(self) -> dict[str, Tensor]:
        """theta_l . (H g)_l for each counted layer l."""
        return self._shared("weight_curvature")

    @property
    def input_gradient(self) -> Tensor:
        """Gradient of the sum of all logits for each image, shaped as the batch."""
        return self._shared("input_gradient")

    @property
    def label_kernel(self) -> Tensor:
        """The HNAS kernel ``(N, N)``: Gram matrix of the images' shares of the label logits' gradient."""
        return self._shared("label_kernel")

    @property
    def label_kernel_diagonal(self) -> Tensor:
        """Its diagonal ``(N,)``, which is cheaper than the matrix."""
        return self._shared("label_kernel_diagonal")

    @property
    def activation_kernel(self) -> Tensor | None:
        """``(N, N)``: in how many live rectifier units two images are in the same state; None without rectifiers."""
        return self._shared("activation_kernel")

    @property
    def preactivation_kernel(self) -> Tensor | None:
        """``(N, N)``: inner products of what the live rectifiers read; None without rectifiers."""
        return self._shared("preactivation_kernel")

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one image through the counted layers."""
        return self._shared("multiply_adds")

    # ---- quantities without a pass, or with one of their own ---------------------------------------------------

    @property
    def weights(self) -> dict[str, Tensor]:
        """Weight of every counted layer, executed or not."""
        self.read.add("weights")
        if "weights" not in self._found:
            self._found["weights"] = {n: layer.weight.detach() for n, layer in counted_layers(self.network).items()}
        return self._found["weights"]

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        self.read.add("parameters")
        return sum(p.numel() for p in self.network.parameters())

    def synaptic_flow(self, keep_bn: str = "") -> dict[str, Tensor]:
        """|theta * dR/dtheta| summed over each counted layer, R the linearised network's output; see :mod:`flow`."""
        return self._own(
            "synaptic_flow", keep_bn, lambda: flow.synaptic_flow(self.network, self.inputs, keep_bn=keep_bn)
        )

    def gaussian_response(self, images: int = 8, scale: float = 0.01) -> tuple[Tensor, Tensor]:
        """How far features move under small input noise, and the batch-norm variances; see :mod:`gaussian`."""
        return self._own(
            "gaussian_response",
            (images, scale),
            lambda: gaussian.gaussian_response(self.network, self.inputs, images, scale),
        )

    @property
    def jacobian_kernel(self) -> Tensor:
        """The TE-NAS kernel ``(N, N)``: Gram matrix of the true Jacobian of each image's summed logits."""
        return self._own("jacobian_kernel", None, lambda: jacobian.exact_kernel(self.network, self.inputs))

    @property
    def fixed_bn_kernel(self) -> Tensor:
        """The same kernel with the batch norms' statistics held constant, ``(N, N)``."""
        return self._own("fixed_bn_kernel", None, lambda: jacobian.fixed_bn_kernel(self.network, self.inputs))

    def seconds_for(self, reads: Iterable[str]) -> float:
        """Seconds of all passes behind some quantities: what reading them alone costs."""
        stages = {stage for read in reads for stage in _STAGES[read]}
        return sum(self.clock.seconds.get(stage, 0.0) for stage in stages)

    # ---- how it is done ----------------------------------------------------------------------------------------

    def _shared(self, name: str) -> Any:
        self.read.add(name)
        if name not in self._found:
            wanted = ({name} | self._planned) & first_order.STAGES.keys() - self._found.keys()
            if self.targets is None:
                wanted = {w for w in wanted if w == name or not needs_labels(w)}
                if needs_labels(name):
                    raise InputError(f"{name.replace('_', ' ')} needs labels; give targets of shape (N,)")
            try:
                self._run_shared(wanted)
            except RuntimeError:  # one quantity's pass may not suit this network; the others must survive it
                if wanted == {name}:
                    raise
                self._planned.clear()
                self._run_shared({name})
        return self._found[name]

    def _run_shared(self, wanted: set[str]) -> None:
        # GraSP is a difference of large terms: in bf16 nothing of it is left, so its pass stays in full precision.
        precise = wanted & {"weight_curvature"} if self.mode == "fast" else set()
        for part, context in ((wanted - precise, self._autocast), (precise, nullcontext)):
            if part:
                with self._undisturbed():
                    self._found |= first_order.first_order(
                        self.network, self.inputs, self.targets, part, self.clock, context
                    )

    def _own(self, name: str, options: Any, run: Callable[[], Any]) -> Any:
        self.read.add(name)
        key = (name, options)
        if key not in self._found:
            with self._undisturbed(), self.clock(_STAGES[name][0]):
                if name == "synaptic_flow":  # runs in float64: reduced precision would overflow
                    self._found[key] = run()
                else:
                    with self._autocast():
                        self._found[key] = run()
        return self._found[key]

    def _private_copy(self, network: nn.Module) -> nn.Module:
        try:
            private = copy.deepcopy(network)
        except (RuntimeError, TypeError) as error:
            raise InputError(f"cannot copy the network ({error}); build it afresh and score it before use") from None
        private.to(self.device).train()
        for parameter in private.parameters():
            parameter.requires_grad_(True)
            parameter.grad = None
        for module in private.modules():
            if getattr(module, "inplace", None) is True:
                module.inplace = False  # type: ignore[assignment]  # pre-activations are read after the fact
        return self._layout(private)

    def _layout(self, thing: Any) -> Any:
        """Channels last where it pays: convolution networks on CPU and CUDA."""
        image = not isinstance(thing, Tensor) or thing.dim() == 4
        return thing.to(memory_format=torch.channels_last) if image and self.device.type in ("cpu", "cuda") else thing

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.mode == "fast" else nullcontext()

    def _undisturbed(self) -> AbstractContextManager[Any]:
        return _Undisturbed(self.device, self.seed)

    @staticmethod
    def _known(read: str) -> bool:
        if read not in _STAGES:
            raise unknown("probe quantity", read, _STAGES)
        return True


def needs_labels(quantity: str) -> bool:
    """Whether a quantity depends on the targets."""
    return quantity in (
        "loss",
        "weight_gradients",
        "channel_saliency",
        "weight_curvature",
        "label_kernel",
        "label_kernel_diagonal",
    )


class _Undisturbed:
    """Gradients on, full fp32 convolutions, and a random state of its own; the caller's comes back afterwards."""

    def __init__(self, device: torch.device, seed: int):
        devices = [device] if device.type == "cuda" else []
        self._fork = torch.random.fork_rng(devices)
        self._grad = torch.enable_grad()
        self._flags = torch.backends.cudnn.flags(allow_tf32=False)
        self._seed = seed

    def __enter__(self) -> None:
        self._fork.__enter__()
        self._grad.__enter__()
        self._flags.__enter__()
        torch.manual_seed(self._seed)

    def __exit__(self, *error: Any) -> None:
        self._flags.__exit__(*error)
        self._grad.__exit__(*error)
        self._fork.__exit__(*error)


def _check(inputs: Tensor, targets: Tensor | None) -> None:
    if not isinstance(inputs, Tensor) or inputs.dim() < 2:
        raise InputError("inputs must be a tensor with the batch first, e.g. images of shape (N, C, H, W)")
    if not len(inputs):
        raise InputError("the batch is empty; give at least one image")
    if not inputs.is_floating_point():
        raise InputError(f"inputs must be floating point, not {inputs.dtype}; convert and normalise the images first")
    if targets is None:
        return
    if targets.shape != (len(inputs),) or targets.is_floating_point() or targets.is_complex():
        raise InputError(
            f"targets must be {len(inputs)} class indices (int64), not {targets.dtype} of shape {tuple(targets.shape)}"
        )
    if int(targets.min()) < 0:
        raise InputError(f"label {int(targets.min())} is out of range; labels start at 0")
