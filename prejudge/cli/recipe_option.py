"""The option ``--recipe``: a recipe fills in the arguments that the command line leaves out."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.config import Dict

from prejudge.errors import InputError
from prejudge.pipeline import recipe as recipes
from prejudge.pipeline.chain import placeholders

if TYPE_CHECKING:
    from cyclopts import App, ArgumentCollection

Recipe = Annotated[
    str | None,
    Parameter(
        name="--recipe", help="YAML file (or name of a shipped recipe) that fills in the arguments left out here."
    ),
]
"""The option of the commands that take a recipe."""


def _trainings() -> Collection[str]:
    """Names that ``prejudge train --recipe`` also takes: the published trainings."""
    from prejudge.train.recipes.published import PUBLISHED

    return PUBLISHED


def _check_given(name: str, section: Any, arguments: ArgumentCollection) -> None:
    """Raise :class:`InputError` where an argument comes from an earlier step and the command line does not say it."""
    given = {option for argument in arguments if argument.tokens for option in argument.names}
    for key, value in section.items() if isinstance(section, dict) else ():
        option = f"--{str(key).replace('_', '-')}"
        if any(placeholders(value)) and option not in given:
            raise InputError(
                f"recipe {name} takes {option} from an earlier step ({value}): give it, or do all steps with "
                f"`prejudge run {name}`"
            )


def fill_in(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Give a command the arguments that its recipe has and the command line leaves out (called by the parser)."""
    for argument in arguments:
        if "--recipe" in argument.names and argument.tokens:
            name = argument.tokens[-1].value
            if commands == ("train",) and name in _trainings():
                return
            content: Any = recipes.read(name)
            argument.tokens.clear()  # what the file itself calls "recipe" is a published training
            section = " ".join(commands)
            if section not in content:
                sections = [k for k, v in content.items() if isinstance(v, dict)]
                raise InputError(f"recipe {name} has nothing for `prejudge {section}` (it has: {', '.join(sections)})")
            nested = content[section]
            _check_given(name, nested, arguments)
            for word in reversed(commands):
                nested = {word: nested}
            Dict(data=nested, source=name)(app, commands, arguments)
            return
