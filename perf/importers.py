"""Cost of importing the official benchmark files, beside the official readers. Writes ``results/importers.json``.

    python perf/importers.py [--full]

All files are fabricated in the published formats. NAS-Bench-101 is compared with a plain reading of each record with
``json``, ``base64`` and Google's ``protobuf``, which makes of it what the official loader makes (TensorFlow's share,
the framing and its checksums, is done with the same library as ours); NAS-Bench-201 with the official packages. What is
not installed is left out and named. ``--full`` also makes a file of the size of ``nasbench_full.tfrecord`` (2.1 GB on
disk, five million records, minutes) and measures it instead of extrapolating.
"""

from __future__ import annotations

import argparse
import base64
import gc
import json
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from environment import environment

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from prejudge.benchmarks.importers.nasbench101.importer import import_nasbench101, read_file
from prejudge.formats.tfrecord import read_blocks
from prejudge.spaces.nasbench101.space import NASBench101
from tests.benchmarks.importers import nasbench101_files as files
from tests.benchmarks.importers import official_files

TARGETS = {
    "nasbench101 rows_per_second over plain protobuf": ">= 5",
    "nasbench101 peak memory of the full file, MB": "<= 500",
    "nasbench201 open_ms": "< 50",
    "nasbench201 query_us": "< 5",
}
CELLS, FULL_RECORDS = 423_624, 423_624 * 12
SCHEDULES = (4, 12, 36, 108)
ARCHITECTURES = 15_625

_IMPORT = """
import sys, time
from prejudge.benchmarks.importers.KIND import import_KIND
start = time.perf_counter()
import_KIND(sys.argv[1], sys.argv[2])
seconds = time.perf_counter() - start
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(seconds, int(peak.split()[1]) / 1024)
"""

_MEASURED = """
import json, sys, time
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
def timed(function, repeats=1):
    start = time.perf_counter()
    for _ in range(repeats): function()
    return (time.perf_counter() - start) / repeats
PREPARE
before = rss(); start = time.perf_counter()
OPEN
found = {"open_ms": (time.perf_counter() - start) * 1e3, "open_rss_mb": rss() - before}
found["first_query_ms"] = timed(lambda: query(1)) * 1e3
found["query_us"] = timed(lambda: query(1), 2000) * 1e6
found["column_ms"] = timed(column) * 1e3
found["column_again_ms"] = timed(column) * 1e3
found["rss_mb_after_all"] = rss() - before
found["value"] = query(1)
print(json.dumps(found))
"""

