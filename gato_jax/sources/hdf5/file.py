"""What an HDF5 file holds, read without ever leaving that file."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.sources.reader import SourceError

_ROWS_AT_ONCE = 32  # of pictures: a minute of full HD is 11 GB
_LINKS_AT_MOST, _DEPTH_AT_MOST = 16, 32


def find(group: Any, path: str, links: int = 0) -> Any:
    """The dataset or group at `path`. Raises KeyError where there is none, SourceError where a link leaves the file."""
    import h5py

    node: Any = group
    for name in filter(None, path.split("/")):
        link = node.get(name, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            raise KeyError(f"no {name!r} in {node.name!r}")
        if isinstance(link, h5py.ExternalLink):
            raise SourceError(
                f"{path!r} is a link out of the file, to {link.filename!r}; copy what it leads to into the file"
            )
        node = _follow(node, link, links) if isinstance(link, h5py.SoftLink) else node[name]
    if isinstance(node, h5py.Dataset) and (node.external or node.is_virtual):
        raise SourceError(f"{path!r} has its values in other files; copy them into this one, as h5repack does")
    return node


def _follow(group: Any, link: Any, links: int) -> Any:
    if links == _LINKS_AT_MOST:
        raise SourceError(f"{link.path!r} is a link to a link to a link without end; remove it")
    try:
        return find(group.file if link.path.startswith("/") else group, link.path, links + 1)
    except KeyError:
        raise SourceError(f"{group.name!r} has a link to {link.path!r}, which is not there; remove it") from None


def has(group: Any, path: str) -> bool:
    """Whether there is something at `path`. Raises SourceError where a link leaves the file."""
    try:
        return find(group, path) is not None
    except KeyError:
        return False


def walk(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Path and dataset of everything at or below `path`. Raises as `find` does."""
    import h5py

    if path.count("/") > _DEPTH_AT_MOST:
        raise SourceError(f"{path!r} lies too deep; a group may be its own descendant")
    node = find(group, path)
    if isinstance(node, h5py.Dataset):
        yield path, node
    elif isinstance(node, h5py.Group):
        for name in node:
            yield from walk(group, f"{path}/{name}".lstrip("/"))


def video_frames(source: Path | bytes, said: str) -> Iterator[np.ndarray]:
    """The frames of an MP4 file, (H, W, 3) uint8. Raises SourceError where it is damaged; `said` names it."""
    import av
    from av.error import FFmpegError

    file = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    try:  # the format is given, for some that FFmpeg would find out name further files to be read
        with av.open(file, "r", format="mp4") as container:
            if not container.streams.video:
                raise SourceError(f"{said} has no pictures")
            stream = container.streams.video[0]
            stream.codec_context.options = {"err_detect": "explode"}  # or damage is painted over
            for frame in container.decode(stream):
                yield frame.to_ndarray(format="rgb24")
    except (FFmpegError, OSError) as error:
        raise SourceError(f"{said} cannot be decoded ({error})") from None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Hdf5Episode:
    """One episode in an open file.

    Attributes:
      file: the open file's path.
      group: where the episode lies in it; the file itself where that is one episode.
      steps: how many actions it has.
      images: paths of the fields that are images; bytes there are encoded pictures or an encoded video.
    """

    file: Path
    group: Any
    steps: int
    images: frozenset[str]

    def column(self, path: str) -> Any:
        """The values of a dataset, as `assemble` takes them; a string that is alone is that of the whole episode."""
        return self.values(find(self.group, path), path)

    def values(self, dataset: Any, path: str) -> Any:
        """The values of a dataset that was found at `path`."""
        import h5py

        if not isinstance(dataset, h5py.Dataset):
            raise KeyError(f"{path!r} is a group of {', '.join(dataset)}")
        try:
            kind = dataset.dtype
        except TypeError as error:
            raise SourceError(f"{path!r} has a type that NumPy lacks ({error}); leave it out") from None
        pictures = path in self.images
        if h5py.check_string_dtype(kind) is not None:
            return dataset[:] if dataset.ndim and (pictures or dataset.size != 1) else np.ravel(dataset[()])[0]
        if h5py.check_vlen_dtype(kind) == np.uint8:
            return [row.tobytes() for row in dataset[:]]
        if kind.hasobject:
            raise SourceError(f"{path!r} holds {kind.metadata or kind}, no numbers, text or pictures; leave it out")
        if pictures and kind == np.uint8 and dataset.ndim == 1:
            return video_frames(dataset[:].tobytes(), repr(path))
        if pictures and kind == np.uint8 and dataset.ndim == 2:
            # Rows are padded with zeros, with which no JPEG or PNG ends. Decoded with them, a torn one seems whole.
            return (row.tobytes().rstrip(b"\0") for row in _rows(dataset))
        return _rows(dataset) if pictures and dataset.ndim else dataset[()]


def _rows(dataset: Any) -> Iterator[np.ndarray]:
    for start in range(0, len(dataset), _ROWS_AT_ONCE):
        yield from dataset[start : start + _ROWS_AT_ONCE]
