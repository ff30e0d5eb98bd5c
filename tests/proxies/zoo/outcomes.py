"""What becomes of every default proxy on every network of the zoo, and the page that says so.

``python -m tests.proxies.zoo.outcomes FILE.jsonl`` scores the networks that the file lacks, appends their outcomes, and
writes the page ``docs/zoo.md``.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from prejudge.proxies.registry import default_names
from prejudge.proxies.score import Score
from prejudge.proxies.scoring import score
from tests.docs.pages import DOCS
from tests.proxies.zoo.models import CLASSES, ZOO, Entry
from tests.proxies.zoo.oracle import ALL, Oracle

PAGE = DOCS / "zoo.md"
PROXIES = [*(name for name in default_names() if name != "zen"), ALL]
EQUAL, ROUNDED, MISCOUNT = "=", "≈", "**≠**"
REASONS = {
    "a": ("no activation .*lies", "no ReLU lies between the images and the logits"),
    "b": ("batch norm couples", "batch norm couples the images, and no convention says what is whose in an operation"),
    "c": ("no convention says what the channels", "no convention says what the channels of an operation are"),
    "i": ("changed in place", "a part of what an operation returned was changed in place"),
    "j": ("does not depend on the images", "batch norm makes the sum of logits independent of the images"),
    "n": ("value is (nan|inf|-inf)", "the value is not finite"),
    "s": ("singular", "the kernel is singular to working precision"),
    "u": ("out of sight|not known", "an operation is out of sight or not known"),
}
"""The code of each reason of failure: a pattern of its text, and its meaning."""


TEXT = """# Real networks

Every default proxy but zen, and `naswot` over all activations, on small variants of the families of timm, torchvision
and transformers, compared with its plain definition in float64: autograd on whole parameters, one backward pass for
each image, no code of prejudge. Equal means within 1e-4 of the definition (condition numbers: 1e-2) in fp32, and within
1e-6 (1e-2) where prejudge computes in float64 as well. Three images of 28 to 224 pixels, or three sequences of
embeddings; all weights are drawn by a formula, because zero heads and layer scales of 1e-5 would hide errors.

Batch norms over three values amplify rounding from layer to layer; fp32 scores then differ from float64's (`≈`), the
worst by factors; larger images or batches keep the digits. `zen` draws its own weights and has tests of its own.

`tests/proxies/zoo` makes this page (`python -m tests.proxies.zoo.outcomes FILE.jsonl`) and compares its rows with new
runs. Versions: {versions}.

{sums}
A GELU or SiLU is no ReLU, so the first three proxies of activations fail on networks without one (`a`); their option
`activations` counts others. The [proxies' page](proxies.md) explains the other reasons.

{rows}"""


LIBRARIES = ("| timm |", "| torchvision |", "| transformers |")


@dataclass(frozen=True)
class Outcome:
    """What became of the proxies on one network.

    Attributes:
        library: Of the network.
        family: Of the network.
        name: Of the network.
        codes: For each proxy a sign: equal, equal in float64 alone, failed for a reason, or wrong.
        remarks: What the table does not say: values that are wrong, reasons without a code.
        seconds: Of scoring and of the definitions.
    """

    library: str
    family: str
    name: str
    codes: dict[str, str]
    remarks: list[str]
    seconds: tuple[float, float]


def tolerance(proxy: str) -> float:
    return 1e-2 if "condition" in proxy else 1e-4


def outcome(entry: Entry) -> Outcome:
    network, (x, y) = entry.build(), entry.batch()
    start = time.perf_counter()
    single = score(network, x, y, PROXIES)
    middle = time.perf_counter()
    network, x = network.double(), x.double()
    double = score(network, x, y, PROXIES)
    between = time.perf_counter()
    expected = Oracle(network, x, y, entry.more, CLASSES).all()
    codes, remarks = {}, []
    for proxy in PROXIES:
        right = expected[proxy]
        codes[proxy] = _code(proxy, single[proxy], double[proxy], right)
        if codes[proxy] in (ROUNDED, MISCOUNT, "?"):
            remarks.append(f"{proxy}: {_text(single[proxy])}, {_text(double[proxy])}, {right}")
    return Outcome(
        entry.library, entry.family, entry.name, codes, remarks, (middle - start, time.perf_counter() - between)
    )


def _code(proxy: str, single: Score, double: Score, right: float | None) -> str:
    if double.ok and (right is None or not _close(double, right, min(tolerance(proxy), 1e-6))):
        return MISCOUNT
    failed = single if not single.ok else double
    if not failed.ok:
        return next((code for code, (pattern, _) in REASONS.items() if re.search(pattern, failed.reason)), "?")
    assert right is not None
    return EQUAL if _close(single, right, tolerance(proxy)) else ROUNDED


def _close(found: Score, right: float, relative: float) -> bool:
    return abs(float(found) - right) <= relative * abs(right) + 1e-12


def _text(found: Score) -> str:
    return f"{float(found):.8g}" if found.ok else found.reason


def read(path: Path) -> list[Outcome]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [Outcome(**json.loads(line)) for line in lines]


def page(outcomes: list[Outcome]) -> str:
    """The page on the zoo."""
    counts = Counter(code for o in outcomes for code in o.codes.values())
    failed = {code: counts[code] for code in REASONS if counts[code]}
    of = Counter(o.library for o in outcomes)
    families = len({o.family for o in outcomes if o.library == "timm"})
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", *of))
    networks = ", ".join(f"{name} {n}" for name, n in of.items())
    sums = [
        ("networks", f"{len(outcomes)} ({networks}; {families} families of timm)"),
        ("pairs of network and proxy", str(sum(counts.values()))),
        (f"`{EQUAL}` equal to the definition", str(counts[EQUAL])),
        (f"`{ROUNDED}` equal in float64, not in fp32", str(counts[ROUNDED])),
        ("failed by name", str(sum(failed.values()))),
        *((f"`{code}` {REASONS[code][1]}", str(n)) for code, n in failed.items()),
        ("**wrong without a word**", f"**{counts[MISCOUNT]}**"),
    ]
    rows = [[o.library, o.name, *o.codes.values()] for o in outcomes]
    return TEXT.format(
        versions=versions,
        sums=_table(["what", "number"], sums),
        rows=_table(["library", "network", *(name.replace("_", " ") for name in PROXIES)], rows),
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def rows_of(text: str) -> dict[tuple[str, str], list[str]]:
    """The codes of each network on the page."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith(LIBRARIES)]
    return {(library, name): codes for library, name, *codes in lines}


def main(path: Path, chosen: Iterable[Entry] = ZOO) -> None:
    known = {(o.library, o.name): o for o in read(path)}
    for entry in chosen:
        if (entry.library, entry.name) not in known:
            found = known[entry.library, entry.name] = outcome(entry)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(found), ensure_ascii=False) + "\n")
    PAGE.write_text(page([known[e.library, e.name] for e in ZOO]), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
