"""The passes behind probes: of one network, or of several repeats of one structure at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
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
from prejudge.proxies.network.activation_functions import RELUS, counted
from prejudge.proxies.network.batch import InputBatch, Loss
from prejudge.proxies.network.call_adapter import NO_INPUT_GRADIENT
from prejudge.proxies.network.image_by_image import Unstackable
from prejudge.proxies.network.input_search import adapt
from prejudge.proxies.network.layers import each_repeat, in_turns
from prejudge.proxies.network.observer import observed
from prejudge.proxies.network.operations import Observation, Places, Unplaced
from prejudge.proxies.network.private_copy import private_copy, without_checkpoints
from prejudge.proxies.network.stacking import stack
from prejudge.proxies.network.weights import biases_of, has_surprises, hides_weights, prunable_weights, unseen_reader
from prejudge.proxies.passes import first_order, gaussian, jacobian
from prejudge.proxies.passes import multiply_adds as counts
from prejudge.proxies.passes import synaptic_flow as flow
from prejudge.proxies.passes.activations import KERNELS
from prejudge.proxies.passes.clock import Clock
from prejudge.proxies.passes.logits import run
from prejudge.proxies.passes.loss import BatchLoss
from prejudge.proxies.passes.memory import Limits, widest
from prejudge.proxies.passes.places import find_places
from prejudge.proxies.quantities import FIRST_ORDER, LABELED, STAGES, Quantity, checked
from prejudge.proxies.score import ScoreFailure

MODES = ("exact", "fast")
CONVENTIONS = ("paper", "zennas", "naslib")

Found = TypeVar("Found")


class Passes:
    """The passes of one network, or of several of one structure; each runs when it is first read, and at most once.

    Args and errors are those of :meth:`~prejudge.proxies.probe.Probe.stacked`. Networks are copied, never changed.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        batches: Sequence[InputBatch],
        *,
        reads: Iterable[str],
        mode: str,
        device: torch.device | str | None,
        seeds: Sequence[int],
        limits: Limits | None = None,
        loss: Loss | None = None,
    ):
        if mode not in MODES:
            raise unknown("mode", mode, MODES)
        self.planned = set(checked(reads))
        first = batches[0]
        if len(batches) > 1:
            _check_alike(batches)
        self.device, dtype = where_to_run(networks[0], first.example, device)
        self.mode, self.seeds, self.repeats = mode, list(seeds), len(networks)
        self.images = first.images
        self.limits = limits or widest(self.device, self.repeats, self.images)
        self.clock = Clock(self.device)
        self._originals = list(networks)
        self._batches = [batch.on(self.device, dtype) for batch in batches]
        largest = [batch.largest_label for batch in batches if batch.largest_label is not None]
        self.loss = BatchLoss(loss, max(largest, default=None), self.device, dtype)
        self._networks: dict[int, nn.Module] = {}
        self._found: dict[Any, Sequence[Any]] = {}
        self._weights: dict[str, nn.Parameter] | None = None
        self._places: Places | None = None
        self._cheap = True
        self.remarks: dict[Any, list[str]] = {}
        self.weights_per_channel: dict[str, int] = {}
        undisturbed = partial(_undisturbed, self.device, self.seeds[0])
        running = self.fresh_network(0) if self.repeats == 1 else self._ready(stack(networks))
        self._adapter = adapt(running, self._batches[0], undisturbed)
        self._running = self._adapter.attach(running)
        if self.repeats > 1:
            self._inputs = in_turns([batch.given for batch in self._batches])
        else:
            self._inputs = self.inputs(0) if first.plain else self._adapter.leaf()
        targets = [batch.targets for batch in self._batches if batch.targets is not None]
        self._targets = in_turns(targets) if targets else None

    @property
    def general_remarks(self) -> list[str]:
        """Remarks for the reader of any score that a pass gives."""
        return [*self._batches[0].remarks, *filter(None, [self._adapter.remark])]

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

    def inputs(self, repeat: int) -> Any:
        """One repeat's batch on the device, in the form in which a network is called with it."""
        given = self._batches[repeat].given
        return given.to(memory_format=self._layout) if isinstance(given, Tensor) and given.dim() == 4 else given

    def targets(self, repeat: int) -> Tensor:
        """One repeat's targets on the device."""
        targets = self._batches[repeat].targets
        if targets is None:
            raise _without_labels("this proxy")
        return targets

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
        run = self._drawing(
            partial(flow.synaptic_flow, self._running, self._inputs, prunable, self.repeats, keep_bn=keep_bn)
        )
        # Never in reduced precision, which would overflow.
        return self._own("synaptic_flow", keep_bn, lambda: each_repeat(run(), self.repeats), nullcontext)

    def gaussian_response(self, images: int, scale: float, convention: str) -> Sequence[tuple[Tensor, Tensor]]:
        """See :func:`~prejudge.proxies.passes.gaussian.gaussian_response`."""
        if convention not in CONVENTIONS:
            raise unknown("convention of zen", convention, CONVENTIONS)
        network = self._running
        if convention == "paper":
            observation = self._observation()
            weights = prunable_weights(network, observation)
            ids = {id(weight) for weight in weights.values()}
            redrawn = gaussian.redrawn_by_the_paper(network, ids, biases_of(network, ids, observation))
            del observation
        else:
            redrawn = gaussian.redrawn_by_zennas(network, scaled=convention == "zennas")
        tracked = convention != "paper"
        run = partial(gaussian.gaussian_response, network, self._inputs, redrawn, images, scale, tracked=tracked)
        options = (images, scale, convention)
        return self._own("gaussian_response", options, self._drawing(partial(run, self.seeds, self._layout)))

    def activation_kernels(self, name: Quantity, activations: str) -> Sequence[Any]:
        """A kernel of the activations that ``activations`` names; the shared pass has that of ReLUs."""
        if activations == "relu":
            return self.shared(name)
        if (name, activations) not in self._found:
            kinds, wanted = counted(activations), {name} | self.planned & set(KERNELS)
            with self._as_one():
                found = self._first_order(wanted, self._autocast, kinds)
            self._found |= {(quantity, activations): kernels for quantity, kernels in found.values.items()}
            self.remarks |= {(quantity, activations): remarks for quantity, remarks in found.remarks.items()}
        return self._found[name, activations]

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
                    found = self._first_order(part, context)
                self._found |= found.values
                self.remarks |= found.remarks
                self.weights_per_channel |= found.weights_per_channel
                self._weights = self._weights or found.weights

    def _drawing(self, run: Callable[[], Found]) -> Callable[[], Found]:
        """A pass that draws its input."""

        def drawing() -> Found:
            if not self._inputs.numel():
                raise ScoreFailure(NO_INPUT_GRADIENT)
            with self._adapter.drawn():
                return run()

        return drawing

    def _first_order(
        self,
        wanted: set[Quantity],
        context: Callable[[], AbstractContextManager[Any]],
        activations: Collection[str] = RELUS,
    ) -> first_order.FirstOrder:
        run = partial(
            first_order.first_order,
            self._running,
            self._inputs,
            self._targets,
            wanted,
            self.clock,
            context,
            repeats=self.repeats,
            limits=self.limits,
            loss=self.loss,
            cheap=self._cheap,
            activations=activations,
        )
        return self._placed(run)

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
            self._weights = prunable_weights(self._running, self._observation())
        return self._weights

    def _observation(self) -> Observation | None:
        """The record of a forward pass; None where the modules tell the prunable weights.

        Raises:
            ScoreFailure: It does not tell them either: something out of sight reads a parameter with the form of one.
        """
        if self.repeats > 1 or not has_surprises(self._running):
            return None
        with self._as_one(), self.clock("forward"):
            x = self._inputs.detach().requires_grad_()
            with observed(self._running, x, lenient=True) as observation:
                logits = run(self._running, x)
        reason, unseen = unseen_reader(self._running, logits, x, observation)
        if hides_weights(self._running, unseen):
            raise ScoreFailure(reason)
        return observation

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
            parameter.requires_grad_(parameter.is_floating_point())  # frozen weights are judged as others
            parameter.grad = None
        for module in private.modules():
            if getattr(module, "inplace", None) is True:
                module.inplace = False  # type: ignore[assignment]  # pre-activations are read after the fact
            if getattr(module, "sparse", None) is True:
                module.sparse = False  # type: ignore[assignment]  # of an embedding's gradient
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


def _check_alike(batches: Sequence[InputBatch]) -> None:
    if not all(batch.plain for batch in batches):
        raise Unstackable("the inputs are not one floating tensor each")
    tensors = [batch.example for batch in batches]
    if any(t.shape != tensors[0].shape or t.dtype != tensors[0].dtype for t in tensors):
        raise Unstackable("the batches differ in shape or type")
    targets = [batch.targets for batch in batches if batch.targets is not None]
    if any(t.shape != targets[0].shape or t.dtype != targets[0].dtype or len(t) != len(tensors[0]) for t in targets):
        raise Unstackable("the targets differ in shape or type")


def _without_labels(what: str) -> InputError:
    return InputError(f"{what} needs labels; give targets")
