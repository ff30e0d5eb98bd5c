"""The macro-architecture around the cells of a genotype: everything about its network but the cells themselves."""

from __future__ import annotations

from dataclasses import dataclass

from prejudge.errors import InputError, quoted, unknown
from prejudge.spaces.base import require_positive

STEMS = ("cifar", "imagenet")
FORMS = ("standard", "stacnas", "stacnas-zero", "ista-onestage")


@dataclass(frozen=True)
class MacroConfigDARTS:
    """The macro-architecture of a derived DARTS network, with the published CIFAR-10 defaults.

    ImageNet's mobile setting is ``MacroConfigDARTS(num_classes=1000, channels=48, cells=14, stem="imagenet")``.

    Attributes:
        num_classes: Outputs of the classifier.
        channels: C, the width of the first cells' nodes; each reduction cell doubles it.
        cells: L, all cells; those at ``L // 3`` and ``2 L // 3`` are reduction cells.
        in_channels: Channels of the images.
        stem: ``"cifar"`` (one 3x3 convolution to 3 C channels, for images of 32 pixels) or ``"imagenet"`` (three 3x3
            convolutions of stride 2, an eighth of the image's side; C must be even).
        form: ``"standard"`` (DARTS: pools and skip connections without batch norm), ``"stacnas"`` (affine batch norm
            after pools), ``"stacnas-zero"`` (the same, and each operation competes with ``none`` in a softmax of two
            learned parameters, as in the search: what is left of it is the operation's share in its node) or
            ``"ista-onestage"`` (affine batch norm after pools and after skip connections of stride 1,
            into which ISTA-NAS's one-stage search folds its weights).
        auxiliary: Whether there is an auxiliary classifier after cell ``2 L // 3``, which is active in training only.
        drop_path: Probability of dropping an operation's output in training; recipes change it from epoch to epoch.
    """

    num_classes: int = 10
    channels: int = 36
    cells: int = 20
    in_channels: int = 3
    stem: str = "cifar"
    form: str = "standard"
    auxiliary: bool = False
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        require_positive("darts", self, ("num_classes", "channels", "cells", "in_channels"))
        if self.stem not in STEMS:
            raise unknown("darts stem", self.stem, STEMS)
        if self.form not in FORMS:
            raise unknown("darts form", self.form, FORMS)
        if self.stem == "imagenet" and self.channels % 2:
            raise InputError(f"darts: the imagenet stem needs an even number of channels, not {self.channels}")
        if not isinstance(self.auxiliary, bool):
            raise InputError(f"darts: auxiliary must be True or False, not {quoted(self.auxiliary)}")
        number = isinstance(self.drop_path, int | float) and not isinstance(self.drop_path, bool)
        if not number or not 0 <= self.drop_path < 1:
            raise InputError(f"darts: drop_path must be a probability in [0, 1), not {quoted(self.drop_path)}")

    @property
    def reductions(self) -> tuple[int, ...]:
        """Positions of the reduction cells, ascending (one or two, since those of a single cell coincide)."""
        return tuple(sorted({self.cells // 3, 2 * self.cells // 3}))
