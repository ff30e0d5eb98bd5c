"""``prejudge score``: compute the scores that a cache does not have yet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from cyclopts import App, Group, Parameter, validators

from prejudge.cli import output
from prejudge.cli.arguments import split_list
from prejudge.cli.notation_option import Notation
from prejudge.cli.options import (
    MACHINE,
    PUBLISHED,
    THIS_PROCESS,
    DataOptions,
    EngineOptions,
    NetworkOptions,
    Positive,
)
from prejudge.cli.progress import ClusterBar
from prejudge.cli.recipe_option import Recipe

if TYPE_CHECKING:
    from prejudge.cache import Protocol, ScoreCache

app = App(
    name="score",
    help_epilogue=(
        "Example: prejudge score nasbench201 --data digits --archs random:100 --proxies synflow --out scores.h5\n"
        "Example: prejudge score nasbench201 --data digits --shard 1/4 --out part-1.h5   (then: prejudge cache merge)\n"
        "Example: prejudge score nasbench201 --data digits --engine ray --address HOST:6379 --out scores.h5"
    ),
)

_BATCH = Group("Batch and repeats", sort_key=2)
_CACHED = Group("Scores that the cache has", sort_key=3)


@app.default
def score(
    space: str,
    *,
    images: DataOptions,
    out: Path,
    archs: str = "all",
    shard: str | None = None,
    proxies: str | None = None,
    recipe: Recipe = None,
    network: NetworkOptions = PUBLISHED,
    split: Annotated[str, Parameter(group=_BATCH)] = "train",
    batch_size: Annotated[int, Parameter(group=_BATCH, validator=Positive)] = 64,
    batch: Annotated[Literal["fixed", "balanced", "per-architecture"], Parameter(group=_BATCH)] = "fixed",
    augment: Annotated[bool, Parameter(group=_BATCH)] = False,
    init_weights: Annotated[str, Parameter(group=_BATCH)] = "default",
    init_biases: Annotated[str, Parameter(group=_BATCH)] = "default",
    repeats: Annotated[int, Parameter(group=_BATCH, validator=Positive)] = 1,
    repeats_at_once: Annotated[int | None, Parameter(group=MACHINE, validator=Positive)] = None,
    seed: Annotated[int, Parameter(group=_BATCH, validator=validators.Number(gte=0))] = 0,
    retry_failed: Annotated[bool, Parameter(group=_CACHED)] = False,
    rescore: Annotated[list[str] | None, Parameter(group=_CACHED, consume_multiple=True)] = None,
    timeout: Annotated[float | None, Parameter(group=MACHINE)] = None,
    digits: bool = False,
    mode: Annotated[Literal["exact", "fast"], Parameter(group=MACHINE)] = "exact",
    device: Annotated[str | None, Parameter(group=MACHINE)] = None,
    machine: EngineOptions = THIS_PROCESS,
    notation: Notation = None,
    as_json: output.Json = False,
) -> int:
    """Score untrained architectures of a space; only what the cache lacks is computed.

    Args:
        space: Search space, e.g. nasbench201 (see: prejudge list spaces).
        images: Images of the batch.
        out: Score cache (HDF5); an existing one is continued.
        archs: Which architectures: all, unique (one of each class of equivalents), random:N, unique:N, hnas:N (as
            HNAS draws in the space darts), index:N, or a file with one a line.
        shard: I/N, from 1/N to N/N: only this part of the architectures; prejudge cache merge puts the parts together.
        proxies: Comma-separated names, NAME(option=value) or FILE.py:NAME; all cheap ones if left out.
        recipe: YAML file that fills in what is left out here.
        network: Macro-architecture of the networks.
        split: Split of the data that batches are drawn from.
        batch_size: Images in the batch.
        batch: One fixed batch for all architectures, balanced (likewise, with as many images of each class), or a fresh
            one for each architecture.
        augment: Crop and flip the images at random, as in training.
        init_weights: How weights of convolutions and linear layers are drawn: default (as the space's networks are
            built), xavier, kaiming, normal or zero.
        init_biases: How their biases are: default, normal or zero.
        repeats: Scores per architecture, each with another initialization and batch.
        repeats_at_once: How many repeats of an architecture may be scored as one network, which saves launches: 16 on
            CUDA and 1 elsewhere if left out. Fewer where memory is short; scores do not depend on it.
        seed: Of initializations, batches and random:N.
        retry_failed: Try again what failed before; of proxies of your own it always is.
        rescore: Compute the scores of this command's architectures and repeats anew: those of the proxies that are
            named here, comma-separated, or of all. Each new score, a failed one too, replaces the old one when it is
            there; the same command goes on after an interruption.
        timeout: Seconds that an architecture may take; a proxy that takes longer alone has a failed score.
        digits: Compute each score a second time in float64, and keep in a column NAME:digits how many of its decimal
            digits that confirms.
        mode: exact, or fast (bf16: approximate).
        device: cpu, cuda, cuda:1, mps …; the CPU if left out.
        machine: Where the networks are scored.
        as_json: Print JSON instead of text.
    """
    from prejudge.cache import ScoreCache, Shard, fill
    from prejudge.proxies import resolve
    from prejudge.proxies.registry import default_names
    from prejudge.spaces import select
    from prejudge.spaces import space as find_space

    part = None if shard is None else Shard.parse(shard)
    where = find_space(space)
    shared = archs == "unique"
    chosen = select(where, "all" if shared else archs, seed=seed, notation=notation)
    names = split_list(proxies) if proxies is not None else default_names()
    columns = [str(request) for request in resolve(names)]
    overrides = network.overrides(where)

    from prejudge.data.loading import load

    output.check_cache(out)
    loaded = load(images.data, split=split, **images.places())
    bar = ClusterBar("scoring", quiet=as_json)
    engine = machine.open(device, bar.watch, timeout)
    with ScoreCache(out) as cache, bar:
        first_run = len(cache.runs())
        protocol = fill(
            cache,
            where,
            chosen,
            loaded,
            names,
            batch_size=batch_size,
            repeats=repeats,
            repeats_at_once=repeats_at_once,
            seed=seed,
            macro=overrides,
            mode=mode,
            device=device,
            batch=batch,
            augment=augment,
            init_weights=init_weights,
            init_biases=init_biases,
            share_classes=shared,
            retry_failed=retry_failed,
            rescore=rescore is not None and (split_list(",".join(rescore)) or True),
            shard=part,
            engine=engine,
            digits=digits,
            progress=bar,
        )
        content = next(p for p in cache.info()["protocols"] if p["protocol"] == protocol.digest)
        failures = _failures(cache, protocol, columns)
        counts = [cache.counts(protocol, name, first_run=first_run if bar.done else 0) for name in columns]
        confirmed = _digits(cache, protocol, columns) if digits else {}
    code = 1 if any(failed for _, failed in counts) and not any(ok for ok, _ in counts) else 0
    summary = {name: content["columns"][name] for name in columns}
    for name, found in confirmed.items():
        summary[name]["digits"] = found
    if as_json:
        result = {
            "file": str(out),
            "protocol": protocol.digest,
            "computed": bar.done,
            "columns": summary,
            "failures": failures,
        }
        output.print_json(result | ({"nodes": bar.nodes.done} if bar.nodes.done else {}))
        return code
    output.print_columns(f"{out}, protocol {protocol.digest}", summary)
    output.say(f"{bar.done} architectures scored now" if bar.done else "nothing to compute: the cache had every score")
    for name, found in confirmed.items():
        output.say(f"{name}: {found['median']:.1f} digits mean anything in the median, {found['least']:.1f} at least")
    for failure in failures:
        output.say(f"{failure['proxy']}: {failure['scores']} failed: {failure['reason']} (first: {failure['first']})")
    if failures:
        output.say("failed scores are kept; --retry-failed tries them again (those of your own proxies always are)")
    if bar.summary:
        output.say(f"by node: {bar.summary}")
    if part is not None:
        output.say("next, when all parts are there: prejudge cache merge PART.h5 … --out scores.h5")
        return code
    if code:
        return code
    output.say(f"next: prejudge report {out} --benchmark TABLE --out report.html   (tables: prejudge list benchmarks)")
    return 0


def _digits(cache: ScoreCache, protocol: Protocol, columns: list[str]) -> dict[str, dict[str, float]]:
    """For each proxy the median and the least number of digits that float64 confirms, where any is known."""
    from prejudge.cache.scorer import digits_column

    found = {name: cache.values(protocol, digits_column(name)) for name in columns}
    known = {name: values[np.isfinite(values)] for name, values in found.items()}
    return {n: {"median": float(np.median(v)), "least": float(v.min())} for n, v in known.items() if v.size}


def _failures(cache: ScoreCache, protocol: Protocol, columns: list[str]) -> list[dict[str, Any]]:
    """The reasons of failed scores: for each proxy and reason the number of scores and the first architecture."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in cache.failures(protocol).to_dict("records"):
        if row["proxy"] in columns:
            entry = {"proxy": row["proxy"], "reason": row["reason"], "first": row["architecture"], "scores": 0}
            found.setdefault((row["proxy"], row["reason"]), entry)["scores"] += 1
    return sorted(found.values(), key=lambda entry: (columns.index(entry["proxy"]), -entry["scores"]))
