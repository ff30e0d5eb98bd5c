"""The response of a network with Gaussian weights to Gaussian images: the two measurements of the Zen-score."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from prejudge.engine.random_state import own_generators
from prejudge.proxies.network.graph import nodes_above
from prejudge.proxies.network.image_by_image import Unstackable, keeps_images_apart
from prejudge.proxies.network.layers import (
    BatchNorm,
    NoOtherBatchNorm,
    batch_norms,
    by_repeat,
    fold,
    full_precision,
    in_turns,
    repeats_of,
    replaced_forward,
    replaced_tensors,
    unfold,
)
from prejudge.proxies.network.observer import observed, unobserved
from prejudge.proxies.network.operations import CONVOLUTIONS, IMAGES, Observation, mark_of
from prejudge.proxies.network.placement import IMAGES_FIRST, NOWHERE, Placement, find_placement
from prejudge.proxies.score import ScoreFailure

_PLAIN = frozenset({"relu", "relu_", "native_batch_norm", "batch_norm", "avg_pool2d", "max_pool2d", "clone", "dim"})


@dataclass(frozen=True)
class Redrawn:
    """The parameters that get other values, by name; all others keep theirs.

    Attributes:
        normal: Those that are drawn from N(0, 1).
        zeros: Those that become 0.
        ones: Those that become 1.
    """

    normal: frozenset[str]
    zeros: frozenset[str]
    ones: frozenset[str]


def redrawn_by_the_paper(network: nn.Module, weights: Collection[int], biases: Collection[int]) -> Redrawn:
    """Prunable weights are Gaussian, their biases 0; batch and group norms scale by 1 and shift by 0.

    Args:
        network: The network.
        weights: ``id`` of the prunable weights.
        biases: ``id`` of the biases that go with them.
    """
    norms = [m for m in network.modules() if isinstance(m, BatchNorm | nn.GroupNorm)]
    scales, shifts = (
        {id(p) for m in norms if isinstance(p := getattr(m, name), nn.Parameter)} for name in ("weight", "bias")
    )
    named = [(name, id(p)) for name, p in network.named_parameters()]
    return Redrawn(
        frozenset(name for name, key in named if key in weights),
        frozenset(name for name, key in named if key in shifts or key in biases),
        frozenset(name for name, key in named if key in scales),
    )


def redrawn_by_zennas(network: nn.Module, *, scaled: bool) -> Redrawn:
    """The parameters that idstcv/ZenNAS d1d617e redraws: ``Conv2d`` and ``Linear``, ``BatchNorm2d`` and ``GroupNorm``.

    Args:
        network: The network.
        scaled: Whether every norm must have a scale, as there; NASLib leaves others as they are.

    Raises:
        ScoreFailure: A norm has none.
    """
    found: dict[str, set[str]] = {"normal": set(), "zeros": set(), "ones": set()}
    for module_name, module in network.named_modules():
        layer = isinstance(module, nn.Conv2d | nn.Linear)
        norm = isinstance(module, nn.BatchNorm2d | nn.GroupNorm)
        own = [key for key, _ in module.named_parameters(recurse=False) if key in ("weight", "bias")]
        if norm and scaled and not own:
            raise ScoreFailure(f"ZenNAS's code needs a scale in {module_name!r}; convention='naslib' leaves it alone")
        for key in own if layer or norm else ():
            kind = "zeros" if key == "bias" else "normal" if layer else "ones"
            found[kind].add(f"{module_name}.{key}" if module_name else key)
    return Redrawn(**{kind: frozenset(names) for kind, names in found.items()})


def gaussian_response(
    network: nn.Module,
    inputs: Tensor,
    redrawn: Redrawn,
    images: int,
    scale: float,
    seeds: Sequence[int],
    layout: torch.memory_format,
    *,
    tracked: bool = False,
) -> list[tuple[Tensor, Tensor]]:
    """The response of a network with drawn weights to drawn images; see :func:`response`.

    Args:
        network: In training mode.
        inputs: Any batch; the drawn images take its shape, type and device.
        redrawn: The parameters that are drawn or reset.
        images: How many images are drawn.
        scale: alpha, the noise's size.
        seeds: Of each repeat's draws.
        layout: Memory format of a single network, in which the draws are made: they depend on it.
        tracked: Whether it is measured as ZenNAS's code does.

    Returns:
        For each repeat the changes of the images' features ``(images,)``, and a variance for each batch norm.
    """
    state, x, noise = _draws(network, inputs, redrawn, images, seeds, layout)
    return response(network, state, x, x + scale * noise, seeds, tracked=tracked)


def response(
    network: nn.Module,
    state: Mapping[str, Tensor],
    x: Tensor,
    noisy: Tensor,
    seeds: Sequence[int] = (0,),
    *,
    tracked: bool = False,
) -> list[tuple[Tensor, Tensor]]:
    """Feature change under input noise, and batch-norm variances (Lin et al., ICCV 2021, Algorithm 1).

    The features are the last four-dimensional activation of a module before pooling to 1 x 1. Where that is missing, or
    something else than a classifier reads it, as in transformers, they are the logits. Batch norms use the batch's
    statistics.

    Args:
        network: In training mode.
        state: The parameters that take the place of its own.
        x: Images ``(images * R, C, H, W)``; repeats take turns.
        noisy: The same ones with noise.
        seeds: Of what the network draws by itself, as dropout; R of them.
        tracked: As ZenNAS's code: changes in the L1 norm, the variances that ``BatchNorm2d`` keeps after both passes.

    Returns:
        For each repeat ``||f(x) - f(noisy)||_F`` of each image ``(images,)``, and for each live batch norm the
        mean over channels of the variance that it divides by (batch norms that dead branches feed are left out).

    Raises:
        ScoreFailure: The images are in no place of the features that could be found.
        Unstackable: ``tracked`` with several repeats.
    """
    if tracked:
        return [_tracked_response(network, state, x, noisy, seeds)]
    repeats = len(seeds)
    variances: list[tuple[Any, Tensor]] = []

    def observing(bn: BatchNorm) -> Any:
        def normalize(value: Tensor) -> Tensor:
            weight, bias = (p if p is None or repeats == 1 else p.flatten() for p in (bn.weight, bn.bias))
            value = fold(value, repeats_of(bn))
            output, _, rstd = torch.native_batch_norm(value, weight, bias, None, None, True, 0.0, bn.eps)
            with unobserved():
                variance = full_precision(rstd.detach()).pow(-2) - bn.eps
                variances.append((output.grad_fn, variance.view(repeats, -1).mean(1)))
            return unfold(output, repeats_of(bn))

        return normalize

    with replaced_forward(batch_norms(network), observing):
        x = x.detach().requires_grad_()
        features = _features(network, state, x, seeds, NoOtherBatchNorm(x))
    live = nodes_above(features.logits)
    changes = features.changes(_again(network, state, noisy, seeds, features))
    counted = [v for node, v in variances if node in live]
    each = torch.stack(counted, 1) if counted else changes.new_zeros(repeats, 0)
    # A variance is 0 but for rounding behind a dead edge.
    return [(change, v[v > 1e-6]) for change, v in zip(by_repeat(changes, repeats), each, strict=True)]


def _tracked_response(
    network: nn.Module, state: Mapping[str, Tensor], x: Tensor, noisy: Tensor, seeds: Sequence[int]
) -> tuple[Tensor, Tensor]:
    if len(seeds) > 1:
        raise Unstackable("a stack keeps no running statistics")
    state = dict(state)
    names = [name for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)]
    for name in names:
        if getattr(network.get_submodule(name), "running_var", None) is None:
            raise ScoreFailure(f"the batch norm {name!r} keeps no running statistics, which this convention reads")
    with torch.no_grad():
        features = _features(network, {**state, **_untracked(network, names)}, x, seeds, nullcontext())
        state |= _untracked(network, names)
        features.values = _again(network, state, x, seeds, features)
        changes = features.changes(_again(network, state, noisy, seeds, features), norm=1)
    kept = [full_precision(state[f"{name}.running_var"]).mean() for name in names]
    return changes, torch.stack(kept) if kept else changes.new_zeros(0)


def _untracked(network: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
    """Running statistics of batch norms before the first batch."""
    fresh = {}
    for name in names:
        for value, key in enumerate(("running_mean", "running_var")):
            fresh[f"{name}.{key}"] = torch.full_like(network.get_buffer(f"{name}.{key}"), value)
    return fresh


@dataclass
class _Features:
    """The features of one pass, which are compared with those of the other.

    Attributes:
        values: The last feature maps, or the logits.
        logits: Part of the graph.
        are_logits: Whether ``values`` are the logits.
        place: Where they hold the images.
    """

    values: Tensor
    logits: Tensor
    are_logits: bool
    place: Placement = field(default=IMAGES_FIRST)

    def changes(self, others: Tensor, norm: int = 2) -> Tensor:
        """The norm of the difference for each image, ``(images * R,)``."""
        difference = full_precision(self.values.detach() - others)
        rows = self.place.first(difference) if self.place != IMAGES_FIRST else difference
        result: Tensor = torch.linalg.vector_norm(rows.flatten(1), norm, dim=1)
        return result


def _features(
    network: nn.Module,
    state: Mapping[str, Tensor],
    x: Tensor,
    seeds: Sequence[int],
    guard: AbstractContextManager[Any],
) -> _Features:
    """The features of ``x`` within a guard, and where they hold the images."""
    if len(seeds) == 1:
        watch = _Watch(len(x))
        with guard:
            maps, logits, _ = _run(network, state, x, seeds, watch=watch)
        if not watch.lost:
            maps = None if watch.positions else maps
            return _Features((logits if maps is None else maps).detach(), logits, maps is None)
    with observed(network, x, repeats=len(seeds), lenient=True) as observation, guard:
        maps, logits, done = _run(network, state, x, seeds, observation)
    images = len(x) // len(seeds)
    later = [o for o in observation.operations[done[0] :] if o.is_product]
    if maps is None or any(_has_positions(o.function, o.output, len(x)) for o in later) or observation.whole[done[1] :]:
        return _Features(logits.detach(), logits, True)
    found = _Features(maps.detach(), logits, False)
    if images == 1 and len(seeds) == 1:
        found.place = Placement(0, 1, len(maps))
    elif len(seeds) == 1 and not (mark_of(maps) == IMAGES and len(maps) == images):
        given, turned = (_without_dropout(network, state, own, seeds) for own in (x, x.roll(1, 0)))
        place = find_placement(given, turned, images)
        if place is None or place == NOWHERE:
            raise ScoreFailure("no place of the images was found in the last feature maps")
        found.place = place
    return found


def _without_dropout(network: nn.Module, state: Mapping[str, Tensor], x: Tensor, seeds: Sequence[int]) -> Tensor:
    with torch.no_grad(), observed(network, x, search=True):
        maps, logits, _ = _run(network, state, x, seeds)
    return logits if maps is None else maps.clone()


def _again(
    network: nn.Module, state: Mapping[str, Tensor], x: Tensor, seeds: Sequence[int], first: _Features
) -> Tensor:
    with torch.no_grad():
        maps, logits, _ = _run(network, state, x, seeds)
    return logits if first.are_logits or maps is None else maps


def _has_positions(function: str, output: Tensor, rows: int) -> bool:
    """Whether an operation gives more than one vector of channels for an image."""
    return output.numel() > rows * output.shape[1 if function in CONVOLUTIONS else -1]


class _Watch(TorchFunctionMode):
    """The cheap half of an observer, for networks in which every function leaves the images where they are.

    Attributes:
        lost: Whether something did not, or took weights in a way that only an observer tells.
        positions: Whether an operation gave something with positions after the last feature maps.
    """

    def __init__(self, rows: int):
        super().__init__()
        self._rows = rows
        self.lost = self.positions = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        output = func(*args, **kwargs)
        if name in ("conv2d", "linear"):
            self.positions = self.positions or _has_positions(name, output, self._rows)
        elif name not in _PLAIN:
            self.lost = self.lost or not keeps_images_apart(name, args, kwargs, output, self._rows)
        return output


def _run(
    network: nn.Module,
    state: Mapping[str, Tensor],
    x: Tensor,
    seeds: Sequence[int],
    observation: Observation | None = None,
    watch: _Watch | None = None,
) -> tuple[Tensor | None, Tensor, tuple[int, int]]:
    """The last feature maps, the logits, and how many operations were observed when the former were made."""
    last: list[Tensor] = []
    done = [(0, 0)]

    def keep(_: Any, __: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and output.shape[2:].numel() > 1:
            last[:] = [output]
            if observation is not None:
                done[0] = (len(observation.operations), len(observation.whole))
            if watch is not None:
                watch.positions = False

    leaves = [m for m in network.modules() if not any(m.children())]
    handles = [m.register_forward_hook(keep) for m in leaves]
    try:
        draws = own_generators(seeds[0], x.device)  # both passes draw the same dropout
        with draws, replaced_tensors(network, state), watch or nullcontext():
            logits = network(x.clone())
    finally:
        for handle in handles:
            handle.remove()
    return (last[0] if last else None), logits, done[0]


def _draws(
    network: nn.Module,
    inputs: Tensor,
    redrawn: Redrawn,
    images: int,
    seeds: Sequence[int],
    layout: torch.memory_format,
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Parameters, images and noise: each repeat draws as if it were alone, in that order."""
    stacked = len(seeds) > 1
    weights: dict[str, list[Tensor]] = {name: [] for name, _ in network.named_parameters() if name in redrawn.normal}
    drawn: list[Tensor] = []
    noise: list[Tensor] = []
    for seed in seeds:
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every device
        for name, value in network.named_parameters():
            if name in weights:
                weights[name].append(_normal(value[0] if stacked else value, layout))
        drawn.append(_normal(inputs[:1].expand(images, *inputs.shape[1:]), layout))
        noise.append(_normal(drawn[-1], layout))
    state: dict[str, Tensor] = {}
    for name, value in network.named_parameters():
        if name in weights:
            state[name] = torch.stack([w.contiguous() for w in weights[name]]) if stacked else weights[name][0]
        elif name in redrawn.zeros or name in redrawn.ones:
            state[name] = torch.full_like(value, float(name in redrawn.ones))
    return {name: value.requires_grad_() for name, value in state.items()}, in_turns(drawn), in_turns(noise)


def _normal(form: Tensor, layout: torch.memory_format) -> Tensor:
    """Draws from N(0, 1), shaped as ``form`` and where it is; drawn on the CPU, so that all devices get the same."""
    memory_format = layout if form.dim() == 4 else torch.contiguous_format
    dtype = torch.float32 if form.dtype == torch.float64 else form.dtype  # a float64 twin draws the same
    drawn = torch.empty_like(form, memory_format=memory_format, device="cpu", dtype=dtype).normal_()
    return drawn.to(form.device, form.dtype)
