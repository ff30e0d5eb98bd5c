"""The decisions of DARTS-PT in their order: operations by what their removal costs, then edges likewise.

A projection draws an undecided edge of each kind of cell, and fixes on it the operation without which the supernet is
worst. In the DARTS spaces, once all edges have one operation, a projection draws a node with more than two edges and
removes, one after the other, the edge without which the supernet is best, until two are left. This module knows no
network: it asks what a removal costs (Wang et al., ICLR 2021, arXiv:2108.04392; ruocwang/darts-pt).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from prejudge.errors import unknown
from prejudge.spaces.darts.candidates import EDGES
from prejudge.spaces.darts.genotype import CELLS

UNDECIDED = -1
"""An edge that still has all its operations."""

CUT = -2
"""An edge that has been removed."""

CRITERIA = ("acc", "loss")
"""The measure of a supernet: its accuracy, or its loss."""

KEPT = 2
"""Edges that a node keeps."""

Candidates = Mapping[str, Sequence[Sequence[str]]]


class Removal(NamedTuple):
    """An operation or edge that is taken out of all cells of a kind; the weights of what stays do not change.

    Attributes:
        kind: Of the cells.
        edge: From 0.
        position: The operation among the edge's candidates; None for the whole edge.
    """

    kind: str
    edge: int
    position: int | None = None


class HeldOutScore(NamedTuple):
    """Accuracy and loss of a supernet on held-out images.

    Attributes:
        accuracy: Per cent.
        loss: Mean cross-entropy.
    """

    accuracy: float
    loss: float


Evaluate = Callable[[Sequence[Removal]], Sequence[HeldOutScore]]
"""Scores of the supernet without each of these alone."""


@dataclass(frozen=True)
class ProjectionDecision:
    """One decision, with what it was made from.

    Attributes:
        kind: Of the cells.
        what: ``"operation"`` or ``"edges"``.
        place: The edge that got its operation, or the node (from 0) that got its edges.
        chosen: The operation's position, or the edges that stay.
        scores: Of every removal that was tried, (per cent, loss); of edges round by round.
    """

    kind: str
    what: str
    place: int
    chosen: tuple[int, ...]
    scores: tuple[tuple[HeldOutScore, ...], ...]

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        scores = [[list(score) for score in tried] for tried in self.scores]
        return {**asdict(self), "chosen": list(self.chosen), "scores": scores}


class EdgeProjection:
    """The decisions so far, and the next one.

    Args:
        candidates: Operations of every edge, by the kind of cell; kinds take turns in this order.
        criteria: One of :data:`CRITERIA` by the kind of cell, and for ``"edge"`` where edges are removed.
        seed: Of the order of edges and nodes, which is drawn as NumPy's global generator draws it in the original.

    Attributes:
        choices: By the kind of cell, for every edge the position of its operation, :data:`UNDECIDED` or :data:`CUT`.
        decisions: In order.

    Raises:
        InputError: A criterion is unknown.
    """

    def __init__(self, candidates: Candidates, *, criteria: Mapping[str, str] | None = None, seed: int = 0) -> None:
        self.criteria = dict.fromkeys((*candidates, "edge"), CRITERIA[0]) | dict(criteria or {})
        for criterion in self.criteria.values():
            if criterion not in CRITERIA:
                raise unknown("criterion", criterion, CRITERIA)
        self.candidates = candidates
        self.choices = {kind: [UNDECIDED] * len(edges) for kind, edges in candidates.items()}
        self.decisions: list[ProjectionDecision] = []
        self._nodes = _crowded_nodes() if set(candidates) == set(CELLS) else {}
        self._random = np.random.RandomState(seed)

    @property
    def rounds(self) -> int:
        """Number of decisions of each kind of cell."""
        return len(next(iter(self.choices.values()))) + len(self._nodes)

    @property
    def operations_decided(self) -> bool:
        """Whether no edge has more than one operation left."""
        return all(UNDECIDED not in choices for choices in self.choices.values())

    @property
    def evaluations(self) -> int:
        """Removals that were tried so far."""
        return sum(len(tried) for decision in self.decisions for tried in decision.scores)

    def decide(self, evaluate: Evaluate) -> ProjectionDecision:
        """Make the next decision; to be called :attr:`rounds` times for each kind of cell.

        Args:
            evaluate: Scores removals from the supernet as decided so far.
        """
        kind = list(self.choices)[len(self.decisions) % len(self.choices)]
        decide = self._edges if UNDECIDED not in self.choices[kind] else self._operation
        self.decisions.append(decide(kind, evaluate))
        return self.decisions[-1]

    def _operation(self, kind: str, evaluate: Evaluate) -> ProjectionDecision:
        choices = self.choices[kind]
        edge = self._draw([number for number, choice in enumerate(choices) if choice == UNDECIDED])
        names = self.candidates[kind][edge]
        scores = tuple(evaluate([Removal(kind, edge, position) for position in range(len(names))]))
        values = [_value(score, self.criteria[kind]) for score in scores]
        choices[edge] = values.index(min(values))  # of equals the first
        return ProjectionDecision(kind, "operation", edge, (choices[edge],), (scores,))

    def _edges(self, kind: str, evaluate: Evaluate) -> ProjectionDecision:
        decided = {decision.place for decision in self.decisions if (decision.kind, decision.what) == (kind, "edges")}
        node = self._draw([node for node in self._nodes if node not in decided])
        left = list(self._nodes[node])
        rounds = []
        while len(left) > KEPT:
            # As in the original, what a round removes is back in the next round's supernets.
            scores = tuple(evaluate([Removal(kind, edge) for edge in left]))
            rounds.append(scores)
            values = [_value(score, self.criteria["edge"]) for score in scores]
            del left[len(values) - 1 - values[::-1].index(max(values))]  # of equals the last
        for edge in self._nodes[node]:
            if edge not in left:
                self.choices[kind][edge] = CUT
        return ProjectionDecision(kind, "edges", node, tuple(left), tuple(rounds))

    def _draw(self, from_: Sequence[int]) -> int:
        return int(self._random.choice(from_, size=1)[0])

    def state_dict(self) -> dict[str, Any]:
        """Decisions and random numbers, as plain values."""
        drawn: Any = self._random.get_state(legacy=False)
        return {
            "choices": {kind: list(choices) for kind, choices in self.choices.items()},
            "decisions": [decision.as_dict() for decision in self.decisions],
            "random": [drawn["state"]["key"].tolist(), int(drawn["state"]["pos"])],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state_dict` gave."""
        self.choices = {kind: list(choices) for kind, choices in state["choices"].items()}
        self.decisions = [_decision(**values) for values in state["decisions"]]
        keys, position = state["random"]
        self._random.set_state(("MT19937", np.array(keys, dtype=np.uint32), position, 0, 0.0))


