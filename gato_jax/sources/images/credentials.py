"""Content credentials: the C2PA manifests that cameras, editors and generators write into image files."""

from __future__ import annotations

import functools
import io
from typing import Any

from gato_jax.sources.packages import MissingPackageError
from gato_jax.sources.reader import SourceError

# Every file with a manifest holds both byte strings: the type of the manifest's box and the label of its store.
_MARKERS = (b"jumb", b"c2pa")


def read_credentials(image: bytes, mime: str) -> str:
    """Return the C2PA manifest store of an encoded image as JSON, or "" if the file has none.

    The field `validation_state` of the JSON tells whether the image still matches its signature; an image that does not
    match is no error. Only manifests that are embedded in the file are read; nothing is fetched from the network.

    Args:
      image: Bytes of the image file.
      mime: MIME type of the file, for example `image/jpeg`.

    Returns:
      The JSON text, or "".

    Raises:
      MissingPackageError: The file contains the byte strings `jumb` and `c2pa`, as every file with a manifest does,
        and the package c2pa-python is not installed.
      SourceError: c2pa-python cannot read the manifest, for example because it is damaged.
    """
    if not all(marker in image for marker in _MARKERS):
        return ""
    try:
        import c2pa
    except ImportError as error:
        raise MissingPackageError(
            "cannot read the C2PA manifest of the image: c2pa-python is not installed. Run pip install c2pa-python."
        ) from error
    try:
        reader = c2pa.Reader.try_create(mime, io.BytesIO(image), context=_offline_context())
        return "" if reader is None else reader.json()
    except c2pa.C2paError as error:
        raise SourceError(f"cannot read its C2PA manifest: {error}. Copy the image again.") from error


@functools.cache
def _offline_context() -> Any:
    """Return the `c2pa.Context` that forbids network access. It is created once."""
    import c2pa

    return c2pa.Context.from_dict({"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}})
