"""BOHB: Hyperband whose architectures come from densities of good and bad ones (Falkner et al., ICML 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np

from prejudge.errors import InputError, unknown
from prejudge.search.protocol import Questions, SearchContext
from prejudge.search.query.successive_halving import hyperband_races, rungs
from prejudge.search.registry import search_method
from prejudge.spaces.base import Architecture

KERNELS = ("bounded", "statsmodels")


@search_method(
    "bohb",
    reference="Falkner et al., ICML 2018 (arXiv:1807.01774), as hpbandster, set as Dong & Yang, ICLR 2020 "
    "(arXiv:2001.00326)",
)
def bohb(
    search: SearchContext,
    eta: int = 3,
    min_epochs: int = 1,
    max_epochs: int = 0,
    num_samples: int = 4,
    random_fraction: float = 0.0,
    min_bandwidth: float = 0.3,
    top_percent: int = 15,
    kernel: str = "bounded",
    ignore_epochs: bool = False,
) -> Questions:
    """Hyperband that prefers what is more likely among the best results so far than among the others.

    hpbandster's ``bandwidth_factor`` is not here: it widens continuous parameters only, and there are none.

    Args:
        search: The context.
        eta: As in Hyperband.
        min_epochs: No schedule is shorter.
        max_epochs: No schedule is longer; 0 for the objective's longest.
        num_samples: Candidates of which the one with the best density ratio is taken.
        random_fraction: Probability of a random architecture in place of one from the model.
        min_bandwidth: Smallest bandwidth of the kernels, to keep diversity.
        top_percent: Share of the results that counts as good.
        kernel: ``"bounded"``; or ``"statsmodels"``, the one that hpbandster calls, with two faults: bandwidths may be
            wider than flat, up to negative densities, and an option that is not in the data counts as non-existent.
            The published figures, below those of random search, come from them.
        ignore_epochs: Evaluate every rung by the objective's own schedule; the ones that are promoted are asked, and
            paid, again. So did the script of NAS-Bench-201's paper, on three rungs (1 to 12 epochs); with
            ``min_epochs=12`` there is one rung, and what remains is a search by the densities alone.

    Raises:
        InputError: The objective has fewer than two schedules in this range, or an option is out of range.
    """
    if num_samples < 1 or not 0 <= random_fraction <= 1 or not 0 < min_bandwidth < 1 or not 0 < top_percent < 100:
        raise InputError(
            "bohb: num_samples must be positive, random_fraction in [0, 1], min_bandwidth in (0, 1), top_percent in "
            f"1..99; not {num_samples}, {random_fraction}, {min_bandwidth}, {top_percent}"
        )
    if kernel not in KERNELS:
        raise unknown("kernel of bohb", kernel, KERNELS)
    epochs: tuple[int | None, ...]
    if ignore_epochs:
        epochs = (None,) * len(rungs(range(1, (max_epochs or 12) + 1), eta, min_epochs, max_epochs, least=1))
    else:
        epochs = rungs(search.schedules, eta, min_epochs, max_epochs)
    space, rng = search.space, search.rng
    seen = [Observations(space.choices, min_bandwidth, top_percent, kernel) for _ in epochs]

    def propose() -> Architecture:
        model = next((model for results in reversed(seen) if (model := results.model()) is not None), None)
        if model is not None and (random_fraction == 0 or rng.random() >= random_fraction):
            for decisions in model.candidates(num_samples, rng):
                arch = space.decode(decisions.tolist())
                if arch is not None:
                    return cast(Architecture, arch)
        return cast(Architecture, space.sample(rng))

    def tell(rung: int, arch: Architecture, value: float) -> None:
        seen[rung].add(space.encode(arch), value)

    return (yield from hyperband_races(epochs, eta, propose, tell))


class Observations:
    """The results of one rung, and the model that they make.

    Args:
        choices: Number of options of each decision.
        min_bandwidth: Smallest bandwidth of a kernel.
        top_percent: Share of the results that counts as good.
        kernel: One of :data:`KERNELS`.
    """

    def __init__(
        self, choices: tuple[int, ...], min_bandwidth: float, top_percent: int, kernel: str = "bounded"
    ) -> None:
        self._choices = np.array(choices)
        self._min_bandwidth = min_bandwidth
        self._top_percent = top_percent
        self._kernel = kernel
        self._decisions: list[tuple[int, ...]] = []
        self._losses: list[float] = []
        self._model: DensityRatio | None = None
        self._fitted = 0

    def add(self, decisions: tuple[int, ...], value: float) -> None:
        """One more result; what failed (NaN) is among the worst."""
        self._decisions.append(decisions)
        self._losses.append(-value if value == value else math.inf)

    def model(self) -> DensityRatio | None:
        """The densities of the best and of the other results; None while either are not more than the decisions."""
        count = len(self._losses)
        least = len(self._choices) + 1
        good = max(least, self._top_percent * count // 100)
        if count - good >= least and count > self._fitted:
            self._fitted = count
            order = np.argsort(self._losses, kind="stable")
            data = np.array(self._decisions)[order]
            bad = max(least, (100 - self._top_percent) * count // 100)
            self._model = DensityRatio(
                Density.fit(data[:good], self._choices, self._min_bandwidth, self._kernel),
                Density.fit(data[good : good + bad], self._choices, self._min_bandwidth, self._kernel),
            )
        return self._model


@dataclass(frozen=True)
class Density:
    """A product of categorical kernels (Aitchison & Aitken, 1976) at each of some decisions.

    A kernel gives ``1 - h`` to its own option and shares ``h`` among the others.

    Attributes:
        data: Decisions, shape ``(n, decisions)``.
        bandwidth: ``h`` of each decision, shape ``(decisions,)``.
        choices: Number of options of each decision.
        levels: How many options the kernel knows of.
    """

    data: np.ndarray
    bandwidth: np.ndarray
    choices: np.ndarray
    levels: np.ndarray

    @classmethod
    def fit(cls, data: np.ndarray, choices: np.ndarray, least: float, kernel: str = "bounded") -> Density:
        """Bandwidths by the normal-reference rule over the numbers of the options, as hpbandster has it.

        A bounded kernel is at most flat, ``h = 1 - 1/choices``.
        """
        count, decisions = data.shape
        bandwidth = np.maximum(1.06 * data.std(axis=0) * count ** (-1 / (4 + decisions)), least)
        if kernel == "bounded":
            return cls(data, np.minimum(bandwidth, 1 - 1 / choices), choices, choices)
        return cls(data, bandwidth, choices, np.array([len(set(column)) for column in data.T.tolist()]))

    def __call__(self, decisions: np.ndarray) -> np.ndarray:
        """Densities of decisions ``(m, decisions)``, shape ``(m,)``; infinite where a kernel knows one option only."""
        with np.errstate(divide="ignore", invalid="ignore"):
            other = self.bandwidth / (self.levels - 1)
        same = decisions[:, None, :] == self.data[None, :, :]
        result: np.ndarray = np.where(same, 1 - self.bandwidth, other).prod(axis=2).mean(axis=1)
        return result

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Members of the data, shape ``(count, decisions)``, each decision drawn anew with this probability."""
        chosen = self.data[rng.integers(len(self.data), size=count)]
        anew = rng.random(chosen.shape) < self.bandwidth
        return np.where(anew, rng.integers(self.choices, size=chosen.shape), chosen)


@dataclass(frozen=True)
class DensityRatio:
    """What good results look like, and the others."""

    good: Density
    bad: Density

    def candidates(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draws of the good density, the best ratio of densities first, shape ``(count, decisions)``."""
        drawn = self.good.draw(count, rng)
        with np.errstate(divide="ignore", invalid="ignore"):
            good, bad = self.good(drawn), self.bad(drawn)
            ratio = np.maximum(bad, 1e-32) / np.maximum(good, 1e-32)
        # What only the bad density finds infinite holds an option that no bad result had: hpbandster takes it at once.
        at_once = np.isfinite(good) & ~np.isfinite(ratio)
        return drawn[np.argsort(np.where(at_once, -np.inf, ratio), kind="stable")]
