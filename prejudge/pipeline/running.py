"""Running recipes: every step is a command whose result stays in the run's folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from prejudge.errors import FileFormatError, InputError, PrejudgeError
from prejudge.pipeline import recipe as recipes
from prejudge.pipeline.chain import Chain, Step, read_chain
from prejudge.pipeline.published_figures import FigureComparison, PublishedFigure, compare, figures_page
from prejudge.pipeline.run_folder import RunFolder
from prejudge.report import write_report

FIGURES = "published.html"
"""In the folder of a run: the paper's figures beside its own."""

_CHANGE = re.compile(r"(?P<step>.+)\.(?P<name>[A-Za-z][\w-]*)=(?P<value>.*)", re.DOTALL)
_WITH_DEVICE = ("search", "score", "train", "test", "bench train")


class Commands(Protocol):
    """The means by which steps are done."""

    def check(self, words: Sequence[str]) -> None:
        """Raise InputError where ``words`` are not a command with its arguments."""

    def run(self, words: Sequence[str]) -> tuple[int, Any]:
        """Run a command; its exit code, and its result as plain values where it gives one."""


class CommandProcesses:
    """Commands as processes of their own, whose remarks appear on standard error."""

    _CHECK = "import sys; from prejudge.cli import check; sys.exit(check(sys.argv[1:]))"

    def check(self, words: Sequence[str]) -> None:
        done = subprocess.run([sys.executable, "-c", self._CHECK, *words], capture_output=True, text=True)
        if done.returncode:
            raise InputError(done.stderr.strip().removeprefix("prejudge: "))

    def run(self, words: Sequence[str]) -> tuple[int, Any]:
        done = subprocess.run([sys.executable, "-m", "prejudge", *words, "--json"], stdout=subprocess.PIPE, text=True)
        return done.returncode, json.loads(done.stdout) if done.returncode == 0 else None


class StepError(PrejudgeError):
    """A step of a recipe has failed; the steps before it are done.

    Attributes:
        exit_code: That of its command.
    """

    def __init__(self, step: str, exit_code: int) -> None:
        super().__init__(f"step {step!r} has failed; run the same again to go on with it")
        self.exit_code = exit_code


@dataclass(frozen=True)
class RunResult:
    """A run whose steps are all done.

    Attributes:
        title: Title of the recipe.
        folder: The folder of all results.
        results: The result of every step, a file or a folder.
        seconds: Seconds that every step took, in all calls together; None where that is not known.
        outputs: For every step that was done now, its result as plain values (those of ``--json``).
        figures: The paper's figures, each beside that of this run; also in ``published.html`` in the folder.
    """

    title: str
    folder: Path
    results: Mapping[str, Path]
    seconds: Mapping[str, float | None]
    outputs: Mapping[str, Any] = field(repr=False)
    figures: tuple[FigureComparison, ...]


def plan(recipe: str, changes: Sequence[str] = (), device: str | None = None) -> Chain:
    """Read the steps of a recipe.

    Args:
        recipe: A YAML file, or the name of a shipped recipe.
        changes: Other arguments for steps: ``STEP.NAME=VALUE``.
        device: Where all steps compute, if not where the recipe says.

    Raises:
        InputError: The recipe has no such step, or a change cannot be read.
        FileFormatError: The file is not a recipe.
    """
    changed: dict[str, dict[str, Any]] = {}
    for text in changes:
        found = _CHANGE.fullmatch(text)
        if found is None:
            raise InputError(f"cannot read --set {text!r}; write STEP.NAME=VALUE, e.g. train.epochs=50")
        value: Any = {"true": True, "false": False}.get(found["value"].lower(), found["value"])
        changed.setdefault(found["step"], {})[found["name"]] = value
    try:
        content = recipes.read(recipe)
        chain = read_chain(content, changed)
        if device is not None:
            for step in chain.steps:
                if " ".join(step.command).startswith(_WITH_DEVICE):
                    changed.setdefault(step.name, {}).setdefault("device", device)
            chain = read_chain(content, changed)
    except FileFormatError:
        raise
    except InputError as error:
        raise InputError(f"recipe {recipe}: {error}") from error
    return chain


