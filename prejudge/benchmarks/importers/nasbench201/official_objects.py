"""Benchmarks that the official packages have loaded already, read as their files are.

``nas_201_api.NASBench201API`` and ``nats_bench``'s ``NATStopology`` are known by their attributes; neither package is
imported, and neither is asked a question: what they hold is what their files held.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prejudge.benchmarks.importers.nasbench201.official_file import OfficialArchitecture
from prejudge.errors import FileFormatError, InputError, MissingDataError


def kind_of(api: Any) -> str:
    """Kind of the file that an official object was made of, ``"nas-bench-201"`` or ``"nats-bench"``.

    Raises:
        InputError: It is not an official object.
    """
    if not isinstance(getattr(api, "meta_archs", None), list) or not isinstance(
        getattr(api, "arch2infos_dict", None), dict
    ):
        raise InputError(
            f"cannot read NAS-Bench-201 from {type(api).__name__}; give a published file, or an object of nas_201_api "
            f"or nats_bench"
        )
    return "nats-bench" if hasattr(api, "search_space_name") else "nas-bench-201"


def directory_of(api: Any) -> Path | None:
    """The directory that a ``nats_bench`` object in fast mode reads its answers from, one by one; None for others."""
    directory = getattr(api, "archive_dir", None)
    return Path(directory) if getattr(api, "fast_mode", False) and directory else None


def space_of(api: Any) -> str:
    """Name of the search space of an official object."""
    return "nats-size" if getattr(api, "search_space_name", "topology") == "size" else "nasbench201"


def iter_objects(api: Any, *, partial: bool = False) -> Iterator[OfficialArchitecture]:
    """Yield what :func:`.official_file.iter_architectures` does, from an object.

    Args:
        api: An official object that is not in fast mode.
        partial: Whether architectures that it lists may have no results.

    Raises:
        MissingDataError: Architectures have no results.
        FileFormatError: Its content is not the results of the official classes.
    """
    if not partial and len(api.arch2infos_dict) < len(api.meta_archs):
        raise MissingDataError(
            f"the {type(api).__name__} has results of {len(api.arch2infos_dict):,} of {len(api.meta_archs):,} "
            "architectures; take these with partial=True"
        )
    for index, schedules in api.arch2infos_dict.items():
        try:
            results = {str(int(epochs)): _state(result) for epochs, result in schedules.items()}
            text = next(iter(results.values()))["arch_str"]
        except (AttributeError, KeyError, TypeError, StopIteration) as error:
            raise FileFormatError(
                f"the {type(api).__name__}'s results of architecture {index!r} are not those of ArchResults"
            ) from error
        yield index, text, results


def _state(result: Any) -> dict[str, Any]:
    return {**vars(result), "all_results": {key: vars(trial) for key, trial in result.all_results.items()}}
