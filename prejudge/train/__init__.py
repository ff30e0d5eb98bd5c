"""Training: recipes, the one loop, checkpoints, evaluation and export."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prejudge.train.checkpoint import CheckpointManager as CheckpointManager
    from prejudge.train.device import DeviceConfig as DeviceConfig
    from prejudge.train.device import OutOfMemory as OutOfMemory
    from prejudge.train.evaluation.accuracy import accuracy as accuracy
    from prejudge.train.evaluation.evaluate import ClassificationMetrics as ClassificationMetrics
    from prejudge.train.evaluation.evaluate import evaluate as evaluate
    from prejudge.train.export.standalone import standalone_source as standalone_source
    from prejudge.train.export.stored_network import ExpectedNetwork as ExpectedNetwork
    from prejudge.train.export.stored_network import StoredNetwork as StoredNetwork
    from prejudge.train.export.stored_network import read_network as read_network
    from prejudge.train.export.weights import WeightsMetadata as WeightsMetadata
    from prejudge.train.export.weights import export_weights as export_weights
    from prejudge.train.export.weights import load_weights as load_weights
    from prejudge.train.learner import fit as fit
    from prejudge.train.loop import Epoch as Epoch
    from prejudge.train.loop import TrainingFailure as TrainingFailure
    from prejudge.train.plan import TrainingPlan as TrainingPlan
    from prejudge.train.plan import plan_training as plan_training
    from prejudge.train.process_group import ProcessGroup as ProcessGroup
    from prejudge.train.process_group import joined as joined
    from prejudge.train.recipes.published import PublishedRecipe as PublishedRecipe
    from prejudge.train.recipes.published import published_recipe as published_recipe
    from prejudge.train.recipes.recipe import Recipe as Recipe
    from prejudge.train.result import TrainingResult as TrainingResult
    from prejudge.train.testing import TestResult as TestResult
    from prejudge.train.testing import test as test
    from prejudge.train.training import run_plan as run_plan
    from prejudge.train.training import train as train

_MODULES = {
    "train": "training",
    "plan_training": "plan",
    "run_plan": "training",
    "TrainingPlan": "plan",
    "TrainingResult": "result",
    "test": "testing",
    "TestResult": "testing",
    "ExpectedNetwork": "export.stored_network",
    "Recipe": "recipes.recipe",
    "PublishedRecipe": "recipes.published",
    "published_recipe": "recipes.published",
    "DeviceConfig": "device",
    "ProcessGroup": "process_group",
    "joined": "process_group",
    "evaluate": "evaluation.evaluate",
    "ClassificationMetrics": "evaluation.evaluate",
    "accuracy": "evaluation.accuracy",
    "fit": "learner",
    "Epoch": "loop",
    "CheckpointManager": "checkpoint",
    "export_weights": "export.weights",
    "load_weights": "export.weights",
    "WeightsMetadata": "export.weights",
    "read_network": "export.stored_network",
    "StoredNetwork": "export.stored_network",
    "standalone_source": "export.standalone",
    "TrainingFailure": "loop",
    "OutOfMemory": "device",
}
"""The module of each public name; most of them import torch, recipes do not."""

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'prejudge.train' has no attribute {name!r}")
    return getattr(import_module(f"prejudge.train.{_MODULES[name]}"), name)
