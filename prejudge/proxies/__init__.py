"""Training-free proxies: small functions over a probe that runs the passes they share, on any ``nn.Module``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prejudge.proxies import definitions  # noqa: F401  (registers the proxies; free of torch)
from prejudge.proxies.registry import Proxy, ProxyRequest, default_names, get, names, proxy, resolve
from prejudge.proxies.score import Score, ScoreFailure

if TYPE_CHECKING:
    from prejudge.proxies.probe import Probe
    from prejudge.proxies.scoring import score

__all__ = [
    "Probe",
    "Proxy",
    "ProxyRequest",
    "Score",
    "ScoreFailure",
    "default_names",
    "get",
    "names",
    "proxy",
    "resolve",
    "score",
]


def __getattr__(name: str) -> Any:
    if name == "Probe":
        from prejudge.proxies.probe import Probe

        return Probe
    if name == "score":
        from prejudge.proxies.scoring import score

        return score
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