def run(
    recipe: str | Path,
    out: str | Path | None = None,
    *,
    changes: Sequence[str] = (),
    device: str | None = None,
    commands: Commands | None = None,
    say: Callable[[str], None] | None = None,
) -> RunResult:
    """Do the steps of a recipe, each of which is a command: search, train, test, report.

    Every step has its folder in ``out``. One whose result is there, made with the same arguments, is left out; what was
    interrupted is resumed. Results of a step that has other arguments now are moved to ``out/replaced``.

    Args:
        recipe: A YAML file, or the name of a shipped recipe.
        out: The folder of all results; the recipe's name if left out.
        changes: Other arguments for steps: ``STEP.NAME=VALUE``, e.g. ``"train.epochs=50"``.
        device: Where all steps compute: ``cpu``, ``cuda``, ``cuda:1`` …
        commands: The means by which steps are done; a process for each by default.
        say: Called with remarks for the user, a line at a time.

    Returns:
        The results of all steps.

    Raises:
        InputError: The recipe has no steps, an argument is not one of its command, or ``out`` holds something else.
        FileFormatError: The file is not a recipe, or the folder's journal is damaged.
        BusyError: Another process works in the folder.
        StepError: A step has failed.

    Example:
        >>> result = prejudge.pipeline.run("digits-darts", out="my-run")                   # doctest: +SKIP
        >>> result.results["report"]                                                       # doctest: +SKIP
        PosixPath('my-run/report/report.html')
    """
    chain = plan(str(recipe), changes, device)
    folder = Path(recipe).with_suffix("").name if out is None else out
    return run_chain(chain, Path(folder), commands or CommandProcesses(), say or (lambda line: None))


def run_chain(chain: Chain, out: Path, commands: Commands, say: Callable[[str], None]) -> RunResult:
    """Do the steps of a chain; see :func:`run`."""
    check(chain, out, commands)
    outputs: dict[str, Any] = {}
    with RunFolder(out, chain) as folder:
        for number, step in enumerate(chain.steps, start=1):
            title = f"{number}/{len(chain.steps)} {step.name}"
            if folder.is_done(step):
                say(f"{title}: already there")
                continue
            moved = folder.begin(step)
            say(title)
            if moved is not None:
                say(f"note: the results of other arguments are now in {moved}")
            output = _do(folder, step, commands)
            if output is not None:
                outputs[step.name] = output
        figures = tuple(_compared(chain, figure, out) for figure in chain.published)
        if figures:
            write_report(figures_page(chain.title, figures), out / FIGURES)
        return RunResult(
            chain.title,
            out,
            {step.name: step.place(out) for step in chain.steps},
            {step.name: folder.seconds(step) for step in chain.steps},
            outputs,
            figures,
        )


def check(chain: Chain, out: Path, commands: Commands) -> None:
    """Raise InputError where an argument of any step is not one of its command, before any step is begun."""
    for step in chain.steps:
        try:
            commands.check(chain.words(step, out))
        except InputError as error:
            raise InputError(f"step {step.name!r}: {error}") from error


def _do(folder: RunFolder, step: Step, commands: Commands) -> Any:
    start, code = time.perf_counter(), 1
    try:
        code, output = commands.run(folder.chain.words(step, folder.out))
    finally:
        folder.end(step, time.perf_counter() - start, done=not code)
    if code:
        raise StepError(step.name, code)
    return output


def _compared(chain: Chain, figure: PublishedFigure, out: Path) -> FigureComparison:
    step = next((step for step in chain.steps if step.name == figure.step), None)
    if step is None:
        return FigureComparison(figure)
    return compare(figure, step.place(out), str(step.arguments.get("benchmark", "")))
