"""The network of one architecture as one readable Python file that needs torch only, for those who do not use prejudge.

Its modules have the names of prejudge's own network, so that exported weights and state dicts load into either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from prejudge._version import __version__
from prejudge.errors import InputError
from prejudge.spaces.base import Space
from prejudge.spaces.base import space as space_named
from prejudge.spaces.darts.counts import AUXILIARY_CHANNELS, FORM_NORMS, POOLS, SEPARABLE
from prejudge.spaces.darts.genotype import Genotype
from prejudge.spaces.darts.macro import MacroConfigDARTS
from prejudge.spaces.nasbench101.cell import OPERATIONS as OPERATIONS_101
from prejudge.spaces.nasbench101.cell import Cell101
from prejudge.spaces.nasbench101.macro import MacroConfig101
from prejudge.spaces.nasbench201.cell import EDGES, Cell201, MacroConfig201
from prejudge.spaces.nasbench201.cell import OPERATIONS as OPERATIONS_201

_DARTS = {
    "none": "Zero(stride)",
    "max_pool_3x3": "nn.MaxPool2d(3, stride, padding=1)",
    "avg_pool_3x3": "nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)",
    "skip_connect": "nn.Identity() if stride == 1 else FactorizedReduce(c, c)",
    **{
        name: f"separable(c, {kind.kernel}, stride, dilation={kind.dilation}, repeats={kind.repeats})"
        for name, kind in SEPARABLE.items()
    },
    "conv_7x1_1x7": "factorized_7x7(c, stride)",
    "noise": "Noise(stride)",
}
_NASBENCH201 = {
    "none": "Zero()",
    "skip_connect": "nn.Identity()",
    "nor_conv_1x1": "ReLUConvBN(c, c, 1{options})",
    "nor_conv_3x3": "ReLUConvBN(c, c, 3{options})",
    "avg_pool_3x3": "nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)",
}
_NASBENCH101 = {
    "conv3x3-bn-relu": "conv_bn_relu(c, c, 3)",
    "conv1x1-bn-relu": "conv_bn_relu(c, c, 1)",
    "maxpool3x3": "nn.MaxPool2d(3, stride=1, padding=1)",
}


def standalone_source(
    space: Space[Any] | str,
    architecture: Any,
    macro: Any = None,
    *,
    classes: Sequence[str] = (),
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    image_size: int = 0,
) -> str:
    """The source of a Python module that defines the network.

    Args:
        space: The search space, or its name: a DARTS space, ``nasbench201`` or ``nasbench101``.
        architecture: The architecture, in any notation of the space.
        macro: The macro-architecture: the space's dataclass, or a mapping of the fields that are not the defaults.
        classes: Name of each class, as a comment in code for the reader.
        mean: Of each channel, likewise.
        std: Of each channel, likewise.
        image_size: Side of the images that the file tries itself out on; that of the stem's data set where left out.

    Returns:
        A module with a class ``Network`` without arguments, whose state dict has the names of prejudge's network and
        which returns the same logits; run as a program it tells its size. Its weights start as torch draws them.

    Raises:
        InputError: The architecture or the macro-architecture is not of the space, or the space has no such source.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    where = space_named(space) if isinstance(space, str) else space
    given = asdict(macro) if is_dataclass(macro) and not isinstance(macro, type) else dict(macro or {})
    arch, numbers = where.parse(architecture), where.macro(**given)
    template, content = _content(where, arch, numbers)
    environment = Environment(
        loader=PackageLoader("prejudge.train.export", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    frame = {
        "version": __version__,
        "architecture": str(arch),
        "s": numbers,
        "classes": [str(name) for name in classes],
        "mean": tuple(map(float, mean)),
        "std": tuple(map(float, std)),
        "side": image_size or (224 if getattr(numbers, "stem", None) == "imagenet" else 32),
    }
    return environment.get_template(f"{template}.py.jinja").render(frame | content)


def _content(space: Space[Any], arch: Any, macro: Any) -> tuple[str, dict[str, Any]]:
    """The name of the template and what it shows."""
    match arch, macro:
        case Genotype(), MacroConfigDARTS():
            return "darts", _darts(arch, macro)
        case Cell201(), MacroConfig201():
            return "nasbench201", _nasbench201(arch, macro)
        case Cell101(), MacroConfig101():
            return "nasbench101", _nasbench101(arch, macro)
    raise InputError(
        f"no standalone source for networks of {space.name}; there is one for DARTS, nasbench201, nasbench101"
    )


def _darts(genotype: Genotype, macro: MacroConfigDARTS) -> dict[str, Any]:
    norms = FORM_NORMS[macro.form]
    used = {name for _, edges, _ in genotype.cells() for name, _ in edges}
    operations = _chosen(_DARTS, used)
    for name in operations:
        if name in POOLS and norms.get("pool_norm"):
            operations[name] = f"normalized({operations[name]}, c)"
        if name == "skip_connect" and norms.get("skip_norm"):
            identity, otherwise = operations[name].split(" if ")
            operations[name] = f"normalized({identity}, c) if {otherwise}"
    narrow, wide = AUXILIARY_CHANNELS
    return {
        "title": f"A network of the DARTS space, for {_images(macro.num_classes)}.",
        "architecture": "",  # the cells follow right below
        "cells": [
            (name.upper(), [_pair(*edge) for edge in edges], list(output)) for name, edges, output in genotype.cells()
        ],
        "operations": operations,
        "separable": bool(used & set(SEPARABLE)),
        "normalized": any("normalized" in expression for expression in operations.values()),
        "narrow": narrow,
        "wide": wide,
        "pool_stride": 2 if macro.stem == "imagenet" else 3,
    }


def _nasbench201(cell: Cell201, macro: MacroConfig201) -> dict[str, Any]:
    biased = macro.form != "official"
    options = ", bias=True, affine=False" if biased else ""
    edges = [(target, (OPERATIONS_201[op], source)) for (target, source), op in zip(EDGES, cell.edges, strict=True)]
    used = {name for _, (name, _) in edges}
    return {
        "title": f"A network of NAS-Bench-201, for {_images(macro.num_classes)}.",
        "nodes": [[_pair(*edge) for target, edge in edges if target == node] for node in (1, 2, 3)],
        "operations": {name: text.format(options=options) for name, text in _chosen(_NASBENCH201, used).items()},
        "biased": biased,
    }


def _nasbench101(cell: Cell101, macro: MacroConfig101) -> dict[str, Any]:
    last = len(cell.matrix) - 1
    sources = [[u for u in range(v) if cell.matrix[u][v]] for v in range(last + 1)]
    names = [OPERATIONS_101[op] for op in cell.operations]
    return {
        "title": f"A network of NAS-Bench-101, for {_images(macro.num_classes)}.",
        "vertices": {v: (name, sources[v]) for v, name in enumerate(names, start=1)},
        "output": sources[last],
        "last": last,
        "operations": _chosen(_NASBENCH101, set(names)),
        "momentum": 0.003 if macro.form == "official" else 0.1,
    }


def _chosen(expressions: Mapping[str, str], used: set[str]) -> dict[str, str]:
    return {name: expression for name, expression in expressions.items() if name in used}


def _images(classes: int) -> str:
    return f"images of {classes} classes" if classes > 1 else "images of one class"


def _pair(name: str, source: int) -> str:
    return f'("{name}", {source})'
