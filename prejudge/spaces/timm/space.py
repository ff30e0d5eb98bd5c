"""All models of the installed timm (Wightman, 2019), without their weights; index order is timm's order of names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from prejudge.errors import InputError, quoted
from prejudge.spaces.base import EnumerableSpace, register_space
from prejudge.spaces.cell_graph import CellGraph
from prejudge.spaces.timm.library import build, installed_version, model_names, name_of
from prejudge.spaces.timm.model import MacroConfigTimm, TimmModel

if TYPE_CHECKING:
    import numpy as np
    import torch


class TimmSpace(EnumerableSpace[TimmModel]):
    """The models of the installed timm; they have names, and no edits lead from one to another."""

    name = "timm"
    macro_type: ClassVar[type] = MacroConfigTimm
    slow_index: ClassVar[bool] = True

    @property
    def initialization(self) -> str:
        """The models' own, of this version of timm: scores of another version are never pooled with these."""
        return f"timm {installed_version()}"

    @property
    def extent(self) -> str:
        version = installed_version()
        return "needs the extra timm" if version is None else f"models of timm {version}"

    def parse(self, text: Any, *, notation: str | None = None) -> TimmModel:
        """Read an architecture.

        Args:
            text: A :class:`TimmModel`, or a name with or without the tag of weights: ``"resnet18"``,
                ``"resnet18.a1_in1k"``.
            notation: None: a name has one meaning.

        Raises:
            InputError: timm has no such model, or no such tag of it.
            PrejudgeError: timm is not installed.
        """
        self.check_notation(notation)
        if isinstance(text, TimmModel):
            return text
        if not isinstance(text, str):
            raise InputError(f"timm: an architecture is the name of a model, such as 'resnet18', not {quoted(text)}")
        return TimmModel(name_of(text.strip()))

    def matching(self, text: str) -> list[TimmModel] | None:
        """The models of comma-separated names and patterns, as ``"resnet*,vit_tiny*"``; None for a path."""
        if "/" in text or "\\" in text:
            return None
        found: dict[TimmModel, None] = {}
        for pattern in filter(None, (part.strip() for part in text.split(","))):
            if not set(pattern) & set("*?["):
                found[self.parse(pattern)] = None
                continue
            matches = [TimmModel(name) for name in model_names() if fnmatchcase(name, pattern)]
            if not matches:
                raise InputError(f"timm {installed_version()} has no model that matches {quoted(pattern)}")
            found |= dict.fromkeys(matches)
        return list(found)

    def sample(self, rng: np.random.Generator) -> TimmModel:
        """A uniform model."""
        return self[int(rng.integers(len(self)))]

    def mutate(self, arch: TimmModel, rng: np.random.Generator) -> TimmModel:
        """No edit leads from one model to another."""
        self._refuse("mutations")

    def neighbors(self, arch: TimmModel) -> list[TimmModel]:
        """No edit leads from one model to another."""
        self._refuse("neighbors")

    def graphs(self, arch: TimmModel) -> dict[str, CellGraph]:
        """There are no cells to be drawn."""
        self._refuse("cells to draw")

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(f"timm's models are names without {what}; score them, or search them at random (random)")

    def canonical(self, arch: TimmModel) -> str:
        """The name."""
        return str(arch)

    def representative(self, arch: TimmModel) -> TimmModel:
        return arch

    def connected(self, arch: TimmModel) -> bool:
        """Always true."""
        return True

    def network(self, arch: TimmModel, **macro: Any) -> torch.nn.Module:
        return build(self.parse(arch).name, self.macro(**macro))

    def params(self, arch: TimmModel, **macro: Any) -> int:
        """Number of trainable parameters, counted on a network without memory (the meta device)."""
        import torch

        with torch.device("meta"):
            network = self.network(arch, **macro)
        return sum(p.numel() for p in network.parameters() if p.requires_grad)

    def flops(self, arch: TimmModel, image_size: int = 32, **macro: Any) -> int:
        """There is no formula; the proxy ``flops`` runs the network."""
        raise InputError("timm's models have no formula for multiply-adds; the proxy flops counts them")

    @property
    def choices(self) -> tuple[int, ...]:
        """One decision: which model."""
        return (len(self),)

    def encode(self, arch: TimmModel) -> tuple[int, ...]:
        return (self.index(arch),)

    def decode(self, decisions: Sequence[int]) -> TimmModel:
        """The model of this index; never None."""
        return self[decisions[0]]

    def __len__(self) -> int:
        return len(model_names())

    def __iter__(self) -> Iterator[TimmModel]:
        return map(TimmModel, model_names())

    def __getitem__(self, index: int) -> TimmModel:
        if not 0 <= index < len(self):
            raise InputError(f"timm: index {quoted(index)} is outside 0..{len(self) - 1}")
        return TimmModel(model_names()[index])

    def index(self, arch: TimmModel) -> int:
        """Position among timm's names; another version of timm has others."""
        return model_names().index(self.parse(arch).name)

    def unique(self) -> list[TimmModel]:
        """All models: no two names are taken for the same."""
        return list(self)


register_space("timm")(TimmSpace)
