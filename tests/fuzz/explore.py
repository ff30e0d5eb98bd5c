"""Coverage-guided fuzzing of one target: ``python tests/fuzz/explore.py TARGET [--runs N]`` (needs ``prejudge[fuzz]``).

Without a target it lists them. Seeds and what libFuzzer learns are kept in ``build/fuzz/corpus/TARGET``, inputs that
are findings in ``build/fuzz/TARGET``; it stops at the first.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description="Run one reader under atheris.")
    parser.add_argument("target", nargs="?")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--longest", type=int, default=4096, help="bytes of an input")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if options.target is None:
        harness = _load()
        print("\n".join(harness.TARGETS))
        return
    import atheris

    with atheris.instrument_imports(include=["prejudge"]):
        harness = _load()
        target = harness.TARGETS[options.target]
        seeds = target.seeds()
    corpus, findings = harness.FOLDER / "corpus" / target.name, harness.FOLDER / target.name
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    words = findings.with_suffix(".dict")
    words.write_text("".join('"' + "".join(f"\\x{byte:02x}" for byte in t[:60]) + '"\n' for t in target.tokens if t))
    os.chdir(tempfile.mkdtemp(prefix="fuzz-"))
    with atheris.instrument_imports(include=["prejudge"]):  # what a reader imports when it first reads
        target.read(seeds[0])
    limits = [f"-timeout={max(2, round(target.seconds))}", "-rss_limit_mb=4096", f"-max_len={options.longest}"]
    arguments = [f"-runs={options.runs}", f"-dict={words}", f"-artifact_prefix={findings}/", *limits, str(corpus)]
    atheris.Setup([sys.argv[0], *arguments], lambda data: harness.check(target, data))
    atheris.Fuzz()


def _load():
    """The harness, with all targets registered."""
    for file in sorted(Path(__file__).parent.glob("*_*.py")):
        if file.stem.startswith(("text_", "binary_")):
            importlib.import_module(f"tests.fuzz.{file.stem}")
    return importlib.import_module("tests.fuzz.harness")


if __name__ == "__main__":
    main()
