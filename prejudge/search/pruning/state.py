"""The file from which an interrupted pruning search goes on: every figure that was measured."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from prejudge.errors import FileFormatError, InputError
from prejudge.formats.atomic import write_atomically
from prejudge.formats.text import parse_json
from prejudge.search.pruning.tasks import NetworkMeasurement

FORMAT = "prejudge-pruning"
SAVE_EVERY = 20.0
"""Seconds between two savings within a round."""


class State:
    """Figures by the text of their task, kept in a JSON file if there is one.

    Removals follow from the figures, so a search that starts again replays them and goes on with the first that is
    missing.

    Args:
        path: The file, made with the first saving; None keeps nothing.
        plan: What the search is; a file of another plan is refused.

    Raises:
        InputError: The file belongs to another search.
        FileFormatError: It is no such file.
    """

    def __init__(self, path: Path | None, plan: dict[str, Any]) -> None:
        self.path = path
        self.plan: dict[str, Any] = json.loads(json.dumps(plan))  # as it will be read: tuples are lists
        self._figures: dict[str, list[Any]] = {}
        self._earlier = 0.0
        self._begun = self._saved = time.monotonic()
        if path is not None and path.is_file():
            self._read(path)

    @property
    def seconds(self) -> float:
        """Wall-clock time so far, with that of earlier calls as far as it was saved."""
        return self._earlier + time.monotonic() - self._begun

    def get(self, task: str) -> NetworkMeasurement | None:
        """What is on file about a task."""
        values = self._figures.get(task)
        if values is None:
            return None
        condition, regions, seconds, reason = values
        return NetworkMeasurement(_number(condition), _number(regions), seconds, reason)

    def put(self, task: str, found: NetworkMeasurement) -> None:
        """Keep what was measured; it is saved now and then."""
        self._figures[task] = [_plain(found.condition), _plain(found.regions), round(found.seconds, 4), found.reason]
        if time.monotonic() - self._saved > SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Write everything: the old file or the new one is there at any moment.

        Raises:
            PrejudgeError: The file cannot be written.
        """
        if self.path is not None:
            content = {"format": FORMAT, "plan": self.plan, "seconds": self.seconds, "figures": self._figures}
            write_atomically(self.path, json.dumps(content).encode())
        self._saved = time.monotonic()

    def _read(self, path: Path) -> None:
        try:
            content = parse_json(path.read_bytes())
            known = content["format"] == FORMAT
            plan, figures, earlier = dict(content["plan"]), dict(content["figures"]), float(content["seconds"])
            known &= 0 <= earlier < math.inf
            for condition, regions, seconds, reason in figures.values():
                math.fsum((_number(condition), _number(regions), seconds))
                known &= isinstance(reason, str)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise FileFormatError(
                f"{path} is no state of a pruning search ({error}); remove it to begin anew"
            ) from None
        if not known:
            raise FileFormatError(f"{path} is no state of a pruning search; remove it to begin anew")
        if plan != self.plan:
            differs = next(k for k in {**plan, **self.plan} if plan.get(k) != self.plan.get(k))
            raise InputError(
                f"{path} was begun by another search ({differs} differs); remove it, or choose another file"
            )
        self._figures, self._earlier = figures, earlier


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
