"""NATS-Bench's size space: 32,768 networks of one cell (Dong et al., TPAMI 2021, arXiv:2009.00437).

Five stages (cell, reduction, cell, reduction, cell) have 8, 16, … or 64 channels each; the cell is the same everywhere.
The index order is the official one: the product of the widths, the last one fastest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from prejudge.errors import InputError, quoted
from prejudge.formats.text import whole_number
from prejudge.spaces.base import EnumerableSpace, register_space
from prejudge.spaces.cell_graph import CellGraph
from prejudge.spaces.nats_size.widths import STAGES, WIDTHS, MacroConfigSize, StageWidths, read_widths

if TYPE_CHECKING:
    import torch

__all__ = ["WIDTHS", "MacroConfigSize", "NATSSize", "StageWidths"]

_REDUCTIONS = (1, 3)
"""The stages that are reductions."""


class NATSSize(EnumerableSpace[StageWidths]):
    """The space of all 32,768 choices of five widths, in the official index order."""

    name = "nats-size"
    macro_type: ClassVar[type] = MacroConfigSize

    def parse(self, text: Any, *, notation: str | None = None) -> StageWidths:
        """Read an architecture.

        Args:
            text: A :class:`StageWidths`, an official index, or any notation of
                :func:`~prejudge.spaces.nats_size.widths.read_widths`: ``"8:8:8:16:32"``, five numbers, a configuration.
            notation: None: five widths have one meaning.

        Raises:
            InputError: It is none of these.
        """
        self.check_notation(notation)
        if isinstance(text, StageWidths):
            return text
        index = whole_number(text) if isinstance(text, str) else text
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            return self[int(index)]
        return read_widths(text)

    def sample(self, rng: np.random.Generator) -> StageWidths:
        """A uniform width of each stage."""
        return self.decode(rng.integers(len(WIDTHS), size=STAGES).tolist())

    def mutate(self, arch: StageWidths, rng: np.random.Generator) -> StageWidths:
        """AutoDL-Projects' mutation: a uniform stage, a uniform other width."""
        codes = list(self.encode(arch))
        stage = int(rng.integers(STAGES))
        codes[stage] = (codes[stage] + int(rng.integers(1, len(WIDTHS)))) % len(WIDTHS)
        return self.decode(codes)

    def neighbors(self, arch: StageWidths) -> list[StageWidths]:
        """The 35 architectures that differ in one width."""
        return [
            StageWidths((*arch.channels[:stage], width, *arch.channels[stage + 1 :]))
            for stage in range(STAGES)
            for width in WIDTHS
            if width != arch.channels[stage]
        ]

    def canonical(self, arch: StageWidths) -> str:
        """The text: no two choices of widths are the same network."""
        return str(arch)

    def representative(self, arch: StageWidths) -> StageWidths:
        return arch

    def connected(self, arch: StageWidths) -> bool:
        """Always true."""
        return True

    def network(self, arch: StageWidths, **macro: Any) -> torch.nn.Module:
        from prejudge.spaces.nats_size.network import NetworkSize

        return NetworkSize(self.parse(arch), self.macro(**macro))

    def graphs(self, arch: StageWidths) -> dict[str, CellGraph]:
        """The chain of stages with their widths; the cell is the same in all networks."""
        stages = [f"{'reduction' if i in _REDUCTIONS else 'cell'} {c}" for i, c in enumerate(arch.channels)]
        vertices = ("images", f"stem {arch.channels[0]}", *stages, "classifier")
        return {"network": CellGraph(vertices, tuple((i, i + 1, "") for i in range(len(vertices) - 1)))}

    def params(self, arch: StageWidths, **macro: Any) -> int:
        s = self.macro(**macro)
        first, last = arch.channels[0], arch.channels[-1]
        total = (9 * s.in_channels + 2) * first + 2 * last + (last + 1) * s.num_classes
        for stage, (a, b) in enumerate(self._steps(arch)):
            total += _weights(stage, a, b)
            total += 4 * b if stage in _REDUCTIONS else 10 * b + (2 * b if a != b else 0)  # of batch norms
        return int(total)

    def flops(self, arch: StageWidths, image_size: int = 32, **macro: Any) -> int:
        s = self.macro(**macro)
        side = image_size
        total = 9 * s.in_channels * arch.channels[0] * side * side
        for stage, (a, b) in enumerate(self._steps(arch)):
            side = (side + 1) // 2 if stage in _REDUCTIONS else side
            total += _weights(stage, a, b) * side * side
        return int(total + (arch.channels[-1] + 1) * s.num_classes)

    @staticmethod
    def _steps(arch: StageWidths) -> Iterator[tuple[int, int]]:
        """Channels into and out of each stage."""
        return zip((arch.channels[0], *arch.channels), arch.channels, strict=False)

    @property
    def choices(self) -> tuple[int, ...]:
        """Eight widths of each of the five stages."""
        return (len(WIDTHS),) * STAGES

    def encode(self, arch: StageWidths) -> tuple[int, ...]:
        return tuple(width // WIDTHS[0] - 1 for width in arch.channels)

    def decode(self, decisions: Sequence[int]) -> StageWidths:
        """The architecture with these widths; never None."""
        return StageWidths(tuple(WIDTHS[d] for d in decisions))

    def __len__(self) -> int:
        return int(len(WIDTHS) ** STAGES)

    def __iter__(self) -> Iterator[StageWidths]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> StageWidths:
        if not 0 <= index < len(self):
            raise InputError(f"nats-size: index {quoted(index)} is outside 0..{len(self) - 1}")
        return self.decode([index // len(WIDTHS) ** (STAGES - 1 - stage) % len(WIDTHS) for stage in range(STAGES)])

    def index(self, arch: StageWidths) -> int:
        """Position in the official order: index 0 is ``8:8:8:8:8``, 11 is ``8:8:8:16:32``."""
        position = 0
        for code in self.encode(arch):
            position = position * len(WIDTHS) + code
        return position

    def unique(self) -> list[StageWidths]:
        """All architectures: no two are the same."""
        return list(self)


def _weights(stage: int, a: int, b: int) -> int:
    """Weights of the convolutions of a stage from ``a`` to ``b`` channels, which is what each pixel costs, too."""
    if stage in _REDUCTIONS:
        return 10 * a * b + 9 * b * b
    return 18 * a * b + 27 * b * b + (a * b if a != b else 0)


register_space("nats-size")(NATSSize)
