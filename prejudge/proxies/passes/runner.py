"""The passes behind probes: of one network, or of several repeats of one structure at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from prejudge.engine.device import where_to_run
from prejudge.engine.device_errors import named_device_errors
from prejudge.engine.random_state import own_generators
from prejudge.engine.torch_state import standard_torch_state
from prejudge.errors import DeviceError, InputError, unknown
from prejudge.proxies.network.image_by_image import Unstackable
from prejudge.proxies.network.layers import each_repeat, in_turns
from prejudge.proxies.network.observer import observed
from prejudge.proxies.network.operations import Places, Unplaced
from prejudge.proxies.network.private_copy import private_copy, without_checkpoints
from prejudge.proxies.network.stacking import stack
from prejudge.proxies.network.weights import has_surprises, prunable_weights
from prejudge.proxies.passes import first_order, gaussian, jacobian
from prejudge.proxies.passes import multiply_adds as counts
from prejudge.proxies.passes import synaptic_flow as flow
from prejudge.proxies.passes.clock import Clock
from prejudge.proxies.passes.logits import run
from prejudge.proxies.passes.memory import Limits, widest
from prejudge.proxies.passes.places import find_places
from prejudge.proxies.quantities import FIRST_ORDER, LABELED, STAGES, Quantity, checked
from prejudge.proxies.score import ScoreFailure

MODES = ("exact", "fast")

Found = TypeVar("Found")


class Passes:
    """The passes of one network, or of several of one structure; each runs when it is first read, and at most once.

    Args and errors are those of :meth:`~prejudge.proxies.probe.Probe.stacked`. Networks are copied, never changed.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        inputs: Sequence[Tensor],
        targets: Sequence[Tensor] | None,
        *,
        reads: Iterable[str],
        mode: str,
        device: torch.device | str | None,
        seeds: Sequence[int],
        limits: Limits | None = None,
    ):
        if mode not in MODES:
            raise unknown("mode", mode, MODES)
        self.planned = set(checked(reads))
        labels = [None] * len(inputs) if targets is None else targets
        largest = [_check(*pair) for pair in zip(inputs, labels, strict=True)]
        self.largest_label = max((label for label in largest if label is not None), default=None)
        if any(batch.shape != inputs[0].shape or batch.dtype != inputs[0].dtype for batch in inputs):
            raise Unstackable("the batches differ in shape or type")
        self.device, dtype = where_to_run(networks[0], inputs[0], device)
        self.mode, self.seeds, self.repeats = mode, list(seeds), len(networks)
        self.limits = limits or widest(self.device, self.repeats, len(inputs[0]))
        self.clock = Clock(self.device)
        self._originals = list(networks)
        self._batches = [_plain(batch).to(self.device, dtype, non_blocking=True) for batch in inputs]
        self._labels = (
            None
            if targets is None
            else [_plain(labels).to(self.device, torch.int64, non_blocking=True) for labels in targets]
        )
        self._networks: dict[int, nn.Module] = {}
        self._found: dict[Any, Sequence[Any]] = {}
        self._weights: dict[str, nn.Parameter] | None = None
        self._places: Places | None = None
        self._cheap = True
        self.remarks: dict[Quantity, list[str]] = {}
        self.weights_per_channel: dict[str, int] = {}
        if self.repeats == 1:
            self._running, self._inputs = self.network(0), self.inputs(0)
        else:
            self._running, self._inputs = self._ready(stack(networks)), in_turns(self._batches)
        self._targets = None if self._labels is None else in_turns(self._labels)

    def network(self, repeat: int) -> nn.Module:
        """A private copy of one repeat's network, in training mode, on the device."""
        if repeat not in self._networks:
            self._networks[repeat] = self.fresh_network(repeat)
        return self._networks[repeat]

    def fresh_network(self, repeat: int) -> nn.Module:
        """One more such copy, of the network as it was given."""
        private, layout = self._ready(private_copy(self._originals[repeat])), self._layout
        private._apply(lambda t: t.to(memory_format=layout) if t.dim() == 4 else t)
        return private

    def inputs(self, repeat: int) -> Tensor:
        """One repeat's batch on the device."""
        batch = self._batches[repeat]
        return batch.to(memory_format=self._layout) if batch.dim() == 4 else batch

    def targets(self, repeat: int) -> Tensor:
        """One repeat's labels on the device."""
        if self._labels is None:
            raise _without_labels("this proxy")
        return self._labels[repeat]

    def shared(self, name: Quantity) -> Sequence[Any]:
        """A quantity of the shared pass, for each repeat."""
        if name not in self._found:
            wanted = ({name} | self.planned) & FIRST_ORDER.keys() - self._found.keys()
            if self._targets is None:
                wanted -= LABELED
                if name in LABELED:
                    raise _without_labels(name.replace("_", " "))
            self._run_shared(wanted, name)
        return self._found[name]

    def weights(self) -> Sequence[dict[str, Tensor]]:
        """Weight of every prunable layer."""
        if "weights" not in self._found:
            weights = {name: weight.detach() for name, weight in self._prunable().items()}
            self._found["weights"] = each_repeat(weights, self.repeats) if self.repeats > 1 else [weights]
        return self._found["weights"]

    def parameters(self) -> int:
        """Number of trainable parameters of one repeat; one that is used twice counts once."""
        return sum(p.numel() for p in self._originals[0].parameters() if p.requires_grad)

    def multiply_adds(self) -> int:
        """See :func:`~prejudge.proxies.passes.multiply_adds.multiply_adds`."""
        run = partial(counts.multiply_adds, self._running, self._inputs, self.repeats)
        found: int = self._own("multiply_adds", None, lambda: [run()], nullcontext)[0]
        return found

    def synaptic_flow(self, keep_bn: str) -> Sequence[dict[str, Tensor]]:
        """See :func:`~prejudge.proxies.passes.synaptic_flow.synaptic_flow`."""
        prunable = self._prunable()
        run = partial(flow.synaptic_flow, self._running, self._inputs, prunable, self.repeats, keep_bn=keep_bn)
        # Never in reduced precision, which would overflow.
        return self._own("synaptic_flow", keep_bn, lambda: each_repeat(run(), self.repeats), nullcontext)

    def gaussian_response(self, images: int, scale: float) -> Sequence[tuple[Tensor, Tensor]]:
        """See :func:`~prejudge.proxies.passes.gaussian.gaussian_response`."""
        prunable = {id(weight) for weight in self._prunable().values()}
        names = {name for name, parameter in self._running.named_parameters() if id(parameter) in prunable}
        run = partial(
            gaussian.gaussian_response, self._running, self._inputs, names, images, scale, self.seeds, self._layout
        )
        return self._own("gaussian_response", (images, scale), run)

    def jacobian_kernel(self) -> Sequence[Tensor]:
        """See :func:`~prejudge.proxies.passes.jacobian.exact_kernel`."""
        run = partial(jacobian.exact_kernel, self._running, self._inputs, self.repeats)
        return self._own("jacobian_kernel", None, lambda: list(run()))

    def fixed_bn_kernel(self) -> Sequence[Tensor]:
        """See :func:`~prejudge.proxies.passes.jacobian.fixed_bn_kernel`."""
        remarks = self.remarks.setdefault("fixed_bn_kernel", [])
        run = partial(jacobian.fixed_bn_kernel, self._running, self._inputs, self.repeats, remarks=remarks)
        at_once = self.limits.images
        return self._own("fixed_bn_kernel", None, lambda: list(self._placed(partial(run, images_at_once=at_once))))

    # ---- how it is done ----------------------------------------------------------------------------------------

    def _run_shared(self, wanted: set[Quantity], name: Quantity) -> None:
        try:
            return self._run_parts(wanted)
        except torch.OutOfMemoryError:
            if wanted == {name} or self.limits.smaller() is not None:  # the caller first holds less at once
                raise
        except (RuntimeError, ScoreFailure) as error:
            # One quantity's pass may not suit this network; the others must survive it.
            if self._cheap and "inplace operation" in str(error):
                self._cheap = False
                return self._run_shared(wanted, name)
            if wanted == {name}:
                raise
        self.planned.clear()
        self._run_parts({name})

    def _run_parts(self, wanted: set[Quantity]) -> None:
        # GraSP is a difference of large terms: in bf16 nothing of it is left, so its pass stays in full precision.
        precise: set[Quantity] = wanted & {"weight_curvature"} if self.mode == "fast" else set()
        for part, context in ((wanted - precise, self._autocast), (precise, nullcontext)):
            if part:
                with self._as_one():
                    found = self._placed(
                        partial(
                            first_order.first_order,
                            self._running,
                            self._inputs,
                            self._targets,
                            part,
                            self.clock,
                            context,
                            repeats=self.repeats,
                            limits=self.limits,
                            largest_label=self.largest_label,
                            cheap=self._cheap,
                        )
                    )
                self._found |= found.values
                self.remarks |= found.remarks
                self.weights_per_channel |= found.weights_per_channel
                self._weights = self._weights or found.weights

    def _placed(self, run: Callable[..., Found]) -> Found:
        """The result of a pass that is told where the images are, once it has to know."""
        try:
            return run(places=self._places)
        except Unplaced:
            undisturbed = partial(_undisturbed, self.device, self.seeds[0])
            self._places = find_places(self._running, self._inputs, undisturbed)
        with undisturbed():  # the pass draws what it drew before
            return run(places=self._places)

    def _prunable(self) -> dict[str, nn.Parameter]:
        """The prunable weights by name; where the modules do not tell all of them, a forward pass does."""
        if self._weights is None:
            observation = None
            if self.repeats == 1 and has_surprises(self._running):
                with self._as_one(), self.clock("forward"):
                    x = self._inputs.detach().requires_grad_()
                    with observed(self._running, x, lenient=True) as observation:
                        run(self._running, x)
            self._weights = prunable_weights(self._running, observation)
        return self._weights

    def _own(
        self,
        name: Quantity,
        options: Any,
        run: Callable[[], Sequence[Any]],
        context: Callable[[], AbstractContextManager[Any]] | None = None,
    ) -> Sequence[Any]:
        key = (name, options)
        if key not in self._found:
            with (
                _undisturbed(self.device, self.seeds[0]),
                self._as_one(),
                self.clock(STAGES[name][0]),
                (context or self._autocast)(),
            ):
                self._found[key] = run()
        return self._found[key]

    def _ready(self, private: nn.Module) -> nn.Module:
        private.to(self.device).train()
        for parameter in private.parameters():
            parameter.requires_grad_(True)
            parameter.grad = None
        for module in private.modules():
            if getattr(module, "inplace", None) is True:
                module.inplace = False  # type: ignore[assignment]  # pre-activations are read after the fact
        return private

    @property
    def _layout(self) -> torch.memory_format:
        """Of one network and its images: channels last where it pays, for convolution networks on CPU and CUDA."""
        return torch.channels_last if self.device.type in ("cpu", "cuda") else torch.contiguous_format

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.mode == "fast" else nullcontext()

    @contextmanager
    def _as_one(self) -> Iterator[None]:
        """Undisturbed; where several repeats fail as one, each must be tried by itself, to fail with its own reason."""
        with _undisturbed(self.device, self.seeds[0]):
            try:
                with named_device_errors(self.device):
                    yield
            except (torch.OutOfMemoryError, Unstackable, Unplaced, DeviceError):
                raise
            except Exception as error:
                if self.repeats == 1:
                    raise
                raise Unstackable(f"they fail as one: {type(error).__name__}: {error}") from error


