"""Tables of trained accuracies, and how well scores predict them."""

from prejudge.benchmarks.correlation import correlate
from prejudge.benchmarks.csv_import import import_csv
from prejudge.benchmarks.library import benchmark, benchmark_names
from prejudge.benchmarks.reporting import report_data
from prejudge.benchmarks.simulation import SimulatedTraining
from prejudge.benchmarks.table import Metric, RepresentativeWarning, Table, open_table, write_table

__all__ = [
    "Metric",
    "RepresentativeWarning",
    "SimulatedTraining",
    "Table",
    "benchmark",
    "benchmark_names",
    "correlate",
    "import_csv",
    "open_table",
    "report_data",
    "write_table",
]
