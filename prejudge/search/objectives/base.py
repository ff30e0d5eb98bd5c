"""What a search maximizes, and what asking costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from prejudge.errors import InputError
from prejudge.spaces.base import Architecture, Space

if TYPE_CHECKING:
    import numpy as np


class Evaluation(NamedTuple):
    """One answer of an objective.

    Attributes:
        value: Higher is better; NaN where the evaluation failed, which never wins.
        seconds: What it cost: simulated training time of a table, wall-clock time of a live objective.
    """

    value: float
    seconds: float


class Objective(ABC):
    """What a search maximizes over a space.

    Attributes:
        space: The search space.
        schedules: Training epochs at which architectures can be evaluated, ascending; empty where there is no choice.
        device: Where networks are computed; None where there are none. It need only be where a search runs.
        live: Whether an evaluation takes long enough that it is worth sending to another process.
        draws: Whether evaluations draw random numbers.
    """

    space: Space[Any]
    schedules: tuple[int, ...] = ()
    device: str | None = None
    live: bool = True
    draws: bool = True

    @abstractmethod
    def evaluate(self, arch: Architecture, epochs: int | None, rng: np.random.Generator) -> Evaluation:
        """Evaluate an architecture.

        Args:
            arch: A member of the space.
            epochs: One of :attr:`schedules`; None is the objective's own, its longest.
            rng: For what is drawn at random, such as one of several training runs.

        Raises:
            InputError: The architecture cannot be evaluated here; the message says what is missing.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Plain values that say what is maximized, in which unit, and where it comes from; kept with the results."""

    def known(self, archs: Sequence[Architecture]) -> np.ndarray | None:
        """Values of these (or of their texts) on the objective's own schedule, where that takes no more than a look.

        Returns:
            Shape ``(len(archs),)``, a mean where answers are drawn from several runs, NaN where there is no value; None
            where values have to be computed.
        """
        return None

    def check_epochs(self, epochs: int | None) -> None:
        """Raise :class:`InputError` unless ``epochs`` is one of :attr:`schedules`."""
        if epochs is not None and epochs not in self.schedules:
            known = ", ".join(map(str, self.schedules)) or "none can be chosen"
            raise InputError(f"the objective has no schedule of {epochs} epochs ({known})")


class MappingObjective(Objective):
    """Values that are there already, by architecture text: cached scores, or anything else that was computed before.

    Args:
        space: The search space.
        values: Value of each architecture text; NaN where it failed.
        seconds: What asking for one costs.
        what: For :meth:`describe`.
        remedy: What to do about an architecture without a value, for the message.
    """

    live = False
    draws = False

    def __init__(
        self,
        space: Space[Any],
        values: Mapping[str, float],
        *,
        seconds: float = 0.0,
        what: Mapping[str, Any] | None = None,
        remedy: str = "compute it first",
    ) -> None:
        self.space = space
        self.values = values
        self.seconds = seconds
        self._what = dict(what or {})
        self._remedy = remedy

    def evaluate(self, arch: Architecture, epochs: int | None, rng: np.random.Generator) -> Evaluation:
        self.check_epochs(epochs)
        value = self.values.get(str(arch))
        if value is None:
            raise InputError(f"there is no value of {arch} among {len(self.values):,}; {self._remedy}")
        return Evaluation(value, self.seconds)

    def known(self, archs: Sequence[Architecture]) -> np.ndarray | None:
        import numpy as np

        return np.array([self.values.get(str(arch), np.nan) for arch in archs], dtype=float)

    def describe(self) -> dict[str, Any]:
        return self._what