_PREJUDGE = (
    "import h5py, numpy; from prejudge.benchmarks import open_table; from prejudge.spaces import space",
    """
table = open_table(sys.argv[1])
archs = [str(space("nasbench201")[i]) for i in range(int(sys.argv[2]))]
def query(i): return table.query(archs[i], "cifar100_test_200ep")
def column(): return table.column("cifar100_test_200ep")
""",
)
_ASK = """
def query(i): return api.get_more_info(i, "cifar100", hp="200", is_random=False)["test-accuracy"]
def column(): return [query(i) for i in range(int(sys.argv[2]))]
"""
_OFFICIAL = {
    "nas_201_api .pth": (
        "import torch; from nas_201_api import NASBench201API",
        f"api = NASBench201API(torch.load(sys.argv[1], weights_only=False), verbose=False){_ASK}",
    ),
    "nats_bench .pickle.pbz2": (
        "import nats_bench",
        f"api = nats_bench.create(sys.argv[1], 'tss', fast_mode=False, verbose=False){_ASK}",
    ),
    "nats_bench directory, fast_mode": (
        "import nats_bench",
        f"api = nats_bench.create(sys.argv[1], 'tss', fast_mode=True, verbose=False){_ASK}",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "importers.json")
    parser.add_argument("--records", type=int, default=100_000, help="of NAS-Bench-101 (default: 100,000)")
    parser.add_argument("--architectures", type=int, default=100, help="of NAS-Bench-201 (default: 100)")
    parser.add_argument("--repeats", type=int, default=7, help="of each timing; the median counts (default: 7)")
    parser.add_argument("--full", action="store_true", help="measure a file of five million records")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {
            "nasbench101": _nasbench101(Path(folder), options.records, options.repeats, full=options.full),
            "nasbench201": _nasbench201(Path(folder), options.architectures),
        }
    result = {"environment": environment(), "targets": TARGETS, "measured": found}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def _nasbench101(folder: Path, records: int, repeats: int, *, full: bool) -> dict[str, Any]:
    cells = _cells(CELLS if full else records // 3)
    found: dict[str, Any] = {}
    for name, schedules in (("only108", (108,)), ("full", SCHEDULES)):
        count = records // 3 // len(schedules)
        path = files.write_tfrecord(folder / f"{name}.tfrecord", _payloads(cells[:count], schedules))
        found[name] = _reading(path, count * 3 * len(schedules), repeats)
    found["memory"] = _memory(folder, cells[: records // 3], records)
    if full:
        path = files.write_tfrecord(folder / "all.tfrecord", _payloads(cells, SCHEDULES))
        seconds, peak = _imported("nasbench101", path, folder / "all.h5")
        found["all"] = {"bytes": path.stat().st_size, "records": FULL_RECORDS, "import_seconds": round(seconds, 1),
                        "peak_mb": round(peak), "table_bytes": (folder / "all.h5").stat().st_size}  # fmt: skip
        path.unlink()
    return found


def _reading(path: Path, records: int, repeats: int) -> dict[str, Any]:
    """Rows per second; the ways take turns, so that a busy machine slows all of them."""
    ways: dict[str, Callable[[], object]] = {
        "prejudge": lambda: read_file(path),
        "framing and checksums alone": lambda: sum(map(len, read_blocks(path))),
    }
    if find_spec("google") and find_spec("google.protobuf"):
        parse = _google()
        ways["plain protobuf"] = lambda: _plainly(path, parse)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            gc.collect()
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    start = time.perf_counter()
    import_nasbench101(path, path.with_suffix(".h5"))
    found: dict[str, Any] = {
        "records": records,
        "bytes": path.stat().st_size,
        "rows_per_second": {name: round(records / median) for name, median in medians.items()},
        "whole_import_seconds": round(time.perf_counter() - start, 2),
    }
    if "plain protobuf" in medians:
        found["prejudge_over_plain_protobuf"] = round(medians["plain protobuf"] / medians["prejudge"], 2)
    else:
        found["plain protobuf"] = "not installed"
    return found


def _plainly(path: Path, parse: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Each record by itself, into the dictionaries of the official API."""
    from google_crc32c import value

    fixed: dict[str, Any] = {}
    computed: dict[str, Any] = {}
    with path.open("rb") as file:
        while header := file.read(12):
            value(header[:8])
            payload = file.read(struct.unpack("<Q", header[:8])[0])
            value(payload)
            file.read(4)
            key, epochs, digits, names, metrics = json.loads(payload.decode())
            size = int(np.sqrt(len(digits)))
            matrix = np.array([int(digit) for digit in digits], dtype=np.int8).reshape(size, size)
            operations = names.split(",")
            message = parse.FromString(base64.b64decode(metrics))
            if key not in fixed:
                fixed[key] = {"module_adjacency": matrix, "module_operations": operations,
                              "trainable_parameters": message.trainable_parameters}  # fmt: skip
                computed[key] = {}
            run = {}
            for moment, evaluation in (("halfway", message.evaluation_data[1]), ("final", message.evaluation_data[2])):
                run[f"{moment}_training_time"] = evaluation.training_time
                run[f"{moment}_train_accuracy"] = evaluation.train_accuracy
                run[f"{moment}_validation_accuracy"] = evaluation.validation_accuracy
                run[f"{moment}_test_accuracy"] = evaluation.test_accuracy
            computed[key].setdefault(epochs, []).append(run)
    return fixed, computed


def _google() -> Any:
    """Google's class for the message; a descriptor says what the published ``.proto`` file says."""
    from tests.benchmarks.importers.test_model_metrics import google_class

    return google_class()


def _memory(folder: Path, cells: list[files.Cell], records: int) -> dict[str, Any]:
    """Peak of the whole process for three sizes, and the line through them at the number of all cells."""
    peaks = {}
    for count in (records // 48, records // 24, records // 12):
        path = files.write_tfrecord(folder / "part.tfrecord", _payloads(cells[:count], SCHEDULES))
        peaks[count] = _imported("nasbench101", path, folder / f"part{count}.h5")[1]
    slope, start = np.polyfit(list(peaks), list(peaks.values()), 1)
    return {
        "peak_mb_by_cells": {count: round(peak) for count, peak in peaks.items()},
        "peak_mb_extrapolated_to_all_cells": round(start + slope * CELLS),
    }


def _imported(kind: str, path: Path, out: Path) -> tuple[float, float]:
    """Seconds and peak megabytes of an import in a process of its own."""
    command = [sys.executable, "-c", _IMPORT.replace("KIND", kind), str(path), str(out)]
    seconds, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(seconds), float(peak)


def _cells(count: int) -> list[files.Cell]:
    space = NASBench101()
    archs = [space[i] for i in range(0, CELLS, CELLS // count)][:count]
    names = [",".join(["input", *(space.operations[op] for op in arch.operations), "output"]) for arch in archs]
    digits = ["".join(str(entry) for row in arch.matrix for entry in row) for arch in archs]
    return list(zip(space.canonical_many(archs), digits, names, strict=True))


def _payloads(cells: list[files.Cell], schedules: tuple[int, ...]) -> Iterator[bytes]:
    """As ``nasbench101_files.payloads``, but fast; base64 in lines, which gives the published size to the byte."""
    rng = random.Random(0)
    evaluations = struct.Struct("<" + "BBBdBdBdBdBd" * 3)
    accuracies = [files.single(k / files.IMAGES) for k in range(files.IMAGES + 1)]
    for key, digits, names in cells:
        params = files.tagged(2, 0, files.varint(rng.randrange(200_000, 50_000_000)))
        for _ in range(3):
            for epochs in schedules:
                seconds, fields = rng.uniform(5, 25) * epochs, []
                for part in (0.0, 0.5, 1.0):
                    values = (part * epochs, files.single(part * seconds), *rng.choices(accuracies, k=3))
                    fields += [10, 45, 9, values[0], 17, values[1], 25, values[2], 33, values[3], 41, values[4]]
                message = evaluations.pack(*fields) + params + b"\x19" + struct.pack("<d", seconds * 1.07)
                text = base64.encodebytes(message).replace(b"\n", b"\\n").decode()
                yield f'["{key}", {epochs}, "{digits}", "{names}", "{text}"]'.encode()


def _nasbench201(folder: Path, count: int) -> dict[str, Any]:
    """Opening and queries, each in a fresh process that has imported the libraries before."""
    found: dict[str, Any] = {"architectures": count}
    for version, write in (("v1_1", official_files.write_pth), ("nats", official_files.write_pbz2)):
        path = write(folder, official_files.contents(count, version))
        sources = {f"prejudge, made of {path.suffix}": path}
        if version == "nats":
            sources["nats_bench .pickle.pbz2"] = path
            content = official_files.contents(count, version)
            sources["nats_bench directory, fast_mode"] = official_files.write_directory(folder, content)
        else:
            sources["nas_201_api .pth"] = path
        for name, source in sources.items():
            if name.startswith("prejudge"):
                table = folder / f"{version}.h5"
                seconds, peak = _imported("nasbench201", source, table)
                imported = {"import_seconds": round(seconds, 2), "import_peak_mb": round(peak)}
                found[name] = imported | _measured(*_PREJUDGE, table, count)
            elif find_spec(name.split()[0]):
                measured = _measured(*_OFFICIAL[name], source, count)
                factor = ARCHITECTURES / count
                found[name] = measured | {
                    "file_bytes": sum(f.stat().st_size for f in ([source] if source.is_file() else source.iterdir())),
                    "extrapolated_to_all": {
                        "open_seconds": round(measured["open_ms"] / 1e3 * factor, 1),
                        "column_seconds": round(measured["column_ms"] / 1e3 * factor, 1),
                        "rss_mb_after_all": round(measured["rss_mb_after_all"] * factor),
                    },
                }
            else:
                found[name] = "not installed"
    return found


def _measured(prepare: str, opening: str, path: Path, count: int) -> dict[str, Any]:
    program = _MEASURED.replace("PREPARE", prepare).replace("OPEN", opening)
    runs = []
    for _ in range(3):
        command = [sys.executable, "-c", program, str(path), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}


if __name__ == "__main__":
    main()
