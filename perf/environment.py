"""What a measurement was taken with: kept beside every result."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("prejudge", "torch", "numpy", "scipy", "pandas", "h5py")


def environment() -> dict[str, Any]:
    """Versions, processor, threads, load and date, as plain values. Imports nothing heavy.

    Returns:
        A dictionary for JSON. ``load`` is the one-minute load average: timings taken on a busy machine say so.
    """
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "logical_cpus": os.cpu_count(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def measure_parts(parts: Mapping[str, Callable[[], Any]], only: str | None, out: Path, threads: int) -> None:
    """Measure, and write each part as soon as it is there; parts that are not measured now stay as they are.

    Args:
        parts: What to measure, by name.
        only: The one part to measure; None for all.
        out: The JSON file.
        threads: Threads of the measurement, to be kept beside it.
    """
    found = json.loads(out.read_text()) if out.exists() else {}
    for name, part in parts.items():
        if only in (None, name):
            found[name] = {"environment": environment(), "threads": threads, "result": part()}
            out.write_text(json.dumps(found, indent=1) + "\n")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _cpu() -> str:
    """The processor's name, with its family and model number where Linux gives them: names alone are often vague."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {k.strip(): v.strip() for k, v in found.items()}
    return f"{facts.get('model name', 'unknown')} (family {facts.get('cpu family')}, model {facts.get('model')})"
