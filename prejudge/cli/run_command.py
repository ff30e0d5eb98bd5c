"""``prejudge run``: a recipe from search to report."""

from __future__ import annotations

import contextlib
import io
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from prejudge import cli
from prejudge.cli import COMMANDS, output
from prejudge.errors import FileFormatError, InputError
from prejudge.pipeline import recipe as recipes

if TYPE_CHECKING:
    from prejudge.pipeline.chain import Chain, Manifest, Step

app = App(
    name="run",
    help=COMMANDS["run"],
    help_epilogue=(
        "Example: prejudge run digits-darts --out my-run\n"
        'Example: prejudge run darts-cifar10 --device cuda --set "train.epochs=50"'
    ),
)

_CHANGE = re.compile(r"(?P<step>.+)\.(?P<name>[A-Za-z][\w-]*)=(?P<value>.*)", re.DOTALL)
_WITH_DEVICE = ("search", "score", "train", "test", "bench train")


@app.default
def run(
    recipe: str,
    /,
    *,
    out: Path | None = None,
    set: list[str] | None = None,
    device: str | None = None,
    plan: bool = False,
    as_json: output.Json = False,
) -> int:
    """Do the steps of a recipe, each of which is a command: search, train, test, report.

    Every step has its folder in OUT. One whose result is there, made with the same arguments, is left out; what was
    interrupted goes on where it was. Results of a step that has other arguments now are moved to OUT/replaced.

    Args:
        recipe: YAML file, or name of a shipped recipe (see: prejudge list recipes).
        out: Folder of all results; the recipe's name if left out.
        set: Another argument for a step: STEP.NAME=VALUE, e.g. train.epochs=50; may be given several times.
        device: Where all steps compute: cpu, cuda, cuda:1, mps …
        plan: Print the commands, and do nothing.
        as_json: Print JSON instead of text.
    """
    chain = _chain(recipe, set or [], device)
    folder = out or Path(Path(recipe).stem)
    _check(chain, folder)
    if plan:
        _show_plan(chain, folder, as_json)
        return 0
    from prejudge.formats.lock import alone
    from prejudge.pipeline.chain import MANIFEST, Manifest

    folder.mkdir(parents=True, exist_ok=True)
    said: dict[str, Any] = {}
    with alone(folder / MANIFEST):
        manifest = Manifest(folder, chain)
        for number, step in enumerate(chain.steps, start=1):
            code = _do(manifest, step, f"{number}/{len(chain.steps)} {step.name}", said, as_json)
            if code:
                return code
    _show(chain, manifest, said, as_json)
    return 0


def _chain(name: str, changes: list[str], device: str | None) -> Chain:
    from prejudge.pipeline.chain import read_chain

    changed: dict[str, dict[str, Any]] = {}
    for text in changes:
        found = _CHANGE.fullmatch(text)
        if found is None:
            raise InputError(f"cannot read --set {text!r}; write STEP.NAME=VALUE, e.g. train.epochs=50")
        changed.setdefault(found["step"], {})[found["name"]] = _literal(found["value"])
    try:
        content = recipes.read(name)
        chain = read_chain(content, list(COMMANDS), changed)
        if device is not None:
            for step in chain.steps:
                if " ".join(step.command).startswith(_WITH_DEVICE):
                    changed.setdefault(step.name, {}).setdefault("device", device)
            chain = read_chain(content, list(COMMANDS), changed)
    except FileFormatError:
        raise
    except InputError as error:
        raise InputError(f"recipe {name}: {error}") from error
    return chain


def _literal(text: str) -> Any:
    return {"true": True, "false": False}.get(text.lower(), text)


def _check(chain: Chain, folder: Path) -> None:
    """Every step's arguments are those of its command: said before any step is begun."""
    from cyclopts.exceptions import CycloptsError

    for step in chain.steps:
        try:
            cli.build_app().parse_args(chain.words(step, folder), print_error=False, exit_on_error=False)
        except CycloptsError as error:
            raise InputError(f"step {step.name!r}: {error}") from error


def _do(manifest: Manifest, step: Step, title: str, said: dict[str, Any], as_json: bool) -> int:
    if manifest.is_done(step):
        output.say(f"{title}: already there")
        return 0
    moved = manifest.begin(step)
    output.say(f"{title}")
    if moved is not None:
        output.say(f"note: what was there with other arguments is now in {moved}")
    words = manifest.chain.words(step, manifest.out)
    start = time.perf_counter()
    code = 1
    try:
        if as_json:
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                code = cli.run([*words, "--json"])
            if not code:
                said[step.name] = json.loads(printed.getvalue())
        else:
            code = cli.run(words)
    finally:
        manifest.end(step, time.perf_counter() - start, done=not code)
    if code:
        output.say(f"step {step.name!r} has not ended well; {cli.RUN_AGAIN}")
    return code


def _show_plan(chain: Chain, folder: Path, as_json: bool) -> None:
    import shlex

    lines = {step.name: shlex.join(["prejudge", *chain.words(step, folder)]) for step in chain.steps}
    if as_json:
        output.print_json({"title": chain.title, "steps": lines, "expected": chain.expected})
        return
    for line in lines.values():
        print(line)


def _show(chain: Chain, manifest: Manifest, said: dict[str, Any], as_json: bool) -> None:
    results = {step.name: step.place(manifest.out) for step in chain.steps}
    found = _found(chain, manifest.out)
    if as_json:
        expected = {**chain.expected, "found": found} if chain.expected else None
        output.print_json({"out": manifest.out, "results": results, "expected": expected, "steps": said})
        return
    rows = [[step.name, manifest.seconds(step), results[step.name]] for step in chain.steps]
    output.print_table(chain.title, ["step", "seconds", "result"], rows, numeric=["seconds"])
    if chain.expected:
        spread = f" ± {chain.expected['spread']}" if "spread" in chain.expected else ""
        here = "" if found is None else f"; here {found:.2f}"
        print(f"expected: {chain.expected.get('what')} {chain.expected.get('value')}{spread}{here}")
        output.say(f"source: {chain.expected.get('source', 'not said')}")


def _found(chain: Chain, out: Path) -> float | None:
    """The test error in per cent of the step that the expected value is of; None where there is no such figure."""
    for step in chain.steps:
        if step.name == chain.expected.get("step"):
            place = step.place(out)
            try:
                content = json.loads((place / "test.json" if place.is_dir() else place).read_text(encoding="utf-8"))
                return 100 - float(content["top1"])
            except (OSError, ValueError, KeyError, TypeError):
                return None
    return None
