"""The report on trainings: plain values in; one self-contained HTML page, CSV, Markdown or LaTeX out."""

from prejudge.report.training.data import Tested, TrainingRecord, TrainingReportData
from prejudge.report.training.html import to_html
from prejudge.report.training.tables import to_csv, to_latex, to_markdown

__all__ = ["Tested", "TrainingRecord", "TrainingReportData", "to_csv", "to_html", "to_latex", "to_markdown"]
