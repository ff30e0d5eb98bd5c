"""The loss of a batch: cross-entropy for class indices and probabilities, or any function of logits and targets."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prejudge.errors import InputError
from prejudge.proxies.network.batch import Loss
from prejudge.proxies.network.layers import by_repeat, full_precision

_REMEDY = "for other targets give loss="


class BatchLoss:
    """The loss of one batch, or of the batches of several repeats.

    Args:
        function: ``(logits, targets) -> scalar``, the mean over the images; a module is copied. Without it the mean of
            ``F.cross_entropy``: of class indices ``(N,)`` for logits ``(N, K)``, ``(N, …)`` for ``(N, K, …)`` or, as of
            tokens, for ``(N, …, K)``; or of class probabilities shaped as the logits.
        largest_label: Of the targets, to be compared with the number of classes. A number, because reading it from a
            device would wait for that.
        device: Where the passes run.
        dtype: Of the network.
    """

    def __init__(
        self,
        function: Loss | None = None,
        largest_label: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        if function is not None and not callable(function):
            raise InputError(f"loss must be a function of logits and targets, not {function!r}")
        if isinstance(function, nn.Module):
            function = copy.deepcopy(function).to(device, torch.promote_types(dtype, torch.float32))
        self._function, self._largest = function, largest_label

    def check(self, logits: Tensor, targets: Tensor) -> None:
        """Raise :class:`~prejudge.errors.InputError` where cross-entropy cannot take the logits or a label."""
        if self._function is None:
            classes = _classes_second(logits, targets).shape[1]
            if self._largest is not None and self._largest >= classes:
                raise InputError(f"label {self._largest} is out of range: the network has {classes} outputs")

    def no_labels(self, logits: Tensor, targets: Tensor) -> str:
        """Why the targets are no class index for each image; empty where they are."""
        if targets.dim() != 1 or targets.is_floating_point() or targets.dtype == torch.bool:
            return f"it needs one class index for each image, not targets {_form(targets)}"
        if logits.dim() != 2:
            return f"it needs logits (N, classes), not {tuple(logits.shape)}"
        if self._largest is not None and self._largest >= logits.shape[1]:
            return f"it needs class indices: label {self._largest} is out of range of {logits.shape[1]} outputs"
        return ""

    def of(self, logits: Tensor, targets: Tensor, repeats: int = 1) -> tuple[Tensor, Callable[[], Tensor]]:
        """The loss of each repeat ``(R,)``, and each image's part of it, ``(N * R,)``.

        The gradient of a part is the share of the loss gradient that comes through the image's own logits; the parts of
        a loss that is no mean over images have that gradient too, but other values.

        Raises:
            InputError: The loss cannot take these logits and targets, or is no number.
        """
        plain = self._function is None and logits.dim() == 2 and not targets.is_floating_point()
        if plain:
            each = F.cross_entropy(full_precision(logits), targets, reduction="none")
            return by_repeat(each, repeats).mean(1), lambda: each / (len(each) // repeats)
        precise = full_precision(logits)
        pairs = zip(by_repeat(precise, repeats), by_repeat(targets, repeats), strict=True) if repeats > 1 else None
        losses = torch.stack([self._one(*pair) for pair in pairs or [(precise, targets)]])

        def parts() -> Tensor:
            (gradient,) = torch.autograd.grad(losses.sum(), precise, retain_graph=True)
            return (gradient * precise).reshape(len(precise), -1).sum(1)

        return losses, parts

    def _one(self, logits: Tensor, targets: Tensor) -> Tensor:
        if self._function is None:
            return F.cross_entropy(_classes_second(logits, targets), targets)
        try:
            with warnings.catch_warnings():
                # torch's losses compare all with all then
                warnings.filterwarnings("error", message="Using a target size")
                loss = self._function(logits, targets)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of a function of the caller's
            given = f"logits {_form(logits)} and targets {_form(targets)}"
            raise InputError(f"the loss cannot take {given}: {type(error).__name__}: {error}") from error
        if not isinstance(loss, Tensor) or (loss.dim() and loss.numel() != 1):
            what = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise InputError(f"loss must return one number, the mean over the images, not {what}")
        if logits.requires_grad and not loss.requires_grad:
            raise InputError("loss must be differentiable: what it returned has no gradient")
        return loss.reshape(())


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _classes_second(logits: Tensor, targets: Tensor) -> Tensor:
    """The logits with the classes in dimension 1, where targets of class indices or probabilities say so."""
    given = f"targets {_form(targets)} do not fit logits {_form(logits)} for cross-entropy"
    if logits.dim() < 2:
        raise InputError(f"{given}; {_REMEDY}")
    if targets.is_floating_point():
        if targets.shape != logits.shape:
            raise InputError(f"{given}; {_REMEDY}")
        return logits
    second = targets.shape == logits.shape[:1] + logits.shape[2:]
    last = targets.shape == logits.shape[:-1]
    if second and last and logits.dim() > 2:
        raise InputError(f"{given}: the classes may be its second or its last dimension; say which by loss=")
    if not second and not last:
        raise InputError(f"{given}; {_REMEDY}")
    return logits if second else logits.movedim(-1, 1)
