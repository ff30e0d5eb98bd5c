"""The trainings that papers published: every number by name, with the place that says it.

:func:`published_recipe` gives one; :data:`PUBLISHED` lists them. They are what the released code does by its published
commands. Where that differs from the paper's text, or is not known, the recipe's notes say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from prejudge.errors import InputError, unknown
from prejudge.train.recipes.recipe import Recipe

Numbers = dict[str, tuple[Any, str]]
"""Values by name, each with its source."""

ALL = "all the training images"


@dataclass(frozen=True)
class PublishedRecipe:
    """A published training.

    Attributes:
        paper: Short name of the method.
        data: Name of the images.
        training: Optimizer, schedule and augmentation.
        space: Search space of the architecture.
        macro: Macro-architecture of the network, as pairs: the fields that the publication says.
        normalization: Name in :data:`prejudge.data.normalization.NORMALIZATIONS`.
        seed: What the published command seeds with; None: it is not said.
        images: Which images are learned, in words.
        sources: Where each number comes from, as pairs of its name and the place.
        notes: What else has to be known.
    """

    paper: str
    data: str
    training: Recipe
    space: str = "darts"
    macro: tuple[tuple[str, Any], ...] = ()
    normalization: str = ""
    seed: int | None = None
    images: str = ALL
    sources: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = field(default=(), repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a file or to be printed."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        mappings = {"macro": dict(self.macro), "sources": dict(self.sources)}
        return plain | mappings | {"training": self.training.as_dict(), "notes": list(self.notes)}

    def for_images(self, data: str, *, num_classes: int, in_channels: int = 3) -> PublishedRecipe:
        """The same training on other images: classes and channels of the network follow them, all else stays."""
        fitting = {"num_classes": num_classes, "in_channels": in_channels}
        macro, sources = dict(self.macro) | fitting, dict(self.sources) | dict.fromkeys(fitting, "the images")
        return replace(self, data=data, macro=tuple(macro.items()), sources=tuple(sources.items()))

    def source(self, name: str) -> str:
        """Where a number comes from; raises :class:`InputError` for one that the publication does not say."""
        found = dict(self.sources)
        if name not in found:
            raise unknown(f"number of the recipe {self.paper} for {self.data}", name, found)
        return found[name]


def published_recipe(paper: str, data: str = "cifar10") -> PublishedRecipe:
    """The training of a paper on a dataset.

    Args:
        paper: One of the names in :data:`PUBLISHED`.
        data: Name of the images.

    Raises:
        InputError: There is no such paper, or it has no recipe for these images; the message says which there are.
    """
    if paper not in PUBLISHED:
        raise unknown("published recipe", paper, PUBLISHED)
    if data not in PUBLISHED[paper]:
        raise InputError(f"{paper} has no published recipe for {data!r}; it has {', '.join(PUBLISHED[paper])}")
    return _recipe(paper, data, *PUBLISHED[paper][data])


def _said(source: str, **values: Any) -> Numbers:
    return {name: (value, source) for name, value in values.items()}


def _recipe(paper: str, data: str, numbers: Numbers, notes: tuple[str, ...] = ()) -> PublishedRecipe:
    """Each number goes where its name belongs; what is not a number of a training or recipe is one of the network."""
    values = {name: value for name, (value, _) in numbers.items()}
    of_training = {f.name for f in fields(Recipe)}
    of_recipe = {"space", "normalization", "seed", "images"}
    return PublishedRecipe(
        paper,
        data,
        Recipe(**{n: v for n, v in values.items() if n in of_training}),
        **{n: v for n, v in values.items() if n in of_recipe},
        macro=tuple((n, v) for n, v in values.items() if n not in of_training | of_recipe),
        sources=tuple((name, source) for name, (_, source) in numbers.items()),
        notes=notes,
    )


_QUARK = "quark0/darts, cnn/train.py"
_QUARK_IMAGENET = "quark0/darts, cnn/train_imagenet.py"
_PT = "ruocwang/darts-pt 4ec3149, train.py"
_ISTA = "ISTA-NAS, evaluation.py"
_ISTA_IMAGENET = "ISTA-NAS, evaluation_imagenet.py"
_STACNAS = "susan0199/stacnas a3c00dd, augment.py"
_HNAS = "shuyao95/HNAS 970789c, darts_space/train_cifar.py"
_HNAS_100 = "shuyao95/HNAS 970789c, published command for CIFAR-100"
_HNAS_IMAGENET = "shuyao95/HNAS 970789c, darts_space/train_imagenet.py"
_TENAS = "chenwydj/DARTS_evaluation, train.py"
_TENAS_IMAGENET = "chenwydj/DARTS_evaluation, train_imagenet_dist.py"
_NB201 = "NAS-Bench-201, training protocol of its tables"
_NB101 = "google-research/nasbench, nasbench/lib/config.py"
_NB101_OPTIMIZER = "google-research/nasbench, nasbench/lib/model_builder.py"


def _cifar(source: str, **others: Any) -> Numbers:
    """DARTS' numbers on CIFAR-10, which most of its followers have in their own code."""
    values: dict[str, Any] = {
        "epochs": 600, "batch_size": 96, "learning_rate": 0.025, "schedule": "cosine-epochs", "momentum": 0.9,
        "nesterov": False, "weight_decay": 3e-4, "max_grad_norm": 5.0, "drop_path": 0.2, "auxiliary_weight": 0.4,
        "auxiliary": True, "augment": True, "augmentation": "crop-flip", "padding": 4, "cutout": 16,
        "channels": 36, "cells": 20, "num_classes": 10, "form": "standard",
        "normalization": "cifar10-darts", "seed": 0,
    }  # fmt: skip
    return _said(source, **(values | others))


