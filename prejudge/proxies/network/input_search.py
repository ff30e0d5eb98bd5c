"""The search for the images and the tokens in a batch of several inputs, by forward passes of the network."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from prejudge.errors import InputError
from prejudge.proxies.network.batch import InputBatch
from prejudge.proxies.network.call_adapter import CallAdapter, Key, Lookup, TokenWatch, logits_in, run_network
from prejudge.proxies.network.placement import IMAGES_FIRST, NOWHERE, Placement, find_placement

_MOST_TRIALS = 16


def adapt(
    network: nn.Module, batch: InputBatch, undisturbed: Callable[[], AbstractContextManager[None]]
) -> CallAdapter:
    """The adapter for a network and a batch.

    Where an input may hold the images in several dimensions, or in none, two forward passes tell, the second with every
    image in the place of the next one: its logits must have moved with them.

    Args:
        network: A private copy.
        batch: On the device.
        undisturbed: Makes the context of a pass, in which random draws are always the same ones.

    Raises:
        InputError: The network cannot take the batch, or its logits do not move with the images.
    """
    if batch.plain:
        return CallAdapter(batch, {0: IMAGES_FIRST})
    tensors = {key: value for key, value in batch.entries.items() if isinstance(value, Tensor)}
    forms = [_candidates(value, batch.images) for value in tensors.values()]
    trials = [
        dict(zip(tensors, form, strict=True)) for form in itertools.islice(itertools.product(*forms), _MOST_TRIALS)
    ]
    integers = [key for key, value in tensors.items() if value.dtype in (torch.int32, torch.int64)]
    if len(trials) == 1 and not integers:
        return CallAdapter(batch, trials[0])
    search = _Search(network, batch, integers, undisturbed)
    logits, lookups = search.run(trials[0], 0)
    if batch.images == 1:
        return search.adapter(trials[0], lookups, lookups)
    for places in trials:
        moved, others = search.run(places, 1)
        if len(others) == len(lookups) and _moved(logits, moved, batch.images):
            return search.adapter(places, lookups, others)
    names = ", ".join(f"{key} {tuple(value.shape)}" for key, value in tensors.items())
    raise InputError(
        f"the logits do not move with the images of the inputs ({names}); give each input with the batch first"
    )


def _candidates(value: Tensor, images: int) -> list[Placement]:
    dims = [dim for dim, size in enumerate(value.shape) if size == images]
    if images == 1:
        return [IMAGES_FIRST if dims[:1] == [0] else NOWHERE]
    return [*map(Placement, dims), NOWHERE]


def _moved(logits: Tensor, moved: Tensor, images: int) -> bool:
    if not bool(torch.isfinite(logits).all()):
        return True
    return find_placement(logits, moved, images) in (IMAGES_FIRST, NOWHERE)


class _Search:
    def __init__(
        self,
        network: nn.Module,
        batch: InputBatch,
        tokens: Sequence[Key],
        undisturbed: Callable[[], AbstractContextManager[None]],
    ):
        self._network, self._batch, self._tokens, self._undisturbed = network, batch, tokens, undisturbed

    def run(self, places: Mapping[Key, Placement], turn: int) -> tuple[Tensor, list[Lookup]]:
        """Logits and lookups, with every image moved by ``turn`` places."""
        adapter = CallAdapter(self._batch, places, self._tokens)
        adapter.turn = turn
        args, kwargs = adapter.arguments()
        self._network.eval()  # no dropout, which does not move with the images
        try:
            with self._undisturbed(), torch.no_grad(), TokenWatch() as watch:
                device = self._batch.example.device
                output = run_network(self._network, args, kwargs, adapter.description, device)
        finally:
            self._network.train()
        return logits_in(output, self._batch.images)[0], watch.lookups

    def adapter(self, places: Mapping[Key, Placement], given: list[Lookup], turned: list[Lookup]) -> CallAdapter:
        """The adapter that differentiates at the lookups of one input's tokens."""
        looked_up = [lookup.tokens for lookup in given if lookup.in_table]
        tokens = next((key for key in ("input_ids", *self._tokens) if key in looked_up), None)
        found: dict[int, tuple[Placement, Tensor]] = {}
        pairs = ((a, b) for a, b in zip(given, turned, strict=True) if a.tokens == tokens)
        for number, (one, other) in enumerate(pairs, 1):
            if one.in_table:
                found[number] = _place(one.output, other.output, self._batch.images), one.output
        return CallAdapter(self._batch, places, self._tokens if tokens is None else (tokens,), found)


def _place(given: Tensor, turned: Tensor, images: int) -> Placement:
    place = find_placement(given, turned, images) if images > 1 else NOWHERE
    if place is None or place == NOWHERE:  # the tokens of all images are alike
        place = IMAGES_FIRST if len(given) == images else Placement(0, 1, max(1, len(given) // images))
    return place
