"""``prejudge run``: a recipe from search to report."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from prejudge import cli
from prejudge.cli import COMMANDS, output

if TYPE_CHECKING:
    from prejudge.pipeline import RunResult

app = App(
    name="run",
    help=COMMANDS["run"],
    help_epilogue=(
        "Example: prejudge run digits-darts --out my-run\n"
        'Example: prejudge run darts-cifar10 --device cuda --set "train.epochs=50"'
    ),
)


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
) -> None:
    """Do the steps of a recipe, each of which is a command: search, train, test, report.

    Every step has its folder in OUT. One whose result is there, made with the same arguments, is left out; what was
    interrupted is resumed. Results of a step that has other arguments now are moved to OUT/replaced.

    Args:
        recipe: YAML file, or name of a shipped recipe (see: prejudge list recipes).
        out: Folder of all results; the recipe's name if left out.
        set: Another argument for a step: STEP.NAME=VALUE, e.g. train.epochs=50; may be given several times.
        device: Where all steps compute: cpu, cuda, cuda:1, mps …
        plan: Print the commands, and do nothing.
        as_json: Print JSON instead of text.
    """
    from prejudge.pipeline import running

    chain = running.plan(recipe, set or [], device)
    folder = out or Path(Path(recipe).stem)
    commands = _ThisProcess(as_json)
    if plan:
        running.check(chain, folder, commands)
        lines = {step.name: shlex.join(["prejudge", *chain.words(step, folder)]) for step in chain.steps}
        if as_json:
            output.print_json(
                {"title": chain.title, "steps": lines, "published": [asdict(figure) for figure in chain.published]}
            )
        else:
            for line in lines.values():
                output.tell(line)
        return
    _show(running.run_chain(chain, folder, commands, output.say), as_json)


class _ThisProcess:
    """Steps as commands of this process, which print as they always do."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def check(self, words: Sequence[str]) -> None:
        cli.parse(words)

    def run(self, words: Sequence[str]) -> tuple[int, Any]:
        if not self._as_json:
            return cli.run_step([*words]), None
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            code = cli.run_step([*words, "--json"])
        return code, None if code else json.loads(printed.getvalue())


def _show(done: RunResult, as_json: bool) -> None:
    if as_json:
        published = [figure.as_dict() for figure in done.figures]
        content = {"out": done.folder, "results": done.results, "published": published, "steps": done.outputs}
        output.print_json(content)
        return
    rows = [[name, done.seconds[name], result] for name, result in done.results.items()]
    output.print_table(done.title, ["step", "seconds", "result"], rows, numeric=["seconds"])
    if done.figures:
        from prejudge.pipeline.published_figures import COLUMNS
        from prejudge.pipeline.published_figures import rows as rows_of

        output.print_table("the paper's figures and this run's", [*COLUMNS], rows_of(done.figures))
