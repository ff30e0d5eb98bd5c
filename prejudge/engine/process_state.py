"""The settings of torch and of the process that code of others may change, and that can be put back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch.nn.modules import module as of_all_modules

from prejudge.engine.precision import precision_state, set_precision_state

_CUDNN = ("enabled", "benchmark", "deterministic")
_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks", "_global_backward_pre_hooks")


class ProcessState:
    """The settings as they are now.

    Args:
        device: Where networks run; its autocast is watched beside the CPU's.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._variables = set(os.environ)
        self._settings = _settings(device.type)
        self._before = [read() for _, read, _ in self._settings]

    def put_back(self) -> str | None:
        """Put back what is different now; returns the name of the first such setting.

        Environment variables that are new are removed, too, but not named: packages set some when they are imported.
        """
        for name in os.environ.keys() - self._variables:
            del os.environ[name]
        found = None
        for (name, read, write), before in zip(self._settings, self._before, strict=True):
            with suppress(OSError):  # the folder of before may be gone
                if read() != before:
                    found = found or name
                    write(before)
        return found

    @contextmanager
    def again(self) -> Iterator[None]:
        """Within it the settings are as they were; afterwards what they are now."""
        now = ProcessState(self._device)
        self.put_back()
        try:
            with torch.inference_mode(False):
                yield
        finally:
            now.put_back()


def _settings(device: str) -> list[tuple[str, Callable[[], Any], Callable[[Any], object]]]:
    cudnn = torch.backends.cudnn
    flags = [(f"cudnn.{flag}", partial(getattr, cudnn, flag), partial(setattr, cudnn, flag)) for flag in _CUDNN]
    kinds = sorted({"cpu", device})
    autocast = [
        (f"autocast on {kind}", partial(torch.is_autocast_enabled, kind), partial(torch.set_autocast_enabled, kind))
        for kind in kinds
    ]
    return [
        ("torch's default device", _default_device, _set_default_device),
        ("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
        ("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
        ("torch's gradient mode", torch.is_grad_enabled, torch._C._set_grad_enabled),
        ("torch's deterministic mode", torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
        ("torch's anomaly mode", torch.is_anomaly_enabled, torch.set_anomaly_enabled),
        *autocast,
        ("torch's precision of fp32", precision_state, set_precision_state),
        *flags,
        ("the hooks of all modules", _global_hooks, _set_global_hooks),
        ("the environment variables", lambda: dict(os.environ), _set_environment),
        ("the working folder", os.getcwd, os.chdir),
    ]


def _default_device() -> str:
    return str(torch.empty(0).device)


def _set_default_device(name: str) -> None:
    torch.set_default_device(None if name == "cpu" else name)


def _global_hooks() -> list[dict[int, Any]]:
    return [dict(getattr(of_all_modules, kind)) for kind in _HOOKS]


def _set_global_hooks(hooks: list[dict[int, Any]]) -> None:
    for kind, before in zip(_HOOKS, hooks, strict=True):
        registered = getattr(of_all_modules, kind)
        registered.clear()
        registered.update(before)


def _set_environment(variables: dict[str, str]) -> None:
    for name, value in variables.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
