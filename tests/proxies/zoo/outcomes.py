"""What becomes of every default proxy on every network of the zoo, and the page that says so.

``python -m tests.proxies.zoo.outcomes FILE.jsonl`` scores the networks that the file lacks, appends their outcomes, and
writes the page ``docs/zoo.md`` once it has all.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from prejudge.proxies.registry import default_names
from prejudge.proxies.score import Score
from prejudge.proxies.scoring import score
from tests.docs.pages import DOCS
from tests.proxies.zoo.models import ZOO, Entry
from tests.proxies.zoo.oracle import ALL, Oracle

PAGE = DOCS / "zoo.md"
PROXIES = [*(name for name in default_names() if name not in ("flops", "zen")), ALL]
EQUAL, ROUNDED, MISCOUNT = "=", "≈", "**≠**"
REASONS = {
    "a": ("no activation .*lies", "no ReLU lies between the images and the logits"),
    "b": ("batch norm couples", "batch norm couples the images, and no convention says what is whose in an operation"),
    "c": ("no convention says what the channels", "no convention says what the channels of an operation are"),
    "j": ("does not depend on the images", "batch norm makes the sum of logits independent of the images"),
    "n": ("value is (nan|inf|-inf)", "the value is not finite"),
    "s": ("singular", "the kernel is singular to working precision"),
    "u": ("out of sight|not known", "an operation is out of sight or not known"),
}
"""The code of each reason of failure: a pattern of its text, and its meaning."""


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
    expected = Oracle(network, x, y, entry.more).all()
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


def main(path: Path, chosen: Iterable[Entry] = ZOO) -> None:
    known = {(o.library, o.name) for o in read(path)}
    for entry in chosen:
        if (entry.library, entry.name) not in known:
            try:
                found = outcome(entry)
            except Exception as error:
                print(entry.name, type(error).__name__, error, file=sys.stderr, flush=True)
                continue
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(found), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    turn, turns = (int(v) for v in (sys.argv[2] if len(sys.argv) > 2 else "0/1").split("/"))
    main(Path(sys.argv[1]), ZOO[turn::turns])
