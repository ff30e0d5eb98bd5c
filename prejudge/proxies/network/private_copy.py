"""A network's private copy, in the plain form of its modules: what the passes run instead of the caller's.

Plain means: the original of a compiled module, the module inside a ``DataParallel``, the effective weight in the place
of a parametrization (weight norm, spectral norm, pruning masks and any other of ``torch.nn.utils.parametrize``), and
blocks under gradient checkpointing as if they were not. Everything that a proxy reads is then what it would be for a
network written without them.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from unittest.mock import patch

import torch
import torch.utils.checkpoint
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from prejudge.errors import InputError


def private_copy(network: nn.Module) -> nn.Module:
    """A copy in training mode and plain form; ``network`` stays exactly as it is.

    Raises:
        InputError: It cannot be copied, holds a TorchScript module or an uninitialized parameter, or a parameter is
            both reparametrized and used elsewhere.
    """
    memo: dict[int, Any] = {}
    wrappers: list[nn.Module] = []
    changed = False
    for name, module in network.named_modules():
        where = f"module {name!r}" if name else "the network"
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(f"{where} is TorchScript, which hides operations; score the nn.Module it was made from")
        for own, parameter in module._parameters.items():
            if parameter is not None and is_lazy(parameter):
                raise InputError(f"{where} has no {own} yet (a lazy module); run the network once on a batch first")
        for hook in _hooks(module):
            effective = vars(module).get(_name(hook))
            if effective is not None:  # no leaf of the graph, which deepcopy refuses; computed afresh below
                memo[id(effective)] = effective.detach().clone()
        if wrapped(module) is not None:
            wrappers.insert(0, module)  # inner ones first
        changed = changed or "parametrizations" in module._modules or bool(module._forward_pre_hooks)
    try:
        for module in wrappers:
            memo[id(module)] = copy.deepcopy(wrapped(module), memo)
        private: nn.Module = copy.deepcopy(network, memo)
    except (RuntimeError, TypeError) as error:
        message = f"cannot copy the network ({error}); build it afresh and score it before use"
        raise InputError(message) from None
    private.train()
    if changed:
        _hold_effective_weights(private)
    for module in private.modules():
        if module._compiled_call_impl is not None:
            module._compiled_call_impl = None
    return private


def wrapped(module: nn.Module) -> nn.Module | None:
    """The module that a compiled module or a ``DataParallel`` stands for; None for any other."""
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner: nn.Module = module.module
        return inner
    if type(module).__name__ == "OptimizedModule":  # by name: to import its class would import the compiler
        return cast(nn.Module, module._orig_mod)
    return None


@contextmanager
def without_checkpoints() -> Iterator[None]:
    """Let ``torch.utils.checkpoint`` run its blocks plainly: their operations are seen, and differentiated twice."""

    class Plain:
        @staticmethod
        def apply(function: Callable[..., Any], _: bool, *args: Any) -> Any:
            return function(*args)

    def nothing(*_: Any, **__: Any) -> Iterator[None]:
        yield

    replacements: dict[str, Any] = {"CheckpointFunction": Plain}
    for name in ("_checkpoint_without_reentrant_generator", "_checkpoint_without_reentrant_generator_impl"):
        if hasattr(torch.utils.checkpoint, name):  # the first until torch 2.13, the second since then
            replacements[name] = nothing
    with patch.multiple(torch.utils.checkpoint, **replacements):
        yield


def _hooks(module: nn.Module) -> list[Any]:
    if not module._forward_pre_hooks:
        return []
    kinds = (WeightNorm, SpectralNorm, BasePruningMethod)
    return [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, kinds)]


def _name(hook: Any) -> str:
    name: str = hook._tensor_name if isinstance(hook, BasePruningMethod) else hook.name
    return name


def _hold_effective_weights(network: nn.Module) -> None:
    uses = Counter(id(p) for _, p in network.named_parameters(remove_duplicate=False))
    for prefix, module in list(network.named_modules()):
        if parametrize.is_parametrized(module):
            chains: Any = module.parametrizations
            plain = parametrize.type_before_parametrizations(module)
            with torch.no_grad():
                effective = {name: getattr(module, name).detach().clone() for name in chains}
            for name, chain in chains.items():
                if any(uses[id(p)] > 1 for p in chain.parameters(recurse=False)):
                    raise InputError(f"{prefix}.{name} is reparametrized from a parameter that is used elsewhere too")
                if not any(True for _ in chain.parameters()):
                    raise InputError(f"{prefix}.{name} is a reparametrized buffer; remove the parametrization first")
            del module.parametrizations
            module.__class__ = plain  # of this copy alone: its parametrized class is the caller's too
            for name, value in effective.items():
                module.register_parameter(name, nn.Parameter(value))
        for hook in _hooks(module):
            with torch.no_grad():
                hook(module, None)
            value = getattr(module, _name(hook)).detach().clone()
            hook.remove(module)
            for key in [key for key, other in module._forward_pre_hooks.items() if other is hook]:
                del module._forward_pre_hooks[key]
            delattr(module, _name(hook))
            module.register_parameter(_name(hook), nn.Parameter(value))
