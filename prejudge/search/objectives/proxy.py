"""A training-free score of untrained networks as an objective, in wall-clock seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from prejudge.data.dataset import ImageDataset
from prejudge.errors import InputError
from prejudge.search.objectives.base import Evaluation, Objective
from prejudge.search.objectives.networks import check_seed, complete_macro
from prejudge.spaces.base import Architecture, Space

if TYPE_CHECKING:
    import numpy as np

    from prejudge.data.probe_batch import Batch
    from prejudge.proxies.registry import ProxyRequest


class ProxyObjective(Objective):
    """A training-free score of an untrained network; where lower is better, its sign is turned.

    Args:
        space: The search space.
        data: The images that the batch is drawn from.
        proxy: ``NAME``, ``NAME(option=value)`` or ``FILE.py:NAME``.
        macro: Fields of the macro-architecture other than the space's defaults; classes and channels follow the data.
        batch_size: Images of the batch.
        seed: Of weights and batch, which are the same for every architecture.
        device: Where to score.

    Raises:
        InputError: The proxy or a macro field is unknown, or the batch is too small or too large.
    """

    device: str

    def __init__(
        self,
        space: Space[Any],
        data: ImageDataset,
        proxy: str,
        *,
        macro: Mapping[str, Any] | None = None,
        batch_size: int = 64,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        from prejudge.proxies.registry import resolve

        self.space = space
        self._data, self._proxy, self._batch_size = data, proxy, batch_size
        self._seed, self.device = seed, device
        self._macro = complete_macro(space, data, macro)
        (request,) = resolve([proxy])
        self._column, chosen = str(request), request.proxy
        self._source = chosen.definition
        self._sign = 1.0 if chosen.higher_is_better else -1.0
        if not chosen.min_batch <= batch_size <= len(data):
            raise InputError(
                f"{chosen.name} needs a batch of {chosen.min_batch} to {len(data)} images of {data.name}, "
                f"not {batch_size}"
            )
        check_seed(seed)

    def evaluate(self, arch: Architecture, epochs: int | None, rng: np.random.Generator) -> Evaluation:
        from prejudge.engine.random_state import own_generators
        from prejudge.engine.torch_state import standard_torch_state
        from prejudge.proxies.scoring import score

        self.check_epochs(epochs)
        batch, start = self._batch, time.perf_counter()
        with standard_torch_state(self.device), own_generators(self._seed):
            network = self.space.network(arch, **self._macro)
        found = score(
            network, batch.inputs, batch.targets, [self._request], device=self.device, seed=self._seed
        )[self._column]  # fmt: skip
        value = self._sign * float(found) if found.ok else math.nan
        return Evaluation(value, time.perf_counter() - start)

    def describe(self) -> dict[str, Any]:
        return {
            "proxy": self._column,
            **({"source": self._source} if self._source else {}),
            "turned": self._sign < 0,
            "data": self._data.name,
            "images": self._data.digest,
            "batch size": self._batch_size,
            "macro": self._macro,
            "seed": self._seed,
        }

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_request"}  # a worker reads it anew

    @cached_property
    def _request(self) -> ProxyRequest:
        from prejudge.proxies.registry import resolve_unchanged

        return resolve_unchanged(self._proxy, self._source)

    @cached_property
    def _batch(self) -> Batch:
        from prejudge.data.probe_batch import batch

        return batch(self._data, self._batch_size, seed=self._seed)
