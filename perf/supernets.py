"""Time of a search's step on supernets, against operations run one at a time. Writes ``results/supernets.json``.

    python perf/supernets.py [--threads 2] [--rounds 5] [--only nasbench201]

A first-order DARTS step is one of the architecture (the gradient of its parameters alone) and one of the weights (the
gradient of theirs, with the mixture held fixed), both without the optimizers, which are the same in either way.
``plain`` runs every operation as a module of its own on tensors of torch's usual format, as
tests/spaces/plain_supernet.py does; ``shared`` is the package's way. The ways take turns within each round, and the
ratio is that of the medians. A busy machine stretches the clock, for which reason the processor's seconds, summed over
threads, are kept too. ``sparse`` is a step of ISTA-NAS, two operations a node.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Idle threads that spin take the time of those that work wherever the machine has other work too.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from perf.environment import measure_parts  # noqa: E402
from prejudge.spaces import space  # noqa: E402
from prejudge.spaces.darts.candidates import DARTS8, EDGES, edge_index  # noqa: E402
from prejudge.spaces.nn.supernet import Active, Mixture, Supernet, weighted  # noqa: E402
from tests.spaces.plain_supernet import Plain  # noqa: E402

SUPERNETS: Mapping[str, Callable[[], Supernet]] = {
    "darts-8-operations": lambda: space("darts").supernet(candidates=DARTS8),
    "darts-7-operations": lambda: space("darts").supernet(),
    "nasbench201": lambda: space("nasbench201").supernet(),
}
BATCH, SIDE = 16, 32


class Steps:
    """The passes of a search on one supernet, in one of the two ways.

    Args:
        network: From images and a mixture to logits.
        supernet: Whose weights and candidates these are.
        active: What is executed; everything where left out.
    """

    def __init__(self, network: nn.Module, supernet: Supernet, active: Active | None = None):
        generator = torch.Generator().manual_seed(0)
        self.network = network
        self.active = active
        self.weights = list(supernet.parameters())
        self.alphas = {
            kind: torch.randn(len(edges), len(edges[0]), generator=generator).mul_(1e-3).requires_grad_()
            for kind, edges in supernet.candidates.items()
        }
        self.images = torch.randn(BATCH, 3, SIDE, SIDE, generator=generator)
        self.targets = torch.randint(0, 10, (BATCH,), generator=generator)

    def mixture(self) -> Mixture:
        return weighted({kind: alpha.softmax(1) for kind, alpha in self.alphas.items()}, self.active)

    def loss(self, mixture: Mixture) -> Tensor:
        return cross_entropy(self.network(self.images, mixture), self.targets)

    def architecture(self) -> None:
        """Gradients of the architecture parameters."""
        torch.autograd.grad(self.loss(self.mixture()), list(self.alphas.values()))

    def learning(self) -> None:
        """Gradients of the weights."""
        with torch.no_grad():
            mixture = self.mixture()
        torch.autograd.grad(self.loss(mixture), self.weights, allow_unused=True)

    def both(self) -> None:
        """Gradients of everything in one pass, as a plain forward and backward pass computes them."""
        torch.autograd.grad(self.loss(self.mixture()), [*self.alphas.values(), *self.weights], allow_unused=True)


def two_operations_a_node() -> Active:
    """What ISTA-NAS executes: here a separable convolution and a skip connection on each node's first two edges."""
    edges: list[list[int]] = [[] for _ in EDGES]
    for node in range(4):
        edges[edge_index(node, 0)], edges[edge_index(node, 1)] = [3], [2]
    return {"normal": edges, "reduce": edges}


def timed(ways: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, float]]:
    """Medians of the seconds of each way, by the clock and of the processor; the ways take turns."""
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, run in ways.items():
            clock, processor = time.perf_counter(), time.process_time()
            run()
            if number:  # the first round warms up
                found[way].append((time.perf_counter() - clock, time.process_time() - processor))
    return {
        way: dict(zip(("seconds", "processor_seconds"), map(statistics.median, zip(*values, strict=True)), strict=True))
        for way, values in found.items()
    }


def compared(name: str, rounds: int) -> dict[str, Any]:
    """The steps of one supernet in both ways."""
    torch.manual_seed(0)
    supernet = SUPERNETS[name]()
    plain, shared = Steps(Plain(supernet), supernet), Steps(supernet, supernet)
    ways = {
        f"{way} {step}": getattr(steps, step)
        for step in ("architecture", "learning", "both")
        for way, steps in (("plain", plain), ("shared", shared))
    }
    if name == "darts-7-operations":
        sparse = Steps(supernet, supernet, two_operations_a_node())
        ways |= {"sparse architecture": sparse.architecture, "sparse learning": sparse.learning}
    times = timed(ways, rounds)
    parts = "architecture", "learning"
    step = {
        way: {unit: sum(times[f"{way} {part}"][unit] for part in parts) for unit in ("seconds", "processor_seconds")}
        for way in ("plain", "shared", "sparse")
        if f"{way} learning" in times
    }
    ratios = {
        "first-order step": {unit: step["shared"][unit] / step["plain"][unit] for unit in step["plain"]},
        **{
            part: {unit: times[f"shared {part}"][unit] / times[f"plain {part}"][unit] for unit in step["plain"]}
            for part in (*parts, "both")
        },
    }
    result = {"median": times, "first_order_step": step, "shared_over_plain": ratios}
    print(name, json.dumps(result, indent=1), flush=True)
    return result


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=sorted(SUPERNETS), help="one supernet")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "supernets.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    parts: dict[str, Callable[[], Any]] = {
        f"{name} {options.threads} thread{'s' * (options.threads > 1)}": lambda name=name: compared(
            name, options.rounds
        )
        for name in SUPERNETS
        if options.only in (None, name)
    }
    measure_parts(parts, None, options.out, options.threads)


if __name__ == "__main__":
    main()
