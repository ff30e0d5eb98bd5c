"""The protocol: everything a score depends on besides the architecture, the repeat and the proxy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from prejudge.cache.initialization import check_initialization
from prejudge.errors import InputError, quoted, unknown
from prejudge.formats.text import parse_json

BATCHES = ("fixed", "balanced", "per-architecture")
MODES = ("exact", "fast")


@dataclass(frozen=True)
class Protocol:
    """The conditions under which scores were computed. Scores of two protocols are never pooled.

    The device, the thread count and the library versions are not part of it: they do not define a score, they are kept
    beside each score as its provenance. A proxy's version and options belong to its column.

    Attributes:
        space: Name of the search space.
        macro: Every macro field of the networks, resolved (no default left out), as sorted ``(name, value)`` pairs;
            a mapping is accepted.
        data: Name of the image set.
        data_digest: Digest of its images and labels.
        mean: Of each channel, subtracted from the pixels (in 0..1 units); empty where not stated.
        std: Of each channel, by which they are divided.
        image_size: Side of the images in pixels; 0 where not stated.
        batch_size: Images per batch; 0 where not stated.
        batch: ``"fixed"`` (one batch for all architectures), ``"balanced"`` (likewise, with as many images of each
            class) or ``"per-architecture"``.
        augment: Whether the batch is augmented (random crop and flip) as the originals do.
        init: How the weights are drawn.
        dtype: Type of weights and images.
        mode: ``"exact"`` or ``"fast"`` (see :func:`prejudge.score`).
        seed: Base seed; repeat r draws weights and batch with ``seed + r``.
        source: Where the scores come from, when they were not computed here.
        init_weights: One of :data:`prejudge.cache.initialization.WEIGHTS`; ``"default"`` is left out of the digest.
        init_biases: One of :data:`prejudge.cache.initialization.BIASES`, likewise.
    """

    space: str
    macro: tuple[tuple[str, Any], ...] = ()
    data: str = ""
    data_digest: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    image_size: int = 32
    batch_size: int = 64
    batch: str = "fixed"
    augment: bool = False
    init: str = "torch default"
    dtype: str = "float32"
    mode: str = "exact"
    seed: int = 0
    source: str = ""
    init_weights: str = "default"
    init_biases: str = "default"

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
        pairs = self.macro.items() if isinstance(self.macro, Mapping) else self.macro
        object.__setattr__(self, "macro", tuple(sorted((str(k), _frozen(v)) for k, v in pairs)))
        if self.batch not in BATCHES:
            raise unknown("batch", self.batch, BATCHES)
        if self.mode not in MODES:
            raise unknown("mode", self.mode, MODES)
        check_initialization(self.init_weights, self.init_biases)
        for name in ("image_size", "batch_size"):
            if getattr(self, name) < 0:
                raise InputError(f"protocol: {name} must not be negative, it is {getattr(self, name)}")

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits of the SHA-256 of :meth:`to_json`; the key of the protocol in a cache."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Canonical JSON: equal protocols have equal texts."""
        values = asdict(self) | {"macro": dict(self.macro)}
        values = {k: v for k, v in values.items() if not (k.startswith("init_") and v == "default")}
        return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> Protocol:
        """Read what :meth:`to_json` wrote; raises :class:`InputError` for anything else."""
        try:
            values = parse_json(text)
            json.dumps(values, allow_nan=False)
            for field in fields(cls):
                kinds = (
                    (list, dict) if field.default == () else (type(field.default) if field.name != "space" else str,)
                )
                if field.name in values and type(values[field.name]) not in kinds:
                    raise TypeError(f"{field.name} is {quoted(values[field.name])}")
            found = cls(**values)
            hash(found)
            return found
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(f"not a protocol: {error}") from None

    def describe(self) -> dict[str, str]:
        """The protocol in words, for reports: ``{label: text}``."""
        macro = ", ".join(f"{k}={v}" for k, v in self.macro)
        texts = {
            "protocol": self.digest,
            "space": self.space,
            "macro-architecture": macro or "not stated",
            "data": f"{self.data or 'not stated'}" + (f" ({self.data_digest})" if self.data_digest else ""),
            "normalized with": f"mean {_numbers(self.mean)}, std {_numbers(self.std)}" if self.mean else "not stated",
            "image size": f"{self.image_size} × {self.image_size}" if self.image_size else "not stated",
            "batch": (f"{self.batch_size} images, " if self.batch_size else "")
            + ("balanced, " if self.batch == "balanced" else "")
            + (
                "another for each architecture"
                if self.batch == "per-architecture"
                else "the same for all architectures"
            )
            + (", augmented" if self.augment else ", not augmented"),
            "initialization": self.init
            + (f", weights {self.init_weights}" if self.init_weights != "default" else "")
            + (f", biases {self.init_biases}" if self.init_biases != "default" else ""),
            "precision": self.dtype + (", fast mode" if self.mode == "fast" else ""),
            "base seed": str(self.seed),
        }
        return texts | ({"source": self.source} if self.source else {})


def differences(protocols: Iterable[Protocol]) -> dict[str, str]:
    """The fields in which several protocols differ: ``{digest: "field=value, …"}``."""
    chosen = list(protocols)
    flat = [_flat(p) for p in chosen]
    names = dict.fromkeys(name for values in flat for name in values)
    differing = [n for n in names if len({json.dumps(values.get(n), sort_keys=True) for values in flat}) > 1]
    return {
        p.digest: ", ".join(f"{n}={values[n]}" for n in differing if n in values)
        for p, values in zip(chosen, flat, strict=True)
    }


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{v:.4g}" for v in values)


def _frozen(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_frozen(v) for v in value)
    return value.item() if hasattr(value, "item") else value  # a numpy number


def _flat(protocol: Protocol) -> dict[str, Any]:
    values = {f.name: getattr(protocol, f.name) for f in fields(protocol) if f.name != "macro"}
    return values | {f"macro.{k}": v for k, v in protocol.macro}
