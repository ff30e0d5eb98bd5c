"""What searches found: what they recommend, and every step that led there, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from prejudge.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One run of a search method, from one seed.

    Attributes:
        seed: The seed.
        recommendation: Text of the architecture that the method recommends.
        architectures: Text of each evaluated architecture, in order.
        epochs: Schedule of each evaluation, 0 where there is none to choose, shape ``(steps,)``.
        values: What the objective said, higher is better, NaN where it failed, shape ``(steps,)``.
        seconds: What each evaluation cost (simulated for a table), shape ``(steps,)``.
        overhead: Wall-clock seconds of the method itself, without the evaluations.
        metadata: What else the method says about this run, as plain values.
    """

    seed: int
    recommendation: str
    architectures: list[str]
    epochs: np.ndarray
    values: np.ndarray
    seconds: np.ndarray
    overhead: float
    metadata: dict[str, Any] = field(default_factory=dict)

    def incumbents(self) -> np.ndarray:
        """Step of the best architecture after each step: longest schedule first, then highest value; -1 before any.

        Returns:
            Shape ``(steps,)``.
        """
        found = np.empty(len(self.values), dtype=np.intp)
        best = -1
        for i, (epochs, value) in enumerate(zip(self.epochs.tolist(), self.values.tolist(), strict=True)):
            if value == value and (best < 0 or (epochs, value) > (self.epochs[best], self.values[best])):
                best = i
            found[i] = best
        return found


@dataclass(frozen=True, eq=False)
class SearchResult:
    """Runs of one method with the same options on the same objective.

    Attributes:
        method: Name of the method.
        options: Its options.
        space: Name of the search space.
        objective: What was maximized, as :meth:`Objective.describe` says.
        budget: How much each run might ask.
        trajectories: The runs.
        provenance: Versions, machine and date.
    """

    method: str
    options: dict[str, Any]
    space: str
    objective: dict[str, Any]
    budget: dict[str, Any]
    trajectories: list[Trajectory]
    provenance: dict[str, str] = field(default_factory=dict)

    @property
    def architectures(self) -> list[str]:
        """Text of the architecture that each run recommends."""
        return [run.recommendation for run in self.trajectories]

    @property
    def best(self) -> str:
        """Text of the architecture that :attr:`best_run` recommends."""
        return self.best_run.recommendation

    @property
    def best_run(self) -> Trajectory:
        """The run that has found the highest value; of equals the first."""

        def value(run: Trajectory) -> float:
            last = int(run.incumbents()[-1]) if len(run.values) else -1
            return float(run.values[last]) if last >= 0 else -np.inf

        return max(self.trajectories, key=value)

    def run(self, seed: int) -> Trajectory:
        """The run from a seed; raises :class:`InputError` where there is none."""
        for trajectory in self.trajectories:
            if trajectory.seed == seed:
                return trajectory
        known = ", ".join(str(trajectory.seed) for trajectory in self.trajectories)
        raise InputError(f"the search has no run from seed {seed} (it has: {known})")

    def frame(self) -> pd.DataFrame:
        """Every step of every run: one row each, with ``seed, step, architecture, epochs, value, seconds``."""
        import pandas as pd

        columns = ("architectures", "epochs", "values", "seconds")
        names = ("architecture", "epochs", "value", "seconds")
        parts = [
            {"seed": run.seed, "step": np.arange(len(run.values))}
            | {name: getattr(run, column) for name, column in zip(names, columns, strict=True)}
            for run in self.trajectories
        ]
        return pd.concat(map(pd.DataFrame, parts), ignore_index=True)

    def __repr__(self) -> str:
        steps = sum(len(run.values) for run in self.trajectories)
        return (
            f"<search with {self.method} in {self.space}: {len(self.trajectories)} runs of {steps:,} steps together, "
            f"best {self.best}>"
        )
