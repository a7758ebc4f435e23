"""Measurement of what tokenization loses of a dataset under a grid of settings, and its HTML page."""

from gato_jax.reports.tokenization.findings import TokenizationReport
from gato_jax.reports.tokenization.grid import Grid
from gato_jax.reports.tokenization.measure import measure
from gato_jax.reports.tokenization.page import write_page
from gato_jax.reports.tokenization.table import table

__all__ = ["Grid", "TokenizationReport", "measure", "table", "write_page"]
