"""What a person looks at: the HTML report with plots and rollouts. May import any."""

from gato_jax.reports.page import write_report
from gato_jax.reports.reading import read_results
from gato_jax.reports.run import ReportError
from gato_jax.reports.summary import summary_table

__all__ = ["ReportError", "read_results", "summary_table", "write_report"]
