"""The dicts and sets that pickles of plain values make by calls, and the keys that they may have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prejudge.formats.pickle.unpickler import MOST_PARTS, Name, Refused, check_keys
from prejudge.formats.pickle.values import ATOMS, BUILTINS

FACTORIES = {Name(module, name) for module in BUILTINS for name in ("list", "dict", "int", "float")}
"""The callables that a defaultdict may name."""


def check_plain_keys(keys: Iterable[Any]) -> None:
    """Refuse keys of dicts and members of sets that are not plain values, or that take for ever."""
    for key in keys:
        if type(key) in ATOMS:  # no integer has more than 64 bits
            continue
        if type(key) is not tuple or (len(key) <= MOST_PARTS and not ATOMS.issuperset(map(type, key))):
            raise Refused(f"uses a {type(key).__name__} that is not of plain values as a key")
        check_keys((key,))


def called_dict(by: Name, args: tuple[Any, ...]) -> dict[Any, Any]:
    """The dict that a pickle asks for by a call."""
    match args:
        case ():
            return {}
        case (list(pairs),) if by.name == "OrderedDict" and all(
            type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs
        ):
            check_plain_keys([key for key, _ in pairs])
            return dict(pairs)
        case (None | Name() as factory,) if by.name == "defaultdict" and (factory is None or factory in FACTORIES):
            return {}
    raise Refused(f"makes a {by} in no known way")


def called_set(by: Name, args: tuple[Any, ...]) -> set[Any]:
    """The set that a pickle asks for by a call."""
    match args:
        case (list(members),):
            check_plain_keys(members)
            return set(members)
    raise Refused(f"makes a {by} in no known way")
