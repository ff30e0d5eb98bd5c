"""The network of a genotype: stem, cells with two reductions among them, auxiliary head, classifier.

Modules are registered in the official order and under the official names, so that ``parameters()`` and state dicts line
up with those of the original code (DARTS, DARTS-PT and ISTA-NAS share it).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prejudge.errors import InputError
from prejudge.spaces.darts.counts import AUXILIARY_CHANNELS, FORM_NORMS, CellPlace, cell_places, keeps_zero
from prejudge.spaces.darts.genotype import Genotype
from prejudge.spaces.darts.macro import MacroConfigDARTS
from prejudge.spaces.darts.operations import drop_path, operation, preprocess
from prejudge.spaces.nn.operations import conv_bn


class CellModuleDARTS(nn.Module):
    """One cell: each node is the sum of two operations on earlier states; some states are concatenated.

    Args:
        genotype: Both cells; the place says which of them this is.
        place: Channels of the inputs and of the states, and whether the cell reduces.
        form: Form of the network, one of :data:`~prejudge.spaces.darts.macro.FORMS`.
    """

    def __init__(self, genotype: Genotype, place: CellPlace, form: str):
        super().__init__()
        edges = genotype.reduce if place.reduction else genotype.normal
        self.sources = tuple(source for _, source in edges)
        self.concat = genotype.reduce_concat if place.reduction else genotype.normal_concat
        c, norms = place.channels, FORM_NORMS[form]
        self.preprocess0 = preprocess(place.c_prev_prev, c, halve=place.after_reduction)
        self.preprocess1 = preprocess(place.c_prev, c, halve=False)
        self._ops = nn.ModuleList(
            operation(name, c, 2 if place.reduction and source < 2 else 1, **norms) for name, source in edges
        )
        # Of each operation and the ``none`` beside it, drawn as StacNAS draws its architecture parameters.
        self.zero_alphas = nn.Parameter(1e-3 * torch.randn(len(edges), 2)) if keeps_zero(form) else None

    def forward(self, s0: Tensor, s1: Tensor, drop_path_prob: float | Tensor = 0.0) -> Tensor:
        """The cell's output ``(N, C * states, H, W)``, from those of the last cell but one and of the last cell."""
        states = [self.preprocess0(s0), self.preprocess1(s1)]
        terms: list[Tensor] = []
        drops = self.training and (isinstance(drop_path_prob, Tensor) or drop_path_prob > 0)  # no look at a tensor
        shares = None if self.zero_alphas is None else self.zero_alphas.softmax(dim=1)[:, 0]
        for number, (op, source) in enumerate(zip(self._ops, self.sources, strict=True)):
            term = op(states[source])
            if shares is not None:
                term = shares[number] * term
            if drops and not isinstance(op, nn.Identity):
                term = drop_path(term, drop_path_prob)
            terms.append(term)
            if len(terms) == 2:
                states.append(terms[0] + terms[1])
                terms = []
        return torch.cat([states[i] for i in self.concat], dim=1)


class AuxiliaryPool(nn.Module):
    """Pools a map of any size to 2 x 2.

    Windows of 5 x 5 at the published stride where that gives 2 x 2 (maps of 8 to 10 pixels at stride 3, of 7 and 8 at
    stride 2); at the stride ``side - 5`` on smaller maps, as StacNAS does for images of 28 pixels; elsewhere, where
    the original fails, the means of the four quarters.

    Args:
        stride: 3 in the CIFAR network, 2 in the ImageNet network.
    """

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        spare = [side - 5 for side in x.shape[2:]]
        strides = [min(self.stride, s) for s in spare]
        if all(0 < stride <= s < 2 * stride for stride, s in zip(strides, spare, strict=True)):
            return nn.functional.avg_pool2d(x, 5, stride=strides, count_include_pad=False)
        return nn.functional.adaptive_avg_pool2d(x, 2)


class AuxiliaryHead(nn.Module):
    """A second classifier on the output of the second reduction cell, which only training reads.

    Args:
        channels: Channels of that output.
        num_classes: Number of classes.
        stem: ``"imagenet"`` pools at stride 2 and has no batch norm after the second convolution: a slip of the
            original that every later code keeps, so that results compare.
    """

    def __init__(self, channels: int, num_classes: int, stem: str):
        super().__init__()
        narrow, wide = AUXILIARY_CHANNELS
        imagenet = stem == "imagenet"
        self.features = nn.Sequential(
            nn.ReLU(),
            AuxiliaryPool(2 if imagenet else 3),
            nn.Conv2d(channels, narrow, 1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, wide, 2, bias=False),
            *([] if imagenet else [nn.BatchNorm2d(wide)]),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(wide, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.classifier(self.features(x).flatten(1))
        return result


class NetworkDARTS(nn.Module):
    """Images ``(N, in_channels, H, W)`` to logits ``(N, num_classes)``.

    Args:
        genotype: The two cells.
        macro: The macro-architecture.

    Attributes:
        drop_path_prob: Probability with which an operation's output is dropped, in training mode only and never for a
            plain identity. It starts as the macro's; a recipe may set it before every epoch. As a tensor ``()`` it
            may change without a new compilation of a compiled network.
    """

    def __init__(self, genotype: Genotype, macro: MacroConfigDARTS):
        super().__init__()
        self.drop_path_prob: float | Tensor = float(macro.drop_path)
        images, c = macro.in_channels, macro.channels
        self.imagenet = macro.stem == "imagenet"
        if self.imagenet:
            self.stem0 = nn.Sequential(*conv_bn(images, c // 2, 2), nn.ReLU(), *conv_bn(c // 2, c, 2))
            self.stem1 = nn.Sequential(nn.ReLU(), *conv_bn(c, c, 2))
        else:
            self.stem = conv_bn(images, 3 * c)
        places = cell_places(macro, len(genotype.normal_concat), len(genotype.reduce_concat))
        self.cells = nn.ModuleList(CellModuleDARTS(genotype, place, macro.form) for place in places)
        self.auxiliary_after = macro.reductions[-1]
        self.auxiliary_head = (
            AuxiliaryHead(places[self.auxiliary_after].c_out, macro.num_classes, macro.stem)
            if macro.auxiliary
            else None
        )
        self.global_pooling = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(places[-1].c_out, macro.num_classes)

    def forward(self, x: Tensor, auxiliary: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """The logits; with ``auxiliary``, the pair of the logits and the auxiliary head's.

        Args:
            x: Images ``(N, in_channels, H, W)``.
            auxiliary: Whether the auxiliary head runs too, in any mode.

        Raises:
            InputError: ``auxiliary`` is set, but the network was built without that head.
        """
        if auxiliary and self.auxiliary_head is None:
            raise InputError("darts: this network has no auxiliary head; build it with auxiliary=True")
        s0 = self.stem0(x) if self.imagenet else self.stem(x)
        s1 = self.stem1(s0) if self.imagenet else s0
        auxiliary_logits = None
        for index, cell in enumerate(self.cells):
            s0, s1 = s1, cell(s0, s1, self.drop_path_prob)
            if auxiliary and self.auxiliary_head is not None and index == self.auxiliary_after:
                auxiliary_logits = self.auxiliary_head(s1)
        logits = self.classifier(self.global_pooling(s1).flatten(1))
        return logits if auxiliary_logits is None else (logits, auxiliary_logits)
