"""Where benchmark tables live: those that come with prejudge, and those that a user has imported."""

from __future__ import annotations

import os
import re
from pathlib import Path

from prejudge.benchmarks.table.table import Table, open_table
from prejudge.errors import InputError, MissingDataError, quoted, unknown
from prejudge.formats.atomic import make_folder
from prejudge.formats.text import is_file, user_path

ALIASES = {"digits": "nasbench201-digits"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def shipped_folder() -> Path:
    """The tables that prejudge has made itself and brings along."""
    return Path(__file__).parent / "tables"


def user_folder() -> Path:
    """Where imported tables are kept; made when the first one is."""
    from platformdirs import user_data_path

    return Path(user_data_path("prejudge", appauthor=False)) / "benchmarks"


def benchmark_names() -> list[str]:
    """The names that :func:`benchmark` takes, shipped tables first."""
    shipped = sorted(p.stem for p in shipped_folder().glob("*.h5"))
    return shipped + [n for n in sorted(p.stem for p in user_folder().glob("*.h5")) if n not in shipped]


def benchmark(name: str | os.PathLike[str]) -> Table:
    """Open a table of trained accuracies.

    Args:
        name: A name of :func:`benchmark_names` (``"digits"`` is short for ``"nasbench201-digits"``), or the path of a
            table file.

    Returns:
        The table; nothing but its index is read yet.

    Raises:
        InputError: No table has that name.
        MissingDataError: The file does not exist.
        FileFormatError: The file is truncated, foreign, or of a newer format.
    """
    if not isinstance(name, str) or Path(name).suffix in (".h5", ".hdf5") or not _NAME.fullmatch(name):
        path = user_path(os.fspath(name))
        if not is_file(path):
            raise MissingDataError(f"no benchmark table {path}")
        return open_table(path)
    wanted = ALIASES.get(name, name)
    for folder in (shipped_folder(), user_folder()):
        if (folder / f"{wanted}.h5").is_file():
            return open_table(folder / f"{wanted}.h5")
    if is_file(name):
        return open_table(name)
    hint = "make one with: prejudge bench import csv FILE"
    raise InputError(f"{unknown('benchmark', name, benchmark_names())}; {hint}")


def place_for(name: str) -> Path:
    """The file in the user's folder that an imported table of this name goes to; its folder is made.

    Raises:
        InputError: The name cannot be a file name, or belongs to a table that comes with prejudge.
        PrejudgeError: The folder cannot be made.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"a benchmark's name is made of letters, digits, '.', '_' and '-', not {quoted(name)}")
    if name in ALIASES or (shipped_folder() / f"{name}.h5").is_file():
        raise InputError(f"benchmark {name!r} comes with prejudge; choose another name")
    return make_folder(user_folder()) / f"{name}.h5"
