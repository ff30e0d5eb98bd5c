"""The log of a run in its folder: one line of JSON for every epoch, and scalars for TensorBoard."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from prejudge.formats.atomic import cannot_write, make_folder, write_atomically
from prejudge.train.loop import Epoch

FILE = "log.jsonl"
FOLDER = "tensorboard"
NO_TENSORBOARD = (
    "TensorBoard is not installed: the log is written as JSON lines alone (pip install prejudge[tensorboard])"
)


class TrainingLog:
    """Writes the log of a run; given to :func:`~prejudge.train.loop.run_epochs` as ``on_start`` and ``on_epoch``.

    ``log.jsonl`` has an object for every epoch (see :func:`line`). A run that goes on writes the lines of the epochs
    that are on file anew, so that none is missing or there twice, whenever it was interrupted; TensorBoard hides what
    came after them.

    Args:
        folder: Of the run; it is made with the first line.
        tensorboard: Whether to write scalars for TensorBoard, too, in a folder of that name.
        on_warning: Called with one line if TensorBoard is wanted and not installed.
    """

    def __init__(
        self, folder: Path | str, *, tensorboard: bool = True, on_warning: Callable[[str], None] | None = None
    ) -> None:
        self.folder = Path(folder)
        self._tensorboard = tensorboard
        self._on_warning = on_warning
        self._writer: Any = None

    def begin(self, history: Sequence[Epoch]) -> None:
        """Start, or go on after these epochs.

        Raises:
            PrejudgeError: The folder or the file cannot be written.
        """
        path = self.folder / FILE
        make_folder(self.folder)
        write_atomically(path, "".join(line(n, epoch) for n, epoch in enumerate(history)).encode())
        if self._tensorboard:
            self._writer = self._open(len(history))

    def __call__(self, number: int, epoch: Epoch) -> None:
        """Add an epoch (from 0); raises :class:`PrejudgeError` where it cannot be written."""
        path = self.folder / FILE
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(line(number, epoch))
        except OSError as error:
            raise cannot_write(path, error) from error
        if self._writer is not None:
            try:
                for name, value in scalars(epoch):
                    self._writer.add_scalar(name, value, number + 1)
                self._writer.flush()
            except OSError as error:
                raise cannot_write(self.folder / FOLDER, error) from error

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self._writer is not None:
            with suppress(OSError):  # every epoch was flushed
                self._writer.close()
            self._writer = None

    def _open(self, done: int) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            if self._on_warning is not None:
                self._on_warning(NO_TENSORBOARD)
            return None
        try:
            return SummaryWriter(str(self.folder / FOLDER), purge_step=done + 1)
        except OSError as error:
            raise cannot_write(self.folder / FOLDER, error) from error


def scalars(epoch: Epoch) -> Iterator[tuple[str, float]]:
    """The numbers of an epoch by name: loss, accuracies, learning rate, seconds, images/s, numbers in its metadata."""
    yield "train/loss", epoch.train_loss
    yield "train/accuracy", epoch.train_accuracy
    for name, value in epoch.accuracies.items():
        yield f"{name}/accuracy", value
    if epoch.learning_rate is not None:
        yield "learning_rate", epoch.learning_rate
    yield "seconds", epoch.seconds
    if epoch.images and epoch.seconds:
        yield "images_per_second", epoch.images_per_second
    for name, value in epoch.metadata.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value


def line(number: int, epoch: Epoch) -> str:
    """The line of an epoch (from 0): its number from 1, and its :func:`scalars`; null where one is not finite."""
    values = {name: value if math.isfinite(value) else None for name, value in scalars(epoch)}
    return json.dumps({"epoch": number + 1, **values}) + "\n"