def _small(**others: Any) -> Numbers:
    """DARTS-PT's spaces S1 to S4, in the protocol of RobustDARTS."""
    return _cifar(_PT, channels=16, cells=8, seed=2, **others)


def _mnist(data: str, **others: Any) -> Numbers:
    """StacNAS on images of 28 pixels with one channel."""
    numbers = _cifar(_STACNAS, augmentation="affine", in_channels=1, form="stacnas", seed=3)
    return numbers | _said("khanrc/pt.darts, preproc.py: what StacNAS's code grew from", normalization=data, **others)


def _imagenet(source: str, **others: Any) -> Numbers:
    """The mobile setting, in the way of PC-DARTS."""
    values: dict[str, Any] = {
        "epochs": 250, "batch_size": 1024, "learning_rate": 0.5, "schedule": "linear", "warmup_epochs": 5,
        "momentum": 0.9, "nesterov": False, "weight_decay": 3e-5, "max_grad_norm": 5.0, "label_smoothing": 0.1,
        "auxiliary_weight": 0.4, "auxiliary": True, "augment": True, "augmentation": "imagenet", "image_size": 224,
        "channels": 48, "cells": 14, "num_classes": 1000, "stem": "imagenet", "form": "standard",
        "normalization": "imagenet", "seed": 0,
    }  # fmt: skip
    return _said(source, **(values | others))


_OF_TABLES: Mapping[str, Any] = {
    "epochs": 200, "batch_size": 256, "learning_rate": 0.1, "schedule": "cosine", "momentum": 0.9, "nesterov": True,
    "weight_decay": 5e-4, "augment": True, "augmentation": "crop-flip", "padding": 4, "seed": 777,
}  # fmt: skip


def _nasbench201(normalization: str, classes: int, **others: Any) -> Numbers:
    network = {"space": "nasbench201", "channels": 16, "cells": 5, "num_classes": classes, "form": "official"}
    return _said(_NB201, **{**_OF_TABLES, **network, "normalization": normalization, **others})


def _nats_size(normalization: str, classes: int, **others: Any) -> Numbers:
    values = {**_OF_TABLES, "epochs": 90, "space": "nats-size", "num_classes": classes, "normalization": normalization}
    return _said("NATS-Bench, training protocol of the size space's tables", **{**values, **others})


_LAST_AND_BEST = (
    "the code keeps the best test accuracy, which selects on the test images: the last epoch's is comparable"
)
_SEEDS_201 = (
    "the tables have seeds 777, 888 and 999",
    "the short tables have epochs=12 with a cosine of their own, also with seed 111",
)
_SEEDS_SIZE = ("the short tables have epochs=1 (seed 777) and epochs=12 (777, 888, 999), with a cosine of their own",)
_STAC = (
    _LAST_AND_BEST,
    "the tables' 'fancy' rows use switches of the code, AutoAugment among them, in an unknown combination",
)
_RUN_BY_TORCHRUN = "the released script trains in several processes: the batch size is that of all of them together"
_RELEASED_SCRIPT = "the released script does not run: modules that it imports are missing"

