"""Score a network, or several repeats of one architecture: the entry points of this room."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from torch import nn

from prejudge.engine.device import where_to_run
from prejudge.engine.device_errors import named_device_errors, raise_if_device_failed
from prejudge.engine.torch_state import standard_torch_state
from prejudge.errors import InputError, PrejudgeError, check_integer
from prejudge.proxies import guard
from prejudge.proxies.network.batch import Loss, read_batch
from prejudge.proxies.network.image_by_image import Unstackable
from prejudge.proxies.passes.memory import Limits, Memory, widest
from prejudge.proxies.probe import Probe
from prejudge.proxies.registry import ProxyRequest, default_names, resolve
from prejudge.proxies.score import Score, ScoreFailure


def score(
    network: nn.Module,
    inputs: Any,
    targets: Any = None,
    proxies: str | ProxyRequest | Iterable[str | ProxyRequest] | None = None,
    *,
    loss: Loss | None = None,
    mode: str = "exact",
    device: torch.device | str | None = None,
    seed: int = 0,
) -> dict[str, Score]:
    """Score an untrained network on one batch; all proxies share the fewest passes.

    Args:
        network: Any module that returns logits ``(N, classes)``, ``(N, classes, H, W)`` or ``(N, T, classes)``, or
            other outputs for each image: as a tensor, as ``logits`` of an object or dictionary, as the only tensor of
            a dictionary, or as the first of a tuple, which the scores then remark. It is left exactly as it was.
        inputs: Images ``(N, C, H, W)``, normalized, or any floating tensor with the batch first; tokens ``(N, T)``,
            int64; a tuple or dict of tensors, with which it is called as ``network(*inputs)`` or ``network(**inputs)``.
            Without ``targets`` also an ``(x, y)`` pair or a DataLoader, of which the first batch is taken. Arrays and
            nested lists of numbers are taken for tensors.
        targets: Class indices ``(N,)``, of positions ``(N, H, W)`` or ``(N, T)``, or class probabilities; with ``loss``
            whatever it reads. Only proxies that need labels read them.
        proxies: One or several of ``NAME``, ``NAME(option=value)`` or ``FILE.py:NAME``. Default: all but those of
            TE-NAS's exact kernel, and without targets all of these that need no labels.
        loss: A function ``(logits, targets) -> scalar``, as of ``torch.nn.functional`` or a module, that returns the
            mean over the images. Default: cross-entropy.
        mode: ``"exact"``, or ``"fast"`` for bf16 passes (approximate: same ranking, other digits).
        device: Where to run; default: where the network is.
        seed: Of the draws that a proxy makes itself (Gaussian images, dropout).

    Returns:
        A :class:`Score` for each proxy, in the order asked for. A proxy that has no value for this network (a dead
        cell, a singular kernel, NaN) gives a failed score with its reason; the others are unaffected.

    Raises:
        InputError: An unknown proxy, missing labels, a batch too small, shapes, labels or a loss that do not fit the
            network.
        DeviceError: The device has failed and computes no more in this process.
    """
    (scores,) = score_repeats(
        [network],
        [inputs],
        None if targets is None else [targets],
        proxies,
        loss=loss,
        mode=mode,
        device=device,
        seeds=[check_integer("seed", seed, least=0)],
    )
    return scores


def score_repeats(
    networks: Sequence[nn.Module],
    inputs: Sequence[Any],
    targets: Sequence[Any] | None = None,
    proxies: str | ProxyRequest | Iterable[str | ProxyRequest] | None = None,
    *,
    loss: Loss | None = None,
    mode: str = "exact",
    device: torch.device | str | None = None,
    seeds: Sequence[int] | None = None,
    memory: Memory | None = None,
) -> list[dict[str, Score]]:
    """Score several repeats of one architecture, each on a batch of its own, with the launches of one.

    Networks that cannot run as one (see :mod:`stacking`) are scored one by one. Where the device's memory is too small,
    fewer run at once, then with less held at once; a score that does not fit even so is a failed one.

    Args:
        networks: R networks of one structure; they are left exactly as they were.
        inputs: R batches as of :func:`score`.
        targets: R times the targets, or None.
        proxies: As of :func:`score`.
        loss: As of :func:`score`, of each batch.
        mode: As of :func:`score`.
        device: Where to run; default: where the first network is.
        seeds: Of each repeat's own draws; default 0.
        memory: What is known of the device's memory, to be kept from one call to the next.

    Returns:
        For each repeat what :func:`score` returns for it, but for rounding. Repeats that share their passes share the
        passes' seconds equally.

    Raises:
        InputError: As of :func:`score`, or there are not as many batches, labels or seeds as networks.
        DeviceError: As of :func:`score`.
    """
    seeds = [0] * len(networks) if seeds is None else seeds
    for name, given in (("batches", inputs), ("labels", targets), ("seeds", seeds)):
        if given is not None and len(given) != len(networks):
            raise InputError(f"{len(networks)} networks need as many {name}, not {len(given)}")
    each = zip(networks, inputs, targets or [None] * len(networks), seeds, strict=True)
    batches = [read_batch(network, x, y, loss=loss, seed=s) for network, x, y, s in each]
    labels = all(batch.targets is not None for batch in batches)
    requests = resolve(default_names(labels=labels) if proxies is None else proxies)
    for request in requests:
        if request.proxy.needs_labels and not labels:
            raise InputError(f"{request.proxy.name} needs labels; give targets")
        for batch in batches:
            if batch.images < request.proxy.min_batch:
                raise InputError(
                    f"{request.proxy.name} needs a batch of at least {request.proxy.min_batch}, not {batch.images}"
                )
    reads = {r for q in requests for r in q.proxy.reads}
    if memory is None:
        memory = Memory(where_to_run(networks[0], batches[0].example, device)[0])

    def evaluate(start: int, limits: Limits) -> list[dict[str, Score]]:
        chosen = slice(start, start + limits.repeats)
        try:
            probes = Probe.stacked(
                networks[chosen],
                batches[chosen],
                reads=reads,
                mode=mode,
                device=device,
                seeds=seeds[chosen],
                limits=limits,
                loss=loss,
            )
        except torch.OutOfMemoryError:
            if limits.smaller() is not None:
                raise
            return [{str(request): _too_large(memory.device) for request in requests}]
        return [{str(request): _evaluate(request, probe) for request in requests} for probe in probes]

    limits = memory.fitting(widest(memory.device, len(networks), batches[0].images))
    scores: list[dict[str, Score]] = []
    with standard_torch_state(memory.device):
        while len(scores) < len(networks):
            limits = replace(limits, repeats=min(limits.repeats, len(networks) - len(scores)))
            found, limits = _fitting(partial(evaluate, len(scores)), limits, memory)
            scores += found
    return scores


def _fitting(
    evaluate: Callable[[Limits], list[dict[str, Score]]], limits: Limits, memory: Memory
) -> tuple[list[dict[str, Score]], Limits]:
    """The first repeats' scores, with as much held at once as the memory allows; and how much that was."""
    while True:
        memory.start()
        try:
            scores = evaluate(limits)
        except Unstackable:
            if limits.repeats == 1:
                raise
            limits = replace(limits, repeats=1)
            continue
        except torch.OutOfMemoryError:
            smaller = limits.smaller()
            if smaller is None:
                raise
        else:
            memory.fitted(limits)
            return scores, limits
        memory.ran_out(limits)  # only here, where the error and with it the tensors of its frames are gone
        limits = smaller


