"""Score one network: the entry point of this room."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from prejudge.errors import InputError, PrejudgeError
from prejudge.proxies.probe import Probe
from prejudge.proxies.registry import ProxyRequest, default_names, resolve
from prejudge.proxies.score import Score, ScoreFailure


def score(
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor | None = None,
    proxies: Iterable[str | ProxyRequest] | None = None,
    *,
    mode: str = "exact",
    device: torch.device | str | None = None,
    seed: int = 0,
) -> dict[str, Score]:
    """Score an untrained network on one batch; all proxies share the fewest passes.

    Args:
        network: Any module from ``inputs`` to logits ``(N, classes)``. It is left exactly as it was.
        inputs: Images ``(N, C, H, W)``, normalised; or any floating tensor with the batch first.
        targets: Class indices ``(N,)``; only proxies that need labels read them.
        proxies: Names, ``NAME(option=value)`` or ``FILE.py:NAME``. Default: all but those of TE-NAS's exact kernel, and
            without targets all of these that need no labels.
        mode: ``"exact"``, or ``"fast"`` for bf16 passes (approximate: same ranking, other digits).
        device: Where to run; default: where the network is.
        seed: Of the draws that a proxy makes itself (Gaussian images, dropout).

    Returns:
        A :class:`Score` for each proxy, in the order asked for. A proxy that has no value for this network (a dead
        cell, a singular kernel, NaN) gives a failed score with its reason; the others are unaffected.

    Raises:
        InputError: An unknown proxy, missing labels, a batch too small, shapes or labels that do not fit the network.
    """
    requests = resolve(default_names(labels=targets is not None) if proxies is None else proxies)
    for request in requests:
        if request.proxy.needs_labels and targets is None:
            raise InputError(f"{request.proxy.name} needs labels; give targets of shape (N,)")
        if isinstance(inputs, Tensor) and 0 < len(inputs) < request.proxy.min_batch:
            raise InputError(
                f"{request.proxy.name} needs a batch of at least {request.proxy.min_batch}, not {len(inputs)}"
            )
    probe = Probe(
        network,
        inputs,
        targets,
        mode=mode,
        device=device,
        seed=seed,
        reads={r for q in requests for r in q.proxy.reads},
    )
    return {str(request): _evaluate(request, probe) for request in requests}


def _evaluate(request: ProxyRequest, probe: Probe) -> Score:
    passes = sum(probe.clock.seconds.values())
    start = time.perf_counter()

    def seconds() -> float:
        own = time.perf_counter() - start - (sum(probe.clock.seconds.values()) - passes)
        return max(own, 0.0) + probe.seconds_for(request.proxy.reads)

    try:
        value = float(_number(request.proxy.function(probe, **dict(request.options))))
    except PrejudgeError:
        raise
    except ScoreFailure as failure:
        return Score.failed(str(failure), seconds())
    except Exception as error:  # a third party's proxy may raise anything, and the other scores must survive it
        return Score.failed(f"{type(error).__name__}: {error}", seconds())
    if value != value or value in (float("inf"), float("-inf")):
        return Score.failed(f"the value is {value}", seconds())
    return Score(value, seconds=seconds())


def _number(value: Any) -> Any:
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ScoreFailure(f"the proxy returned a tensor of shape {tuple(value.shape)}, not a number")
    return value.detach() if isinstance(value, Tensor) else value
