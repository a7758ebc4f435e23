"""The error of a command line that cannot be used."""

from __future__ import annotations


class UsageError(ValueError):
    """A flag or value that cannot be used; the message names the flag, the value and the remedy."""
