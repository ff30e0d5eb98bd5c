"""What commands that learn keep while they run, and what they leave in the end, as rows to compare."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from prejudge.engine.journal import read_journal
from prejudge.formats.atomic import beside
from prejudge.search import read_result
from prejudge.train.checkpoint import read_checkpoint
from prejudge.train.export.weights import load_weights
from tests.engine.chaos import Rows

VARYING = ("seconds", "images_per_second", "folder", "checkpoint")
"""What the clock says, and where a run was."""


def learned(folder: Path) -> Rows:
    """Epochs by their number, as the checkpoints below a folder have them and as the logs beside those do."""
    rows: Rows = {}
    for file in sorted(folder.rglob("*.pt")):
        found, place = read_checkpoint(file), str(file.parent.relative_to(folder))
        if file.name == "last.pt" and "history" in found.state:
            assert len(found.state["history"]) == found.epoch
            rows |= {(place, n): plain(epoch) for n, epoch in enumerate(found.state["history"], start=1)}
    for file in sorted(folder.rglob("log.jsonl")):
        place = str(file.parent.relative_to(folder))
        whole = file.read_bytes().rpartition(b"\n")[0].splitlines()
        logged = [json.loads(line) for line in whole]
        assert [entry["epoch"] for entry in logged] == list(range(1, len(logged) + 1))
        rows |= {(place, "log", entry["epoch"]): plain(entry) for entry in logged}
    return rows


def supernets(out: Path) -> Rows:
    """Epochs of a search in a supernet."""
    return learned(beside(out, ".run"))


def trained(out: Path) -> Rows:
    """What a training leaves: every epoch, its result, its weights, and how they do on the test images."""
    whole(out)
    network, described = load_weights(out / "weights.safetensors")
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    rows = learned(out)
    for name in ("result.json", "test.json"):
        rows[name] = plain(json.loads((out / name).read_text()))
    assert [key for key in rows if key[1:2] == ("log",)] == [(".", "log", n) for n in range(1, 1 + len(epochs(rows)))]
    return rows | {"weights": digest.hexdigest(), "architecture": str(described.architecture)}


def epochs(rows: Rows) -> list[Any]:
    """The keys of epochs in checkpoints."""
    return [key for key in rows if isinstance(key, tuple) and len(key) == 2]


def searched(out: Path) -> Rows:
    """The runs of a result file, but for what the clock says."""
    whole(out.parent)
    return {
        t.seed: (t.recommendation, tuple(t.architectures), tuple(map(repr, t.values)), plain(t.metadata))
        for t in read_result(out).trajectories
    }


def chain_steps(out: Path) -> Rows:
    """The steps of a chain that are done, and the epochs of its training."""
    journal = read_journal(out / "run.journal")
    if journal is None:
        return {}
    steps = {record["step"]: record for record in journal.records}
    return learned(out) | {("step", name): step["key"] for name, step in steps.items() if step["done"]}


def chain_results(out: Path) -> Rows:
    """Everything that the steps of a chain leave."""
    whole(out)
    assert "<html" in (out / "report" / "report.html").read_text()[:200]
    tested = plain(json.loads((out / "test" / "test.json").read_text()))
    return chain_steps(out) | trained(out / "train") | searched(out / "search" / "search.h5") | {"test": tested}


def whole(folder: Path) -> None:
    """Nothing half-written is left."""
    assert not list(folder.rglob("*.part"))


def plain(content: Any) -> str:
    """As text, without what the clock says and where it was."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: without(v) for k, v in value.items() if not (k in VARYING or str(k).endswith("seconds"))}
        return [without(v) for v in value] if isinstance(value, list | tuple) else value

    return json.dumps(without(content), sort_keys=True)
