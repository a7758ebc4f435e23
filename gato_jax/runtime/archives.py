"""Errors of damaged .npz files."""

from __future__ import annotations

import zipfile
import zlib

# All that `numpy.load` and the look-up of an array raise for a file that is missing or damaged. zipfile raises
# RuntimeError for a changed flag that says that an array is encrypted, and NotImplementedError for changed versions.
ARCHIVE_ERRORS = (OSError, EOFError, KeyError, RuntimeError, TypeError, ValueError, zipfile.BadZipFile, zlib.error)
