"""Weights that other programs saved: state dicts, checkpoints around them, and pickled whole models.

Nothing in a file is run, whatever it holds: :mod:`prejudge.formats.torch_file` reads it as plain values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prejudge.errors import FileFormatError, InputError
from prejudge.formats.pickle.unpickler import Made, Name, one_line
from prejudge.formats.torch_file import TorchFile
from prejudge.train.export.safetensors_file import read_tensors

STATE_KEYS = ("state_dict", "model_state_dict", "model", "network", "net", "weights", "learner", "state")
"""Where checkpoints of other programs, and of this one, keep the weights; the first that is there counts."""

_WRAPPERS = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put before every name
_MOST_MODULES = 100_000
_LONGEST_NAME = 1000
_MOST_VALUES = 100_000  # in one attribute of a model


@dataclass(frozen=True)
class PickledModel:
    """A whole model that was pickled.

    Attributes:
        kind: Its class, such as ``augment_cnn.AugmentCNN``.
        state: Its parameters and buffers, as its ``state_dict()`` would have given them, on the CPU.
        attributes: Those of its other attributes that are plain values: numbers, texts, lists, tuples, dicts.
    """

    kind: str
    state: dict[str, Tensor]
    attributes: dict[str, Any]


def read_state_dict(path: Path | str, *, key: str | None = None) -> dict[str, Tensor]:
    """The weights in a file of any program, on the CPU.

    Args:
        path: A file of ``torch.save``, old format or new: a state dict, a dict that holds one, or a whole model; or a
            safetensors file.
        key: Where in a dict the weights are; left out, the first of :data:`STATE_KEYS` that is there.

    Returns:
        Tensors by name. What DataParallel and ``torch.compile`` put before all names is taken off.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is damaged, or there are no weights in it.
        InputError: It has nothing under ``key``.
    """
    if Path(path).suffix == ".safetensors":
        return _without_wrappers(read_tensors(Path(path))[0])
    file = TorchFile(path)
    return _without_wrappers(_state(file, _chosen(file, key)))


def read_model(path: Path | str, *, key: str | None = None) -> PickledModel:
    """A whole model that ``torch.save(model)`` wrote; the module files that defined it are not needed.

    Args:
        path: The file.
        key: Where in a dict the model is, as for :func:`read_state_dict`.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is damaged, or holds no model.
        InputError: It has nothing under ``key``.
    """
    file = TorchFile(path)
    value = _chosen(file, key)
    while _is_module(value) and set(children := _pairs(value.state.get("_modules"))) == {"module"}:
        value = children["module"]  # DataParallel
    if not _is_module(value):
        raise FileFormatError(f"{file.path} holds no whole model; read_state_dict reads state dicts")
    known = {f"_{kind}" for kind in ("parameters", "buffers", "modules")}
    attributes = {
        name: item
        for name, item in value.state.items()
        if isinstance(name, str) and name not in known and _is_plain(item)
    }
    return PickledModel(str(value.by), _without_wrappers(_state(file, value)), attributes)


def match_state_dict(
    network: nn.Module, state: Mapping[str, Tensor], *, spare: Sequence[str] = ("auxiliary_head.",)
) -> dict[str, Tensor]:
    """The state dict for ``network.load_state_dict``, if it is one of this network.

    Args:
        network: The network.
        state: Tensors by name.
        spare: Starts of names that may be in ``state`` without being in the network; they are left out.

    Returns:
        As many tensors as the network has. Numbers of batches, which torch before 0.4.1 did not count, are 0 where they
        are missing.

    Raises:
        InputError: Tensors are missing, of another shape or kind, or there are more of them; the message says which.
    """
    wanted = network.state_dict()
    none_counted = torch.zeros((), dtype=torch.int64)
    filled = {
        name: state.get(name, none_counted) for name in wanted if name in state or name.endswith(".num_batches_tracked")
    }
    missing = [name for name in wanted if name not in filled]
    surplus = [name for name in state if name not in wanted and not name.startswith(tuple(spare))]
    other = [
        f"{name} {_layout(tensor)} there and {_layout(wanted[name])} here"
        for name, tensor in filled.items()
        if tensor.shape != wanted[name].shape or tensor.is_floating_point() != wanted[name].is_floating_point()
    ]
    complaints = [
        f"{len(names)} tensors {what} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        for names, what in ((missing, "are missing"), (surplus, "are too many"), (other, "are of another shape"))
        if names
    ]
    if complaints:
        raise InputError(f"these are the weights of another architecture: {'; '.join(complaints)}")
    return filled


def _layout(tensor: Tensor) -> str:
    shape = "×".join(map(str, tensor.shape)) or "scalar"
    return shape if tensor.is_floating_point() else f"{shape} {str(tensor.dtype).removeprefix('torch.')}"


def _chosen(file: TorchFile, key: str | None) -> Any:
    """The part of a file that holds the weights."""
    value = file.value
    if key is not None:
        pairs = _pairs(value)
        if key not in pairs:
            raise InputError(f"{file.path} has nothing under {key!r} (it has {_some(pairs)})")
        return pairs[key]
    for _ in range(4):  # {"state": {"learner": {"network": {…}}}}
        pairs = _pairs(value)
        inner = next((pairs[name] for name in STATE_KEYS if name in pairs), None)
        if inner is None or not (_pairs(inner) or _is_module(inner)):
            break
        value = inner
    return value


def _state(file: TorchFile, value: Any) -> dict[str, Tensor]:
    if _is_module(value):
        if found := dict(_module_tensors(file, value)):
            return found
        raise FileFormatError(f"{file.path} holds no weights, but a {value.by} without any")
    pairs = _pairs(value)
    state: dict[str, Tensor] = {}
    for name, item in pairs.items():
        tensor = file.tensor(item, _shown(name)) if isinstance(name, str) else None
        if tensor is None:
            raise FileFormatError(
                f"{file.path} holds no state dict: {_shown(name)} in it is {_kind(item)}, not a tensor; "
                f"say under which key the weights are (it has {_some(pairs)})"
            )
        state[name] = tensor
    if not state:
        raise FileFormatError(f"{file.path} holds no weights, but {_kind(value)}")
    return state


def _module_tensors(file: TorchFile, root: Made) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers in the order of ``state_dict()``."""
    waiting = [("", root)]
    for _ in range(_MOST_MODULES):
        if not waiting:
            return
        prefix, module = waiting.pop()
        if len(prefix) > _LONGEST_NAME:
            break
        passing = module.state.get("_non_persistent_buffers_set")
        skipped = passing.args[0] if isinstance(passing, Made) and passing.args else ()
        for group in ("_parameters", "_buffers"):
            for name, item in _pairs(module.state.get(group)).items():
                if item is None or (group == "_buffers" and isinstance(skipped, list | tuple) and name in skipped):
                    continue
                tensor = file.tensor(item, _shown(f"{prefix}{name}")) if isinstance(name, str) else None
                if tensor is None:
                    raise FileFormatError(f"{file.path}: {_shown(prefix)}{_shown(name)} is {_kind(item)}, not a tensor")
                yield f"{prefix}{name}", tensor
        children = [
            (f"{prefix}{name}.", child)
            for name, child in _pairs(module.state.get("_modules")).items()
            if isinstance(name, str) and _is_module(child)
        ]
        waiting += reversed(children)
    raise FileFormatError(
        f"{file.path} holds a model of more than {_MOST_MODULES:,} modules, or of modules that contain themselves"
    )


