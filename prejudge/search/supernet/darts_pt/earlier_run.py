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

STAGE = "supernet"
"""Name of the stage in which the searches whose supernets are taken train them."""


def find_supernet(search: SupernetContext) -> Checkpoint:
    """The checkpoint of the run that a search starts from.

    Raises:
        MissingDataError: There is no such run, or it has not kept this epoch.
        FileFormatError: Its checkpoint is damaged.
    """
    from prejudge.train.checkpoint import CheckpointManager, read_checkpoint

    assert search.resume_from is not None
    folder = search.resume_from / STAGE
    found = read_checkpoint(folder / "last.pt")
    if search.resume_epoch is not None:
        found = CheckpointManager(folder, found.plan).load(search.resume_epoch)
    return found


def take_supernet(
    found: Checkpoint,
    stage: Stage[Any],
    search: SupernetContext,
    methods: Collection[str],
    *,
    zero: bool,
    train_portion: float,
) -> None:
    """Bring a stage's learner to where it was in an earlier run.

    From another seed than that run's, the order of the projection and of the images is another, too, as the result's
    warnings say; the images that were held out are the same.

    Args:
        found: The checkpoint of that run.
        stage: The stage, ready to learn.
        search: Says what is searched for.
        methods: Whose supernets will do.
        zero: Whether ``none`` is among the operations here.
        train_portion: Share of the images that the weights learn from here.

    Raises:
        InputError: It is the run of another method, space, macro, split or data.
    """
    from prejudge.engine.random_state import restore_random_states

    assert search.resume_from is not None
    folder = search.resume_from / stage.name
    plan = found.plan
    options: dict[str, Any] = plan.get("options", {})
    trained_by = options.get("supernet") if plan.get("method") == "darts-pt" else plan.get("method")
    if trained_by not in methods:
        raise InputError(f"{folder} is the supernet of {trained_by}; one of {', '.join(methods)} is needed")
    candidates_matter = search.space.name == "darts"  # elsewhere the option says nothing
    here = {
        "space": search.space.name,
        "macro": search.macro,
        "data": search.images.digest,
        "option zero": zero and candidates_matter,
        "option train_portion": train_portion,
    }
    there = {
        **plan,
        "option zero": options.get("zero", False) and candidates_matter,
        "option train_portion": options.get("train_portion", train_portion),
    }
    for name, wanted in here.items():
        if json.dumps(there.get(name), sort_keys=True) != json.dumps(_plain(wanted), sort_keys=True):
            raise InputError(
                f"{folder} has another {name}: {json.dumps(there.get(name))}, not {json.dumps(_plain(wanted))}; "
                "ask for that one, or start from another run"
            )
    stage.learner.load_state_dict(found.state["learner"])
    if plan["seed"] == search.seed:
        restore_random_states(found.state["random"])
    else:
        search.warn(
            f"the supernet is that of seed {plan['seed']}, with the images that were held out there; "
            f"seed {search.seed} draws the order of the projection and of the images"
        )


def described(found: Checkpoint) -> dict[str, Any]:
    """The part of the plan on which a run that goes on from the same folder must agree."""
    return {
        "epoch": found.epoch,
        **{name: found.plan.get(name) for name in ("method", "options", "epochs", "recipe", "seed")},
    }


def _plain(value: Any) -> Any:
    return dict(value) if hasattr(value, "keys") else value
