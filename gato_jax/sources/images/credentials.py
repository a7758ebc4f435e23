"""Content credentials: the C2PA manifests that cameras, editors and generators put into image files."""

from __future__ import annotations

import functools
import io
from typing import Any

from gato_jax.sources.reader import SourceError

_MARKS = (b"jumb", b"c2pa")  # the box that holds a manifest store, and the store's label, in every file format


def read_credentials(image: bytes, mime: str) -> str:
    """The C2PA manifest store of an image file as JSON, "" where it has none.

    The JSON says itself, in `validation_state`, whether the image is still the one that was signed. Nothing is fetched
    from the network: of a manifest that lies elsewhere there is nothing in the file.

    Args:
      image: the file's bytes.
      mime: its type, as image/jpeg.

    Raises:
      ImportError: there is a manifest and c2pa-python is not installed.
      SourceError: there is a manifest that cannot be read.
    """
    if not all(mark in image for mark in _MARKS):
        return ""
    try:
        import c2pa
    except ImportError as error:
        raise ImportError("the image has a C2PA manifest; pip install c2pa-python to read it") from error
    try:
        reader = c2pa.Reader.try_create(mime, io.BytesIO(image), context=_offline())
        return "" if reader is None else reader.json()
    except c2pa.C2paError as error:
        raise SourceError(f"its C2PA manifest cannot be read ({error}); copy the image again") from error


@functools.cache
def _offline() -> Any:
    import c2pa

    return c2pa.Context.from_dict({"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}})