def _is_module(value: Any) -> bool:
    return isinstance(value, Made) and isinstance(value.state, dict) and "_modules" in value.state


def _pairs(value: Any) -> dict[Any, Any]:
    """The items of a dict, an ordered one too; none where it is something else."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, Made) or value.by != Name("collections", "OrderedDict"):
        return {}
    given = value.args[0] if isinstance(value.args, tuple) and value.args else ()  # Python 2 wrote lists of pairs
    if not isinstance(given, list | tuple):
        return value.pairs
    both = (pair for pair in given if isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str))
    return {**dict(both), **value.pairs}  # type: ignore[arg-type]  # the lengths were looked at


def _without_wrappers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for _ in range(4):
        for wrapper in _WRAPPERS:
            if state and all(name.startswith(wrapper) for name in state):
                state = {name.removeprefix(wrapper): tensor for name, tensor in state.items()}
    return state


def _is_plain(value: Any) -> bool:
    """Whether it is made of numbers, texts, lists, tuples and dicts; in time that grows with its size in the file."""
    waiting: list[Any] = [value]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST_VALUES:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, list | tuple):
            waiting += item
        elif isinstance(item, dict) and all(isinstance(key, str | int) for key in item):
            waiting += item.values()
        elif not (item is None or isinstance(item, bool | int | float | str)):
            return False
    return not waiting


def _kind(value: Any) -> str:
    if isinstance(value, Made):
        return f"a {value.by}" if isinstance(value.by, Name) else "something made by a call"
    return f"a {type(value).__name__}"


def _shown(name: Any) -> str:
    return one_line(name) if isinstance(name, str) else f"a {type(name).__name__}"


def _some(pairs: Mapping[Any, Any]) -> str:
    names = [_shown(name) for name in list(pairs)[:6]]
    return ", ".join(names) + (", …" if len(pairs) > 6 else "") if names else "no keys"