def _evaluate(request: ProxyRequest, probe: Probe) -> Score:
    clock = probe.passes.clock
    passes = sum(clock.seconds.values())
    start = time.perf_counter()

    def seconds() -> float:
        own = time.perf_counter() - start - (sum(clock.seconds.values()) - passes)
        return max(own, 0.0) + probe.seconds_for(request.proxy.reads)

    try:
        with named_device_errors(probe.device):
            if request.proxy.built_in:
                value = guard.number(request.proxy.function(probe, **dict(request.options)))
            else:
                value = guard.value_of(request, probe)
    except (PrejudgeError, Unstackable):
        raise
    except torch.OutOfMemoryError:
        if probe.passes.limits.smaller() is not None:
            raise
        return _too_large(probe.device, seconds())
    except ScoreFailure as failure:
        return Score.failed(str(failure), seconds())
    except Exception as error:  # a third party's proxy may raise anything, and the other scores must survive it
        raise_if_device_failed(error, probe.device)
        return Score.failed(f"{type(error).__name__}: {error}{_place(error, request)}", seconds())
    if value != value or value in (float("inf"), float("-inf")):
        return Score.failed(f"the value is {value}", seconds())
    return Score(value, seconds=seconds(), remarks=probe.remarks_on(request.proxy.reads, value))


def _place(error: Exception, request: ProxyRequest) -> str:
    """The line of a third-party proxy's file that raised an error; PREJUDGE_DEBUG shows the whole traceback."""
    if os.environ.get("PREJUDGE_DEBUG"):
        traceback.print_exception(error)
    if request.proxy.built_in:
        return ""
    file = request.proxy.function.__code__.co_filename if isinstance(request.proxy.function, FunctionType) else ""
    lines = [line for path, line, *_ in traceback.extract_tb(error.__traceback__) if path == file]
    return f" ({Path(file).name}, line {lines[-1]})" if lines else ""


def _too_large(device: torch.device, seconds: float = 0.0) -> Score:
    return Score.failed(
        f"out of memory on {device} with one network at a time; lower the batch size, or the channels or cells",
        seconds,
    )