@contextmanager
def _undisturbed(device: torch.device, seed: int) -> Iterator[None]:
    """The state in which every pass runs; the caller's comes back afterwards.

    Torch is in its standard state, attention in plain operations, nothing is checkpointed, and the generators of torch,
    NumPy and Python are seeded.
    """
    with (
        standard_torch_state(device),
        own_generators(seed, device),
        sdpa_kernel(SDPBackend.MATH),  # the only one that is differentiated twice
        without_checkpoints(),
    ):
        yield


def _plain(tensor: Tensor) -> Tensor:
    """One that a graph may save: tensors made in inference mode are none."""
    return tensor.clone() if tensor.is_inference() else tensor


def _without_labels(what: str) -> InputError:
    return InputError(f"{what} needs labels; give targets of shape (N,)")


def _check(inputs: Tensor, targets: Tensor | None) -> int | None:
    """Check a batch.

    It reads the labels, and nothing later does: labels that are on a device already are waited for here.

    Args:
        inputs: Any floating tensor with the batch first.
        targets: Class indices ``(N,)``, or None.

    Returns:
        The largest label.

    Raises:
        InputError: Shape or type do not fit, or a label is negative.
    """
    if not isinstance(inputs, Tensor) or inputs.dim() < 2:
        raise InputError("inputs must be a tensor with the batch first, e.g. images of shape (N, C, H, W)")
    if not len(inputs):
        raise InputError("the batch is empty; give at least one image")
    if not inputs.is_floating_point():
        raise InputError(f"inputs must be floating point, not {inputs.dtype}; convert and normalize the images first")
    if targets is None:
        return None
    if targets.shape != (len(inputs),) or targets.is_floating_point() or targets.is_complex():
        raise InputError(
            f"targets must be {len(inputs)} class indices (int64), not {targets.dtype} of shape {tuple(targets.shape)}"
        )
    smallest, largest = torch.stack(targets.to(torch.int64).aminmax()).tolist()
    if smallest < 0:
        raise InputError(f"label {smallest} is out of range; labels start at 0")
    result: int | None = largest
    return result
