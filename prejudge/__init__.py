"""Judge neural architectures before you train them.

Everything public is here and is imported when it is first touched, so that ``import prejudge`` costs nothing:
torch, pandas, scipy and h5py load only where they are needed.

>>> import prejudge
>>> space = prejudge.space("nasbench201")
>>> arch = space.parse("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
>>> space.params(arch)
73306
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from prejudge._version import __version__

if TYPE_CHECKING:
    from prejudge import benchmarks, cache, data, engine, pipeline, proxies, report, search, spaces, train
    from prejudge.benchmarks import Metric, Table, benchmark, correlate
    from prejudge.cache import Protocol, ScoreCache, fill
    from prejudge.errors import BusyError, FileFormatError, InputError, MissingDataError, PrejudgeError
    from prejudge.proxies.registry import proxy
    from prejudge.proxies.score import Score
    from prejudge.proxies.scoring import score
    from prejudge.spaces import space

_HOME = {
    "space": "prejudge.spaces",
    "score": "prejudge.proxies.scoring",
    "proxy": "prejudge.proxies.registry",
    "Score": "prejudge.proxies.score",
    "ScoreCache": "prejudge.cache",
    "Protocol": "prejudge.cache",
    "fill": "prejudge.cache",
    "benchmark": "prejudge.benchmarks",
    "correlate": "prejudge.benchmarks",
    "Metric": "prejudge.benchmarks",
    "Table": "prejudge.benchmarks",
    "PrejudgeError": "prejudge.errors",
    "InputError": "prejudge.errors",
    "MissingDataError": "prejudge.errors",
    "FileFormatError": "prejudge.errors",
    "BusyError": "prejudge.errors",
}
"""Where each public name lives."""

_ROOMS = (
    "benchmarks",
    "cache",
    "data",
    "engine",
    "errors",
    "pipeline",
    "proxies",
    "report",
    "search",
    "spaces",
    "train",
)

__all__ = [
    "BusyError",
    "FileFormatError",
    "InputError",
    "Metric",
    "MissingDataError",
    "PrejudgeError",
    "Protocol",
    "Score",
    "ScoreCache",
    "Table",
    "__version__",
    "benchmark",
    "benchmarks",
    "cache",
    "correlate",
    "data",
    "engine",
    "fill",
    "pipeline",
    "proxies",
    "proxy",
    "report",
    "score",
    "search",
    "space",
    "spaces",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name in _ROOMS:
        value = import_module(f"prejudge.{name}")
    else:
        raise AttributeError(f"module 'prejudge' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
