"""The probe: one untrained network, one batch, and every quantity that a proxy may read about the two.

A probe works on a private copy of the network, so the caller's weights, buffers, gradients, mode and hooks stay as
they are, and inside a forked random state. It is told beforehand what will be read; the first read of a quantity runs
the pass that gives it together with everything else that this pass is still expected to give. The probes of several
repeats of one architecture may share their passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from prejudge.proxies.network.batch import Loss, read_batch
from prejudge.proxies.network.call_adapter import logits_in
from prejudge.proxies.passes.memory import Limits
from prejudge.proxies.passes.runner import Passes
from prejudge.proxies.quantities import OF_THE_LOSS, STAGES, Quantity
from prejudge.proxies.score import ScoreFailure

T = TypeVar("T")


class Probe:
    """Everything that proxies may read about one network on one batch.

    Args:
        network: Any module that returns logits; it is copied, never changed.
        inputs: As of :func:`~prejudge.proxies.scoring.score`.
        targets: Likewise; may be None if nothing that is read needs labels.
        reads: The quantities that will be read; others may be read too but cost a pass of their own.
        mode: ``"exact"``, or ``"fast"`` for bf16 passes (approximate).
        device: Where to run; default: where the network is.
        seed: Of every random draw inside the probe (dropout, Gaussian images).
        limits: How much is held at once; default: what suits the device. No value depends on it.
        loss: As of :func:`~prejudge.proxies.scoring.score`.

    Raises:
        InputError: Shapes, types or labels do not fit, or the network cannot be copied.
    """

    def __init__(
        self,
        network: nn.Module,
        inputs: Any,
        targets: Any = None,
        *,
        reads: Iterable[str] = (),
        mode: str = "exact",
        device: torch.device | str | None = None,
        seed: int = 0,
        limits: Limits | None = None,
        loss: Loss | None = None,
    ):
        batch = read_batch(network, inputs, targets, loss=loss, seed=seed)
        self._share(
            Passes([network], [batch], reads=reads, mode=mode, device=device, seeds=[seed], limits=limits, loss=loss), 0
        )

    @classmethod
    def stacked(
        cls,
        networks: Sequence[nn.Module],
        inputs: Sequence[Any],
        targets: Sequence[Any] | None = None,
        *,
        reads: Iterable[str] = (),
        mode: str = "exact",
        device: torch.device | str | None = None,
        seeds: Sequence[int] | None = None,
        limits: Limits | None = None,
        loss: Loss | None = None,
    ) -> list[Probe]:
        """One probe for each of several networks of one structure, whose passes run for all of them at once.

        Args:
            networks: R networks that differ in their weights only; see :class:`Probe` for what is not listed here.
            inputs: For each its batch, all of one shape.
            targets: For each its labels; or None.
            reads: The quantities that will be read.
            mode: ``"exact"`` or ``"fast"``.
            device: Where to run; default: where the first network is.
            seeds: Of each repeat's random draws; default 0.
            limits: How much is held at once; its ``repeats`` is not read here.
            loss: The loss of every batch.

        Returns:
            R probes; each gives what a probe of its network alone would give, but for rounding.

        Raises:
            InputError: As of a single probe.
            Unstackable: The networks cannot run as one (see :mod:`stacking`); the first read of a quantity raises it
                too.
        """
        seeds = [0] * len(networks) if seeds is None else seeds
        given = zip(networks, inputs, targets or [None] * len(networks), seeds, strict=True)
        batches = [read_batch(network, x, y, loss=loss, seed=seed) for network, x, y, seed in given]
        passes = Passes(networks, batches, reads=reads, mode=mode, device=device, seeds=seeds, limits=limits, loss=loss)
        probes = [cls.__new__(cls) for _ in networks]
        for repeat, probe in enumerate(probes):
            probe._share(passes, repeat)
        return probes

    def _share(self, passes: Passes, repeat: int) -> None:
        self.passes, self._repeat = passes, repeat
        self.read: set[Quantity] = set()
        """Names of the quantities that have been read so far."""
        self._activations: dict[Quantity, str] = {}  # which of them counted when a kernel of theirs was last read

    # ---- what the passes run on --------------------------------------------------------------------------------

    @property
    def network(self) -> nn.Module:
        """The private copy of the network, in training mode."""
        return self.passes.network(self._repeat)

    @property
    def inputs(self) -> Any:
        """The batch, on the device and in the network's type: a tensor, or the tuple or dict of one call."""
        return self.passes.inputs(self._repeat)

    @property
    def targets(self) -> Tensor:
        """The targets ``(N, …)``, on the device; raises :class:`~prejudge.errors.InputError` where there are none."""
        return self.passes.targets(self._repeat)

    @property
    def labels(self) -> Tensor:
        """The targets where they are class indices ``(N,)``; raises :class:`ScoreFailure` where they are others."""
        targets = self.targets
        if targets.dim() != 1 or targets.is_floating_point():
            form = f"{str(targets.dtype).removeprefix('torch.')} {tuple(targets.shape)}"
            raise ScoreFailure(f"it needs one class index for each image, not targets {form}")
        return targets

    def logits_of(self, network: nn.Module) -> Tensor:
        """The logits ``(N, …)`` of :attr:`network`, or a copy of it, for :attr:`inputs`, whatever form both have."""
        given = self.inputs
        args, kwargs = ((), given) if isinstance(given, dict) else (given if isinstance(given, tuple) else (given,), {})
        return logits_in(network(*args, **kwargs), self.passes.images)[0]

    @property
    def device(self) -> torch.device:
        """Where the passes run."""
        return self.passes.device

    @property
    def mode(self) -> str:
        """``"exact"`` or ``"fast"``."""
        return self.passes.mode

    @property
    def seed(self) -> int:
        """Of every random draw inside the probe."""
        return self.passes.seeds[self._repeat]

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each stage of the passes so far: an equal part of it, where several probes share them."""
        passes = self.passes
        return {stage: seconds / passes.repeats for stage, seconds in passes.clock.seconds.items()}

    # ---- quantities of the shared pass -------------------------------------------------------------------------

    @property
    def logits(self) -> Tensor:
        """Class scores, ``(N, K)``, or whatever else the network returns, ``(N, …)``."""
        return self._tensor("logits")

    @property
    def loss(self) -> Tensor:
        """Mean cross-entropy, or the loss that was given."""
        return self._tensor("loss")

    @property
    def weight_gradients(self) -> dict[str, Tensor]:
        """Gradient of the loss for each prunable weight; zeros where nothing read it."""
        return self._by_layer("weight_gradients")

    @property
    def channel_saliency(self) -> dict[str, Tensor]:
        """Fisher saliency of each output channel of each product with a prunable weight, ``(C_out,)``."""
        return self._by_layer("channel_saliency")

    @property
    def weights_per_channel(self) -> dict[str, int]:
        """The number of weights of each channel of :attr:`channel_saliency`."""
        self._by_layer("channel_saliency")
        return self.passes.weights_per_channel

    @property
    def weight_curvature(self) -> dict[str, Tensor]:
        """theta_l . (H g)_l for each prunable layer l."""
        return self._by_layer("weight_curvature")

    @property
    def input_gradient(self) -> Tensor:
        """Gradient of the sum of all logits for each image: shaped as a batch of one floating tensor, else ``(N, D)``.

        Then the floating inputs, and the outputs of what tokens are looked up in, lie side by side.
        """
        return self._tensor("input_gradient")

    @property
    def label_kernel(self) -> Tensor:
        """The HNAS kernel ``(N, N)``: Gram matrix of the images' shares of the label logits' gradient."""
        return self._tensor("label_kernel")

    @property
    def label_kernel_diagonal(self) -> Tensor:
        """Its diagonal ``(N,)``, which is cheaper than the matrix."""
        return self._tensor("label_kernel_diagonal")

    @property
    def activation_kernel(self) -> Tensor:
        """``(N, N)``: the number of live ReLU units in which two images are in the same state."""
        return self.kernel_of_activations("activation_kernel")

    @property
    def preactivation_kernel(self) -> Tensor:
        """``(N, N)``: inner products of what the live ReLUs read."""
        return self.kernel_of_activations("preactivation_kernel")

    def kernel_of_activations(self, kernel: Quantity, activations: str = "relu") -> Tensor:
        """An activation kernel ``(N, N)``.

        Args:
            kernel: ``"activation_kernel"`` or ``"preactivation_kernel"``.
            activations: The kinds that count: ``"relu"`` (ReLU, ReLU6, leaky and parametric ones, thresholds),
                ``"all"`` (GELU, SiLU and the other activation functions too), kinds as ``"gelu"``, or several of these
                joined by ``+``. ReLUs alone cost no pass of their own.

        Raises:
            ScoreFailure: None of them lies between the images and the logits.
            InputError: There is no such kind.
        """
        self._activations[kernel] = activations
        found: Tensor = self._given(kernel, lambda: self.passes.activation_kernels(kernel, activations)[self._repeat])
        return found.cpu()

    # ---- quantities without a pass, or with one of their own ---------------------------------------------------

    @property
    def weights(self) -> dict[str, Tensor]:
        """Every prunable weight: kernels and matrices of operations, and of layers that were not executed."""
        return self._given("weights", lambda: self.passes.weights()[self._repeat])

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return self._given("parameters", self.passes.parameters)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one image, by torch's counter; see :func:`~prejudge.proxies.passes.multiply_adds`."""
        return self._given("multiply_adds", self.passes.multiply_adds)

    def synaptic_flow(self, keep_bn: str = "") -> dict[str, Tensor]:
        """|theta * dR/dtheta| summed over each prunable layer, R the linearized network's output; see :mod:`flow`."""
        return self._given("synaptic_flow", lambda: self.passes.synaptic_flow(keep_bn)[self._repeat])

    def gaussian_response(
        self, images: int = 8, scale: float = 0.01, convention: str = "paper"
    ) -> tuple[Tensor, Tensor]:
        """The change of the features under small input noise, and the batch-norm variances; see :mod:`gaussian`."""
        return self._given(
            "gaussian_response", lambda: self.passes.gaussian_response(images, scale, convention)[self._repeat]
        )

    @property
    def jacobian_kernel(self) -> Tensor:
        """The TE-NAS kernel ``(N, N)``: Gram matrix of the true Jacobian of each image's summed logits."""
        return self._given("jacobian_kernel", lambda: self.passes.jacobian_kernel()[self._repeat])

    @property
    def fixed_bn_kernel(self) -> Tensor:
        """The same kernel with the batch norms' statistics held constant, ``(N, N)``."""
        return self._given("fixed_bn_kernel", lambda: self.passes.fixed_bn_kernel()[self._repeat])

    def seconds_for(self, reads: Iterable[Quantity]) -> float:
        """Seconds of all passes behind some quantities: what reading them alone costs."""
        stages, spent = {stage for read in reads for stage in STAGES[read]}, self.seconds
        return sum(spent.get(stage, 0.0) for stage in stages)

    def remarks_on(self, reads: Iterable[Quantity], value: float) -> tuple[str, ...]:
        """Remarks for the reader of a proxy's value."""
        reads = set(reads)
        found: list[str] = self.passes.general_remarks if any(STAGES[read] for read in reads) else []
        for read in sorted(reads):
            activations = self._activations.get(read, "relu")
            found += self.passes.remarks.get(read if activations == "relu" else (read, activations), ())
        if value == 0 and reads & (OF_THE_LOSS | {"synaptic_flow"}):
            zero = [name for name, weight in self.passes.weights()[self._repeat].items() if not bool(weight.any())]
            what = f"the weights of {', '.join(zero)} are zero" if zero else "no gradient reaches the weights"
            found.append(f"the value is zero because {what}")
        return tuple(dict.fromkeys(found))

    def _tensor(self, name: Quantity) -> Tensor:
        found: Tensor = self._shared(name)
        return found

    def _by_layer(self, name: Quantity) -> dict[str, Tensor]:
        found: dict[str, Tensor] = self._shared(name)
        return found

    def _shared(self, name: Quantity) -> Any:
        return self._given(name, lambda: self.passes.shared(name)[self._repeat])

    def _given(self, name: Quantity, run: Callable[[], T]) -> T:
        """A quantity as a proxy gets it that reads it."""
        self.read.add(name)
        found = run()
        if isinstance(found, ScoreFailure):
            raise found
        return found
