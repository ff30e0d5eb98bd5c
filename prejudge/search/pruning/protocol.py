"""The settings of a pruning search: everything that its removals depend on besides space, data and seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from prejudge.errors import InputError, unknown
from prejudge.search.pruning.ranking import RELEASED, UNROUNDED, Rounding

KERNELS = ("exact", "fixed-bn")
INITIALIZATIONS = ("torch", "kaiming")


@dataclass(frozen=True)
class PruningProtocol:
    """The settings of a pruning search; the defaults are :data:`CONVENTIONS` ``"default"``.

    Attributes:
        kernel: ``"exact"`` (the Jacobian with everything that batch norm couples, one backward pass per image) or
            ``"fixed-bn"`` (batch norm statistics held constant, one backward pass).
        batch_size: Images of the kernel; None for the space's published number; all images where there are fewer.
        repeats: How often every figure is measured, each time with other images.
        crops: Crops of 3x3 pixels and one channel that pass through the thin network at a time.
        crop_batches: How many times so many; their regions are counted together.
        augment: Whether the kernel's images are cropped and flipped at random.
        initialization: ``"torch"`` (PyTorch's defaults) or ``"kaiming"`` (He et al.'s normal distribution for the
            convolutions: fan-out for the kernel's network, fan-in for the thin one).
        redraw: Whether each repeat draws new weights; otherwise those of a round are drawn once.
        rounding: How figures are rounded before they are compared.
        start_kernel: Whether, where edges are removed, changes of the condition number refer to the network before the
            first of them, rather than to the current one.
        prune_number: Operations that a round removes from an edge; None for the space's published number.
        image_size: Larger images are scaled down to this side.
    """

    kernel: str = "fixed-bn"
    batch_size: int | None = None
    repeats: int = 3
    crops: int = 1000
    crop_batches: int = 3
    augment: bool = True
    initialization: str = "torch"
    redraw: bool = True
    rounding: Rounding = UNROUNDED
    start_kernel: bool = False
    prune_number: int | None = None
    image_size: int = 32

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS:
            raise unknown("kernel", self.kernel, KERNELS)
        if self.initialization not in INITIALIZATIONS:
            raise unknown("initialization", self.initialization, INITIALIZATIONS)
        for name, least in {
            "batch_size": 2, "repeats": 1, "crops": 2, "crop_batches": 1, "prune_number": 1, "image_size": 3
        }.items():  # fmt: skip
            value = getattr(self, name)
            given = value is not None or name not in ("batch_size", "prune_number")
            if given and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise InputError(f"pruning: {name} must be an integer of at least {least}, not {value!r}")

    def plain(self) -> dict[str, Any]:
        """The settings as plain values, for files."""
        return asdict(self)


_RELEASED = PruningProtocol(kernel="exact", redraw=False, rounding=RELEASED, start_kernel=True)

CONVENTIONS = {
    "default": PruningProtocol(),
    "te-nas": _RELEASED,
    "te-nas-imagenet": replace(_RELEASED, batch_size=24, prune_number=2),
}
"""``default`` is fast: batch norm statistics are constant, each repeat draws its own weights, and nothing is rounded.
``te-nas`` does what the released code of TE-NAS does (chenwydj/TENAS 9df78ff), ``te-nas-imagenet`` with its numbers for
ImageNet-1k on the DARTS space.

In that code the re-initialization between repeats has no effect, because the functions it names do not exist, so the
repeats of a round differ in their images alone. One thing is not copied: it draws images anew for every candidate; here
the candidates of a repeat share them, and the thin network's weights, which removes noise from their comparison and
lets the unpruned network be measured once.
"""


def convention_protocol(name: str, **changes: Any) -> PruningProtocol:
    """A named protocol with some settings changed.

    Raises:
        InputError: There is no such convention or setting, or a value is out of range.
    """
    if name not in CONVENTIONS:
        raise unknown("pruning convention", name, CONVENTIONS)
    known = asdict(CONVENTIONS[name])
    for setting in changes:
        if setting not in known:
            raise unknown("pruning setting", setting, known)
    return replace(CONVENTIONS[name], **changes)
