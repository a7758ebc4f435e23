"""HTML reports of runs and datasets, plots, rollout animations and the token inspector.

May import any other package of gato_jax.
"""

from gato_jax.reports.comparison.page import write_comparison
from gato_jax.reports.errors import ReportError
from gato_jax.reports.inspection import InspectedRow, inspect_row, inspection_json
from gato_jax.reports.inspector import write_inspection
from gato_jax.reports.page import write_report
from gato_jax.reports.reading import read_results
from gato_jax.reports.summary import summary_table

__all__ = [
    "InspectedRow",
    "ReportError",
    "inspect_row",
    "inspection_json",
    "read_results",
    "summary_table",
    "write_comparison",
    "write_inspection",
    "write_report",
]
