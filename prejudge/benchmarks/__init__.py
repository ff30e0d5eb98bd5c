"""Tables of trained accuracies, and how well scores predict them."""

from prejudge.benchmarks.importers.csv import import_csv
from prejudge.benchmarks.importers.kinds import import_table
from prejudge.benchmarks.importers.table_import import ImportResult
from prejudge.benchmarks.simulation import SimulatedTraining
from prejudge.benchmarks.statistics.correlation import correlate
from prejudge.benchmarks.table.library import benchmark, benchmark_names
from prejudge.benchmarks.table.table import Metric, RepresentativeWarning, Table, open_table, write_table

__all__ = [
    "ImportResult",
    "Metric",
    "RepresentativeWarning",
    "SimulatedTraining",
    "Table",
    "benchmark",
    "benchmark_names",
    "correlate",
    "import_csv",
    "import_table",
    "open_table",
    "write_table",
]
