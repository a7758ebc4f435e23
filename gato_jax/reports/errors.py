"""The error that all pages raise."""


class ReportError(ValueError):
    """A report that cannot be made; the message names the file, dataset or value, the fault and the remedy."""