PUBLISHED: Mapping[str, Mapping[str, tuple[Numbers, tuple[str, ...]]]] = {
    "darts": {
        "cifar10": (_cifar(_QUARK), ("darts-pt has the same numbers with seed 2", _LAST_AND_BEST)),
        "cifar100": (
            _small(num_classes=100, normalization="cifar100"),
            ("for the spaces S1 to S4, as in DARTS-PT; DARTS itself has no such numbers", _LAST_AND_BEST),
        ),
        "svhn": (
            _small(normalization="svhn", images="the 73,257 of the training split, without the extra ones"),
            ("for the spaces S1 to S4, as in DARTS-PT; digits are flipped, too", _LAST_AND_BEST),
        ),
        "imagenet": (
            _imagenet(
                _QUARK_IMAGENET, batch_size=128, learning_rate=0.1, schedule="exponential", gamma=0.97, warmup_epochs=0
            ),
            (),
        ),
    },
    "ista": {
        "cifar10": (_cifar(_ISTA), ()),
        "imagenet": (_imagenet(_ISTA_IMAGENET), (_RELEASED_SCRIPT,)),
    },
    "ista-onestage": {
        "cifar10": (
            _cifar(_ISTA) | _said("ISTA-NAS, evaluation.py --onestage", form="ista-onestage"),
            (
                "the search itself goes on to train for 600 epochs, to a learning rate of 1e-3 and with weights kept: "
                "this is the training from scratch",
            ),
        ),
        "imagenet": (
            _imagenet(_ISTA_IMAGENET) | _said("ISTA-NAS, evaluation.py --onestage", form="ista-onestage"),
            (_RELEASED_SCRIPT, "the form of the network is that of CIFAR-10: the parameters fit both (5.65 M)"),
        ),
    },
    "stacnas": {
        "cifar10": (_cifar(_STACNAS, form="stacnas", seed=3), _STAC),
        "cifar100": (
            _cifar(_STACNAS, form="stacnas", seed=3, num_classes=100, normalization="cifar100"),
            (*_STAC, "the code has the mean and deviation with 16 digits"),
        ),
        "mnist": (_mnist("mnist"), _STAC),
        "fashionmnist": (_mnist("fashionmnist", vertical_flip=True), _STAC),
    },
    "hnas": {
        "cifar10": (_cifar(_HNAS), ()),
        "cifar100": (
            _cifar(_HNAS, num_classes=100, normalization="cifar100")
            | _said(
                _HNAS_100, learning_rate=0.035, min_learning_rate=1e-3, drop_path=0.3, auxiliary_weight=0.6
            ),
            ("the code has the mean and deviation with 7 digits",),
        ),
        "imagenet": (_imagenet(_HNAS_IMAGENET), (_RUN_BY_TORCHRUN,)),
    },
    "te-nas": {
        "cifar10": (
            _cifar(_TENAS, drop_path=0.3) | _said("chenwydj/DARTS_evaluation, README", epochs=800),
            ("without the README's option the script trains for 600 epochs",),
        ),
        "imagenet": (
            _imagenet(_TENAS_IMAGENET, batch_size=768, schedule="cosine-epochs"),
            (_RUN_BY_TORCHRUN, "versions of the script differ in the default schedule: cosine or linear"),
        ),
    },
    "nasbench201": {
        "cifar10": (_nasbench201("cifar10-nasbench201", 10), _SEEDS_201),
        "cifar100": (_nasbench201("cifar100-nasbench201", 100), _SEEDS_201),
        "imagenet16-120": (_nasbench201("imagenet16-120", 120, padding=2), _SEEDS_201),
    },
    "nats-size": {
        "cifar10": (_nats_size("cifar10-nasbench201", 10), _SEEDS_SIZE),
        "cifar100": (_nats_size("cifar100-nasbench201", 100), _SEEDS_SIZE),
        "imagenet16-120": (_nats_size("imagenet16-120", 120, padding=2), _SEEDS_SIZE),
    },
    "nasbench101": {
        "cifar10": (
            _said(
                _NB101, epochs=108, batch_size=256, learning_rate=0.2, schedule="cosine", momentum=0.9,
                weight_decay=1e-4, space="nasbench101", channels=128, stacks=3, cells=3, num_classes=10,
                form="official",
            )
            | _said(_NB101_OPTIMIZER, optimizer="rmsprop", nesterov=False)
            | _said(
                "google-research/nasbench, nasbench/lib/cifar.py", augment=True, augmentation="crop-flip", padding=4,
                normalization="cifar10-nasbench101", images="40,000 of the training images; the other 10,000 validate",
            ),
            (
                "the learning rate is 0.1 for each of the two shards of a TPU",
                "the tables also have 4, 12 and 36 epochs, each with its own cosine; three repeats of unknown seeds",
                "the first step has a learning rate of 0, and a batch that is not full is left out",
            ),
        ),
    },
}  # fmt: skip
"""By paper and images: the numbers, and notes. Others than these are not published."""
