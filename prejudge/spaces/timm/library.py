"""The installed timm: which models it has, and how one is built without weights; imported when it is first used."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from prejudge.errors import InputError, PrejudgeError, quoted

if TYPE_CHECKING:
    from torch import nn

    from prejudge.spaces.timm.model import MacroConfigTimm


def installed_version() -> str | None:
    """The version of the installed timm, found without importing it; None where there is none."""
    try:
        return metadata.version("timm")
    except metadata.PackageNotFoundError:
        return None


@cache
def model_names() -> tuple[str, ...]:
    """The names of all models, without tags, in timm's order; raises PrejudgeError where timm is not installed."""
    return tuple(_timm().list_models())


def name_of(text: str) -> str:
    """The model's name in a name with or without a tag.

    Raises:
        InputError: There is no such model or tag; the message says which are near.
    """
    name, _, tag = text.partition(".")
    near = "; did you mean {}?".format
    if name not in known_names():
        found = get_close_matches(name, model_names(), n=3)
        raise InputError(
            f"timm {installed_version()} has no model {quoted(name)}{near(' or '.join(found)) if found else ''}"
        )
    if tag:
        tags = [t.partition(".")[2] for t in _timm().list_pretrained(f"{name}.*")]
        if tag not in tags:
            found = get_close_matches(tag, tags, n=3)
            raise InputError(f"timm's {name} has no tag {quoted(tag)}{near(' or '.join(found)) if found else ''}")
    return name


@cache
def known_names() -> frozenset[str]:
    """The same names, to be looked up."""
    return frozenset(model_names())


def build(name: str, macro: MacroConfigTimm) -> nn.Module:
    """A model with fresh weights, in training mode, without any random path, dropout or drop path.

    Raises:
        InputError: timm cannot build it so, as for an image size that its windows or patches do not divide.
    """
    timm = _timm()
    config = timm.get_pretrained_cfg(name)
    options: dict[str, Any] = {"num_classes": macro.num_classes, "in_chans": macro.in_channels}
    if macro.image_size is not None and config is not None and config.fixed_input_size:
        options["img_size"] = macro.image_size
    try:
        network: nn.Module = timm.create_model(name, pretrained=False, **options)
    except Exception as error:  # as many kinds as there are models
        given = ", ".join(f"{key}={value}" for key, value in options.items())
        raise InputError(f"timm cannot build {name} with {given}: {type(error).__name__}: {error}") from error
    for module in network.modules():
        for rate, value in vars(module).items():
            if isinstance(value, float) and (
                "drop" in rate or (rate in ("p", "prob") and "Drop" in type(module).__name__)
            ):
                setattr(module, rate, 0.0)
    return network.train()


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise PrejudgeError(f"space timm needs the package timm: pip install 'prejudge[timm]' ({error})") from None
    return timm