def _value(score: HeldOutScore, criterion: str) -> float:
    """Larger for a better supernet; one whose loss is not a number is the worst."""
    value = score.accuracy if criterion == "acc" else -score.loss
    return -np.inf if np.isnan(value) else value


def _decision(scores: Any, chosen: Any, **values: Any) -> ProjectionDecision:
    rounds = tuple(tuple(HeldOutScore(*score) for score in tried) for tried in scores)
    return ProjectionDecision(**values, chosen=tuple(chosen), scores=rounds)


def _crowded_nodes() -> dict[int, list[int]]:
    """The edges of every node of a DARTS cell that has more than it keeps."""
    entering: dict[int, list[int]] = {}
    for edge, (node, _) in enumerate(EDGES):
        entering.setdefault(node, []).append(edge)
    return {node: edges for node, edges in entering.items() if len(edges) > KEPT}


def projection_epochs(rounds: int, tune_epochs: int, *, thinning: bool) -> tuple[int, ...]:
    """At the start of which epochs (from 0) the rounds are; one epoch follows the last.

    Args:
        rounds: How many there are.
        tune_epochs: Epochs between two of them.
        thinning: Whether the last rounds remove edges, as in the DARTS spaces. Where they do not, the original makes
            the last one an epoch earlier.
    """
    *before, last = (number * tune_epochs for number in range(rounds))
    earlier = not thinning and tune_epochs > 1
    return *before, last - earlier
