"""Starting from the supernet that an earlier run has trained."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from prejudge.errors import InputError
from prejudge.search.supernet.context import SupernetContext
from prejudge.search.supernet.stage import Stage

if TYPE_CHECKING:
    from prejudge.train.checkpoint import Checkpoint


def take_supernet(stage: Stage[Any], search: SupernetContext, methods: Collection[str], zero: bool) -> Checkpoint:
    """Bring a stage's learner to where it was in the run that the search names.

    Args:
        stage: The stage, ready to learn.
        search: Says which run, and which of its epochs.
        methods: Whose supernets will do.
        zero: Whether ``none`` is among the operations here.

    Returns:
        The checkpoint of that run.

    Raises:
        MissingDataError: There is no such run, or it has not kept this epoch.
        InputError: It is the run of another method, space, macro, seed or data.
        FileFormatError: Its checkpoint is damaged.
    """
    from prejudge.engine.random_state import restore_random_states
    from prejudge.train.checkpoint import CheckpointManager, read_checkpoint

    assert search.resume_from is not None
    folder = search.resume_from / stage.name
    found = read_checkpoint(folder / "last.pt")
    if search.resume_epoch is not None:
        found = CheckpointManager(folder, found.plan).load(search.resume_epoch)
    plan = found.plan
    options: dict[str, Any] = plan.get("options", {})
    trained_by = options.get("supernet") if plan.get("method") == "darts-pt" else plan.get("method")
    if trained_by not in methods:
        raise InputError(f"{folder} is the supernet of {trained_by}; one of {', '.join(methods)} is needed")
    candidates_matter = search.space.name == "darts"  # elsewhere the option says nothing
    here = {
        "space": search.space.name,
        "macro": search.macro,
        "seed": search.seed,  # which images are held out depends on it
        "data": search.images.digest,
        "option zero": zero and candidates_matter,
    }
    there = {**plan, "option zero": options.get("zero", False) and candidates_matter}
    for name, wanted in here.items():
        if json.dumps(there.get(name), sort_keys=True) != json.dumps(_plain(wanted), sort_keys=True):
            raise InputError(
                f"{folder} has another {name}: {json.dumps(there.get(name))}, not {json.dumps(_plain(wanted))}; "
                "ask for that one, or start from another run"
            )
    stage.learner.load_state_dict(found.state["learner"])
    restore_random_states(found.state["random"])
    return found


def described(found: Checkpoint) -> dict[str, Any]:
    """The part of the plan on which a run that goes on from the same folder must agree."""
    return {"epoch": found.epoch, **{name: found.plan.get(name) for name in ("method", "options", "epochs", "recipe")}}


def _plain(value: Any) -> Any:
    return dict(value) if hasattr(value, "keys") else value
