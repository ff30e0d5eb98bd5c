"""Pipelines: from scores to a report, and recipes that go from a search to a report in one resumable folder."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prejudge.pipeline.demo import Demo, run_demo
    from prejudge.pipeline.drawing import draw_result
    from prejudge.pipeline.recipe import shipped
    from prejudge.pipeline.running import RunResult, StepError, run
    from prejudge.pipeline.score_report import report_data

_HOME = {
    "Demo": "demo",
    "RunResult": "running",
    "StepError": "running",
    "draw_result": "drawing",
    "report_data": "score_report",
    "run": "running",
    "run_demo": "demo",
    "shipped": "recipe",
}
"""Where each public name lives: the parser reads recipes at every start, and must not load the rest."""

__all__ = ["Demo", "RunResult", "StepError", "draw_result", "report_data", "run", "run_demo", "shipped"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'prejudge.pipeline' has no attribute {name!r}")
    return getattr(import_module(f"prejudge.pipeline.{_HOME[name]}"), name)
