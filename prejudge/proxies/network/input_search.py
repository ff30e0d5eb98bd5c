"""The search for the images and the tokens in a batch of several inputs, by forward passes of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from prejudge.errors import InputError
from prejudge.proxies.network.batch import InputBatch
from prejudge.proxies.network.call_adapter import CallAdapter, Key, Lookup, TokenWatch, logits_in, run_network
from prejudge.proxies.network.placement import IMAGES_FIRST, NOWHERE, Placement, find_placement


def adapt(
    network: nn.Module, batch: InputBatch, undisturbed: Callable[[], AbstractContextManager[None]]
) -> CallAdapter:
    """The adapter for a network and a batch.

    Each of several inputs may hold the images in any dimension of that size, or in none. It is the one in which a
    change of one image changes the logits of that image alone. With every image in the place of the next one the logits
    must have moved likewise; that tells the places in what is looked up, too.

    Args:
        network: A private copy.
        batch: On the device.
        undisturbed: Makes the context of a pass, in which random draws are always the same ones.

    Raises:
        InputError: The network cannot take the batch, or its logits do not move with the images.
    """
    if batch.plain:
        return CallAdapter(batch, {0: IMAGES_FIRST})
    search = _Search(network, batch, undisturbed)
    if batch.images == 1:
        places = {key: IMAGES_FIRST if value.shape[:1] == (1,) else NOWHERE for key, value in search.tensors.items()}
        _, lookups = search.run(places)
        return search.adapter(places, lookups, lookups)
    logits, lookups = search.run({})
    first = {key: next(iter(_candidates(value, batch.images)), NOWHERE) for key, value in search.tensors.items()}
    apart = first if len(first) == 1 else {key: search.place_of(key, logits) for key in first}
    for places in (apart, first):  # where images depend on each other, none can be told apart
        if all(place == NOWHERE for place in places.values()):
            continue
        moved, others = search.run(places, torch.arange(batch.images).roll(1))
        if len(others) == len(lookups) and _moved(logits, moved, batch.images):
            return search.adapter(places, lookups, others)
    names = ", ".join(f"{key} {tuple(value.shape)}" for key, value in search.tensors.items())
    raise InputError(f"the logits do not move with the images of {names}; give each input with the batch first")


def _candidates(value: Tensor, images: int) -> list[Placement]:
    return [Placement(dim) for dim, size in enumerate(value.shape) if size == images]


def _moved(logits: Tensor, moved: Tensor, images: int) -> bool:
    if not bool(torch.isfinite(logits).all()):
        return True
    return find_placement(logits, moved, images) in (IMAGES_FIRST, NOWHERE)


class _Search:
    def __init__(self, network: nn.Module, batch: InputBatch, undisturbed: Callable[[], AbstractContextManager[None]]):
        self._network, self._batch, self._undisturbed = network, batch, undisturbed
        self.tensors = {key: value for key, value in batch.entries.items() if isinstance(value, Tensor)}
        self._tokens = [key for key, value in self.tensors.items() if value.dtype in (torch.int32, torch.int64)]

    def run(self, places: Mapping[Key, Placement], order: Tensor | None = None) -> tuple[Tensor, list[Lookup]]:
        """Logits and lookups, with the images in another order in all inputs that hold them in known places."""
        adapter = CallAdapter(self._batch, {key: places.get(key, NOWHERE) for key in self.tensors}, self._tokens)
        adapter.order = order
        args, kwargs = adapter.arguments()
        self._network.eval()  # no dropout, which does not move with the images
        try:
            with self._undisturbed(), torch.no_grad(), TokenWatch() as watch:
                device = self._batch.example.device
                output = run_network(self._network, args, kwargs, adapter.description, device)
        finally:
            self._network.train()
        return logits_in(output, self._batch.images)[0], watch.lookups

    def place_of(self, key: Key, logits: Tensor) -> Placement:
        """Where an input holds the images: changed in one of them, it changes the logits of no other."""
        for place in _candidates(self.tensors[key], self._batch.images):
            order = torch.arange(self._batch.images)
            order[0] = 1
            changed, _ = self.run({key: place}, order)
            tolerance = 1e-4 * float(logits.abs().max())
            if not bool(((changed - logits)[1:].abs() > tolerance).any()):
                return place
        return NOWHERE

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
