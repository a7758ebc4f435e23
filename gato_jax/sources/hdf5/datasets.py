"""Descriptions of the datasets and links in an HDF5 file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gato_jax.sources.contents import FoundField
from gato_jax.sources.hdf5.file import read_dtype
from gato_jax.sources.reader import SourceError

_MAX_DEPTH = 32


def describe_datasets(group: Any) -> list[FoundField]:
    """Return the datasets and links at any depth of an open file or of a group of it."""
    return list(iter_found(group))


def iter_found(
    group: Any, path: str = "", skipped: Iterable[str] = (), seen: frozenset[Any] = frozenset()
) -> Iterator[FoundField]:
    """Yield the datasets at any depth, and links, which are not followed."""
    import h5py

    for name in group:
        link, inner = group.get(name, getlink=True), f"{path}/{name}".lstrip("/")
        if inner in skipped:
            continue
        if isinstance(link, (h5py.SoftLink, h5py.ExternalLink)):
            place = link.filename if isinstance(link, h5py.ExternalLink) else link.path
            yield FoundField(path=inner, kind="link", note=f"to {place}")
            continue
        try:
            node = group[name]
        except (KeyError, TypeError) as error:  # h5py raises them for damaged headers
            yield FoundField(path=inner, kind="damaged", note=str(error.args[0]))
            continue
        if isinstance(node, h5py.Dataset):
            yield _describe(node, inner)
        elif isinstance(node, h5py.Group):
            address = node.id  # equal for all links to one group
            if address not in seen and len(seen) < _MAX_DEPTH:  # a link can make a group its own descendant
                yield from iter_found(node, inner, skipped, seen | {address})


def _describe(dataset: Any, path: str) -> FoundField:
    import h5py

    try:
        kind, shape = read_dtype(dataset), tuple(dataset.shape or ())
    except SourceError as error:
        return FoundField(path=path, kind=str(error))
    if h5py.check_string_dtype(kind) is not None:
        return FoundField(path=path, kind="text", shape=shape[1:], per_episode=dataset.size == 1)
    return FoundField(path=path, kind=str(kind), shape=shape[1:], per_episode=not shape)
