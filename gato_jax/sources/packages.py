"""The error for a package that a reader needs and that is not installed."""


class MissingPackageError(ImportError):
    """A package that a reader needs and that is not installed; the message names the command that installs it."""
