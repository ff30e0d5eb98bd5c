"""Pipelines: from scores to a report, and recipes that go from a search to a report in one resumable folder."""

from prejudge.pipeline.score_report import report_data

__all__ = ["report_data"]
