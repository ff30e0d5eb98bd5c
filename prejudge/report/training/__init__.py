"""The report on trainings: how they went, what came out, what it cost."""

from prejudge.report.training.data import Tested, TrainingRecord, TrainingReportData
from prejudge.report.training.page import training_page

__all__ = ["Tested", "TrainingRecord", "TrainingReportData", "training_page"]
