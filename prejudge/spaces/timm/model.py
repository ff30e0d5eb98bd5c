"""One architecture of the space: the name of one of timm's models; and the macro-architecture."""

from __future__ import annotations

from dataclasses import dataclass

from prejudge.spaces.base import require_positive


@dataclass(frozen=True, slots=True, repr=False)
class TimmModel:
    """One of timm's models, without weights.

    Attributes:
        name: As timm writes it, without a tag: ``"resnet18"``. A tag names the recipe of weights, not another network.
    """

    name: str

    def __repr__(self) -> str:
        return f"TimmModel({self.name!r})"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class MacroConfigTimm:
    """The choices that a name leaves open.

    Attributes:
        num_classes: Outputs of the classifier.
        in_channels: Channels of the images.
        image_size: Side of the images, for the models that are built for one; None for the one that each was published
            with.
    """

    num_classes: int = 1000
    in_channels: int = 3
    image_size: int | None = None

    def __post_init__(self) -> None:
        sizes = () if self.image_size is None else ("image_size",)
        require_positive("timm", self, ("num_classes", "in_channels", *sizes))
