"""Reading file and journal as one consistent state, also while another process writes."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

from prejudge.cache import layout
from prejudge.cache.scores import Contents
from prejudge.engine.journal import JournalContents, read_journal
from prejudge.errors import FileFormatError, MissingDataError
from prejudge.formats.atomic import beside

KIND = "scores"
"""The kind of the journals of score caches."""

_FREE_BYTES, _MOST_GROWTH = 256 * 2**20, 2000  # arrays have a place for every architecture and repeat, scored or not


def read_snapshot(path: Path, *, writing: bool) -> tuple[Contents, JournalContents | None]:
    """All scores of the cache at ``path``, the journal's included, and what was read of the journal.

    Args:
        path: The HDF5 file.
        writing: Whether the caller holds the writer lock; then nothing changes meanwhile, and a missing file is an
            empty cache.

    Raises:
        MissingDataError: There is no file, or no folder for it.
        FileFormatError: File or journal is damaged, foreign or newer, or they do not belong together.
    """
    journal_path = beside(path, ".journal")
    for attempt in range(1 if writing else 8):
        # The journal is read first: whatever leaves it in the meantime is in the file that is read next.
        journal = read_journal(journal_path)
        try:
            contents = layout.decode(path)
        except MissingDataError:
            if not path.parent.is_dir():
                raise MissingDataError(f"no folder {path.parent} for {path.name}; make it first") from None
            if not writing:
                raise
            contents = Contents()
        if journal is None or followed(journal, journal_path) in ("", contents.identity, contents.previous):
            break
        time.sleep(0.02 * (attempt + 1))  # the writer has replaced the file between the two; look again
    else:
        raise FileFormatError(
            f"{journal_path} does not belong to {path.name}, which was replaced or removed; "
            "restore that file, or delete the journal"
        )
    # Without its first line a journal does not say what it follows; but applying a record twice does no harm.
    if journal is None or not journal.records or followed(journal, journal_path) == contents.previous != "":
        return contents, None  # it has nothing that the file does not have
    _replay(contents, journal, journal_path)
    return contents, journal


def followed(journal: JournalContents, path: Path) -> str:
    """The identity of the HDF5 state that a journal continues, which is its plan; empty where that is not readable.

    Raises:
        FileFormatError: It does not say so.
    """
    identity = "" if journal.plan is None else journal.plan.get("follows")
    if not isinstance(identity, str) or journal.kind not in (KIND, ""):
        raise FileFormatError(f"{path} does not say what it follows, so it is not the journal of scores; delete it")
    return identity


def _replay(contents: Contents, journal: JournalContents, path: Path) -> None:
    if contents.claimed_bytes(journal.records) > _FREE_BYTES + _MOST_GROWTH * journal.size + 8 * contents.nbytes:
        raise FileFormatError(f"{path} claims more repeats than it has scores; delete it, or restore it from a copy")
    unusable = len(journal.damaged)
    for record in journal.records:
        try:
            contents.apply(record)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
            unusable += 1  # it hangs on a damaged one
    if unusable:
        first = f" (line {journal.damaged[0]} first)" if journal.damaged else ""
        warnings.warn(
            f"{path} is damaged: {unusable} of its {len(journal.records) + len(journal.damaged)} records cannot be "
            f"read{first}; all others are kept, fill computes the rest again",
            stacklevel=4,
        )
