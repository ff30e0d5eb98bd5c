"""Tables of trained accuracies, and how well scores predict them."""

from prejudge.benchmarks.correlation import correlate
from prejudge.benchmarks.table import Metric, RepresentativeWarning, Table, open_table, write_table

__all__ = ["Metric", "RepresentativeWarning", "Table", "correlate", "open_table", "write_table"]
