"""Statistics of a dataset, the comparison of two datasets, and the HTML page of both."""

from gato_jax.reports.recordings.comparison import Comparison, compare
from gato_jax.reports.recordings.findings import DataStatistics
from gato_jax.reports.recordings.page import write_page
from gato_jax.reports.recordings.statistics import measure
from gato_jax.reports.recordings.table import comparison_table, table

__all__ = ["Comparison", "DataStatistics", "compare", "comparison_table", "measure", "table", "write_page"]
