"""Pipelines: from scores to a report, and recipes that go from a search to a report in one resumable folder."""

from prejudge.pipeline.demo import run_demo
from prejudge.pipeline.recipe import shipped
from prejudge.pipeline.running import RunResult, StepError, run
from prejudge.pipeline.score_report import report_data

__all__ = ["RunResult", "StepError", "report_data", "run", "run_demo", "shipped"]
