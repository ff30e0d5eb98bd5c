"""Third-party proxies apart: whatever they do to what they are given, and to the process, the other scores are right.

They get copies of the network, the batch and every quantity. A proxy that changes what it should only read, or a
setting of the process that others share, has a failed score that says so, and the setting is put back.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from prejudge.engine.process_state import ProcessState
from prejudge.engine.random_state import own_generators, random_states, restore_random_states
from prejudge.errors import PrejudgeError
from prejudge.proxies.network.image_by_image import Unstackable
from prejudge.proxies.probe import Probe
from prejudge.proxies.quantities import Quantity
from prejudge.proxies.registry import ProxyRequest
from prejudge.proxies.score import ScoreFailure

T = TypeVar("T")

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def value_of(request: ProxyRequest, probe: Probe) -> float:
    """The value of a third-party proxy; its draws are seeded, and no generator is moved.

    Raises:
        ScoreFailure: It changed something, ended the process, or returned no number.
        Exception: Whatever else it raises; an error of the passes as they raise it.
        KeyboardInterrupt: Ctrl-C.
    """
    process = ProcessState(probe.device)
    generators = random_states()
    view = _ProbeCopy(probe, process)
    try:
        # What would end the process without a word ends the proxy, as sys.exit does.
        with own_generators(probe.seed, probe.device), patch.object(os, "_exit", sys.exit):
            value = number(request.proxy.function(view, **dict(request.options)))
    except (PrejudgeError, Unstackable, torch.OutOfMemoryError) as error:
        if error is view.error:
            raise
        raise ScoreFailure(f"{type(error).__name__}: {error}") from error
    except Exception:
        raise
    except BaseException as error:
        # A worker leaves Ctrl-C to its parent, so there the interruption is the proxy's own.
        if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            raise
        raise ScoreFailure(f"it raised {type(error).__name__} ({error})".replace(" ()", "")) from error
    finally:
        setting = process.put_back()
        restore_random_states(generators)
    what = view.changed() if setting is None else f"{setting}, which all scores share; it was put back"
    if what is not None:
        raise ScoreFailure(f"{request.proxy.name} changed {what}")
    return value


def number(value: Any) -> float:
    """The result of a proxy as a float.

    Raises:
        ScoreFailure: It is not one real number.
        OverflowError: It is an integer too large for a float.
    """
    if isinstance(value, Tensor | np.ndarray):
        if value.shape and int(np.prod(value.shape)) != 1:
            kind = "a tensor" if isinstance(value, Tensor) else "an array"
            raise ScoreFailure(f"the proxy returned {kind} of shape {tuple(value.shape)}, not a number")
        value = value.detach().item() if isinstance(value, Tensor) else value.item()
    if isinstance(value, str | bytes | bytearray | complex | np.complexfloating | None):
        raise ScoreFailure(f"the proxy returned {type(value).__name__}, not a number")
    return float(value)


class _ProbeCopy(Probe):
    """A probe whose network, batch and quantities are copies, made when they are first read."""

    def __init__(self, probe: Probe, process: ProcessState):
        self._share(probe.passes, probe._repeat)
        self.read = probe.read
        self.error: BaseException | None = None
        """The last error that a pass raised."""
        self._process = process
        self._copies: dict[str, Any] = {}
        self._quantities: dict[int, tuple[Any, Any]] = {}  # the passes' own, and the copy
        self._network: _NetworkCopy | None = None

    @property
    def network(self) -> nn.Module:
        if self._network is None:
            self._network = _NetworkCopy(self._undisturbed(lambda: self.passes.fresh_network(self._repeat)))
        return self._network.network

    @property
    def inputs(self) -> Any:
        return self._once("inputs", lambda: self.passes.inputs(self._repeat))

    @property
    def targets(self) -> Tensor:
        targets: Tensor = self._once("targets", lambda: self.passes.targets(self._repeat))
        return targets

    def changed(self) -> str | None:
        """The change that the proxy made to network and batch, with the remedy; None where it is as it was."""
        for name in ("inputs", "targets"):
            if name in self._copies and not _unchanged(self._copies[name], getattr(self.passes, name)(self._repeat)):
                tensor = isinstance(self._copies[name], Tensor)
                remedy = f"probe.{name}.clone()" if tensor else f"copy.deepcopy(probe.{name})"
                return f"probe.{name} in place; change {remedy}"
        changed = None if self._network is None else self._network.changed()
        return None if changed is None else f"{changed} of probe.network; change copy.deepcopy(probe.network)"

    def _given(self, name: Quantity, run: Callable[[], T]) -> T:
        self.read.add(name)

        def copied() -> T:
            found = run()
            if id(found) not in self._quantities:
                self._quantities[id(found)] = (found, _copied(found))
            copy: T = self._quantities[id(found)][1]
            return copy

        return self._undisturbed(copied)

    def _once(self, name: str, run: Callable[[], Any]) -> Any:
        if name not in self._copies:
            self._copies[name] = self._undisturbed(lambda: _copied(run()))
        return self._copies[name]

    def _undisturbed(self, run: Callable[[], T]) -> T:
        """Run a pass, which other proxies will read, too, with the settings that they have."""
        try:
            with self._process.again():
                return run()
        except Exception as error:
            self.error = error
            raise


class _NetworkCopy:
    """A proxy's own network, and how it was when it was handed out."""

    def __init__(self, network: nn.Module):
        self.network = network
        self._modules = dict(network.named_modules(remove_duplicate=False))
        self._modes = {name: module.training for name, module in self._modules.items()}
        self._hooks = self._count_hooks()
        self._tensors = self._now()
        self._values = {name: value.detach().clone() for name, value in self._tensors.items()}
        self._trained = {name: value.requires_grad for name, value in self._tensors.items()}

    def changed(self) -> str | None:
        """The first difference from before, by name.

        The gradients that a backward pass leaves and the statistics that a forward pass of a batch norm moves are no
        changes: this copy is thrown away with them.
        """
        modules = dict(self.network.named_modules(remove_duplicate=False))
        for name in self._modules.keys() | modules.keys():
            if self._modules.get(name) is not modules.get(name):
                return f"module {name or 'the network itself'!r}"
        tensors = self._now()
        for name in self._tensors.keys() | tensors.keys():
            if self._tensors.get(name) is not tensors.get(name) or not _same(tensors[name], self._values[name]):
                return repr(name)
            if tensors[name].requires_grad != self._trained[name]:
                return f"requires_grad of {name!r}"
        for name, training in self._modes.items():
            if modules[name].training != training:
                return f"the mode of {name!r}" if name else "the mode (train, eval)"
        return "the hooks" if self._count_hooks() != self._hooks else None

    def _now(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = dict(self.network.named_parameters(remove_duplicate=False))
        for prefix, module in self.network.named_modules(remove_duplicate=False):
            if not isinstance(module, _NormBase):
                found |= {f"{prefix}.{n}".lstrip("."): b for n, b in module.named_buffers(recurse=False)}
        return found

    def _count_hooks(self) -> list[int]:
        return [len(getattr(module, kind, ())) for module in self._modules.values() for kind in _HOOKS]


def _same(now: Tensor, before: Tensor) -> bool:
    if now.dtype != before.dtype or now.device != before.device or now.shape != before.shape:
        return False
    with torch.no_grad():
        return torch.equal(now, before) or bool(((now == before) | ((now != now) & (before != before))).all())


def _unchanged(now: Any, before: Any) -> bool:
    """Whether a batch, or a part of it, is what it was."""
    if isinstance(before, dict):
        return now.keys() == before.keys() and all(_unchanged(now[key], before[key]) for key in before)
    if isinstance(before, tuple):
        return all(map(_unchanged, now, before))
    return _same(now, before) if isinstance(before, Tensor) else bool(now == before)


def _copied(value: Any) -> Any:
    """A copy of a quantity: of every tensor in it."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return tuple(map(_copied, value)) if isinstance(value, tuple) else value
