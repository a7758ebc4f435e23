"""Access to HDF5 files that refuses every link to another file, and conversion of datasets to field values."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gato_jax.sources.reader import SourceError
from gato_jax.sources.video_frames import FrameConverter

_IMAGES_PER_READ = 32  # a minute of full HD video is 11 GB
_MAX_LINKS, _MAX_DEPTH = 16, 32
_FILTERS_OF_ONE_SIZE = (2, 3)  # shuffle and Fletcher32, HDF5's filters that do not compress
_CHECKSUM = 4  # bytes that Fletcher32 adds to a chunk


@contextlib.contextmanager
def open_file(file: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading inside the `with` block.

    Raises:
      SourceError: in place of every OSError, RuntimeError and UnicodeDecodeError, on opening or inside the block. The
        message has no path.
    """
    import h5py

    try:
        with h5py.File(file, "r") as root:
            yield root
    # h5py raises RuntimeError for damaged structures, and UnicodeDecodeError for names that are not UTF-8.
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        raise SourceError(f"it cannot be read and may be truncated or damaged ({error})") from None


class EpisodePlace(NamedTuple):
    """Place of an episode in an HDF5 file.

    Attributes:
      path: path of its group. Empty for the file itself.
      rows: the rows [start, stop) of the group's datasets. None for all.
    """

    path: str = ""
    rows: tuple[int, int] | None = None

    def locate(self, file: Path) -> str:
        """Return the beginning of error messages about the episode, such as "a.hdf5: data/demo_3"."""
        rows = "" if self.rows is None else f"rows {self.rows[0]} to {self.rows[1] - 1}"
        return ": ".join(filter(None, (str(file), self.path, rows)))


def find_node(group: Any, path: str, links: int = 0) -> Any:
    """Return the dataset or group at a path of an HDF5 file.

    Links to other files are refused, because a recording from the internet must not read files of the user.

    Args:
      group: open file or group.
      path: path relative to `group`, also if it begins with `/`. An empty path is the group itself.
      links: number of soft links followed so far.

    Raises:
      KeyError: there is no such path, and no soft link on it is broken.
      SourceError: a link leads to another file, a soft link is broken or follows 16 others, or the dataset stores its
        values in other files or in damaged chunks.
    """
    import h5py

    node: Any = group
    for name in filter(None, path.split("/")):
        link = node.get(name, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            raise KeyError(f"no {name!r} in {node.name!r}")
        if isinstance(link, h5py.ExternalLink):
            raise SourceError(f"{path!r} is a link to another file, {link.filename!r}. Copy the data into this file.")
        node = _resolve_soft_link(node, link, links) if isinstance(link, h5py.SoftLink) else _open_node(node, name)
    if isinstance(node, h5py.Dataset):
        if node.external or node.is_virtual:
            raise SourceError(f"{path!r} stores its values in other files. Copy them into this file with h5repack.")
        _require_whole_chunks(node, path)
    return node


def list_names(group: Any) -> list[str]:
    """Return the names in an `h5py.Group` that are text; one in another encoding than UTF-8 is bytes.

    Raises:
      SourceError: a name leads to nothing, which is damage.
    """
    for name in (names := [name for name in group if isinstance(name, str)]):
        if group.get(name, getlink=True) is None:
            raise SourceError(f"{group.name!r} lists {name!r}, which does not exist. Copy the file again.")
    return names


def _require_whole_chunks(dataset: Any, path: str):
    """Raise SourceError if a chunk of numbers that is stored without compression has another size than its values.

    It is damage to the list of filters. HDF5 reads past the end of such a chunk without an error.
    """
    import h5py

    kind = dataset.id.get_type()
    if not dataset.chunks or kind.get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM):
        return
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(number)[0] for number in range(properties.get_nfilters())]
    size = math.prod(dataset.chunks) * kind.get_size()
    damaged = []

    def check(chunk: Any):
        applied = [one for number, one in enumerate(filters) if not chunk.filter_mask >> number & 1]
        is_compressed = any(one not in _FILTERS_OF_ONE_SIZE for one in applied)
        if not is_compressed and chunk.size != size + _CHECKSUM * applied.count(h5py.h5z.FILTER_FLETCHER32):
            damaged.append(chunk.chunk_offset)

    dataset.id.chunk_iter(check)
    if damaged:
        raise SourceError(f"{path!r} has a damaged chunk at {damaged[0]}. Copy the file again.")


def _open_node(group: Any, name: str) -> Any:
    """Return the dataset or group at a hard link in `group`, or raise SourceError if it is damaged."""
    try:
        return group[name]
    except (KeyError, TypeError) as error:  # h5py raises them for damaged headers
        problem = f"{name!r} in {group.name!r} is damaged ({error.args[0]})"
        raise SourceError(f"{problem}. Copy the file again.") from None


def _resolve_soft_link(group: Any, link: Any, links: int) -> Any:
    """Return the dataset or group that a soft link in `group` leads to.

    Args:
      group: the group that holds the link.
      link: `h5py.SoftLink`; its path is relative to `group`, or to the file if it begins with `/`.
      links: number of soft links followed before it.

    Raises:
      SourceError: the link is broken or leads to another file, or it is the 17th to be followed: a chain of this length
        may be endless.
    """
    if links == _MAX_LINKS:
        raise SourceError(
            f"{link.path!r} is behind more than {_MAX_LINKS} links, which may be endless. Remove the link."
        )
    try:
        return find_node(group.file if link.path.startswith("/") else group, link.path, links + 1)
    except KeyError:
        raise SourceError(f"{group.name!r} has a link to {link.path!r}, which does not exist. Remove it.") from None


def contains(group: Any, path: str) -> bool:
    """Return whether a dataset or group exists at a path of an HDF5 file, relative to `group`.

    Raises:
      SourceError: a link leads to another file, a soft link is broken or follows 16 others, or the dataset stores its
        values in other files.
    """
    try:
        return find_node(group, path) is not None
    except KeyError:
        return False


def is_numeric(node: Any) -> bool:
    """Return whether a node of an HDF5 file is a dataset of booleans, integers or floating-point numbers."""
    import h5py

    try:
        return isinstance(node, h5py.Dataset) and read_dtype(node).kind in "biuf"
    except SourceError:
        return False


def read_dtype(dataset: Any) -> np.dtype:
    """Return the dtype of an `h5py.Dataset`, or raise SourceError if NumPy does not support it."""
    try:
        return dataset.dtype
    except (TypeError, ValueError) as error:  # ValueError for floats of an unknown precision
        raise SourceError(f"a type that NumPy does not support ({error})") from None


def iter_datasets(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path, relative to `group`, and the `h5py.Dataset` of every dataset at or below a path, depth first.

    Raises:
      KeyError: there is no such path.
      SourceError: a link leads to another file, a soft link is broken or follows 16 others, a dataset stores its values
        in other files, groups are nested more than 32 deep, or the names of a group are damaged. It may be raised after
        some datasets.
    """
    import h5py

    if path.count("/") > _MAX_DEPTH:  # a link can make a group its own descendant
        raise SourceError(f"{path!r} is nested {path.count('/')} groups deep, expected at most {_MAX_DEPTH}")
    node = find_node(group, path)
    if isinstance(node, h5py.Dataset):
        yield path, node
    elif isinstance(node, h5py.Group):
        for name in list_names(node):
            yield from iter_datasets(group, f"{path}/{name}".lstrip("/"))


def decode_video(source: Path | bytes, label: str) -> Iterator[np.ndarray]:
    """Yield all frames of an MP4 file, decoded one by one, as `FrameConverter` returns them.

    Args:
      source: the file, or its content.
      label: name of the video in error messages.

    Raises:
      SourceError: the video is damaged, does not exist, or has no video stream. It may be raised after some frames.
    """
    import av
    from av.error import FFmpegError

    file, converter = io.BytesIO(source) if isinstance(source, bytes) else os.path.abspath(source), FrameConverter()
    try:  # The format is fixed: FFmpeg would detect playlist formats, which make it open further files.
        with av.open(file, "r", format="mp4") as container:
            if not container.streams.video:
                raise SourceError(f"{label} has no video stream")
            stream = container.streams.video[0]
            stream.codec_context.options = {"err_detect": "explode"}  # otherwise the decoder conceals damage
            for frame in container.decode(stream):
                yield converter.to_pixels(frame)
    except (FFmpegError, OSError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{label} cannot be decoded ({error})") from None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Hdf5Episode:
    """One episode in an open HDF5 file.

    Attributes:
      file: path of the file.
      group: HDF5 group of the episode, or the open file if it holds a single episode.
      steps: number T of steps of the episode.
      images: paths of the fields with an Image modality. At such a path, a one-dimensional uint8 dataset is the content
        of an MP4 file, and each row of a two-dimensional one is an encoded image, padded with zeros at the end.
      rows: the rows [start, stop) of the group's datasets that are the episode. None for all.
    """

    file: Path
    group: Any
    steps: int
    images: frozenset[str]
    rows: tuple[int, int] | None = None

    def read_field(self, path: str) -> Any:
        """Return the values of the field at `path`, relative to the group, as `read_values` does.

        Raises:
          KeyError: there is no such dataset.
          SourceError: the type of the dataset is not supported, a link leads to another file or is broken, or the
            dataset stores its values in other files.
        """
        return self.read_values(find_node(self.group, path), path)

    def read_values(self, dataset: Any, path: str) -> Any:
        """Return the values of a dataset, in the form that `assemble` takes.

        Args:
          dataset: HDF5 dataset.
          path: its path, which decides whether it holds images.

        Returns:
          An array, list or iterator of T values, which are arrays, numbers, UTF-8 bytes or the bytes of encoded images;
          or a single string, as bytes, if a dataset of strings that are no images has one element. An iterator reads
          the file, which must stay open.

        Raises:
          KeyError: `dataset` is a group.
          SourceError: its type is not supported.
        """
        import h5py

        if not isinstance(dataset, h5py.Dataset):
            parts = ", ".join(map(str, dataset)) if isinstance(dataset, h5py.Group) else "no values"
            raise KeyError(f"{path!r} is a group of {parts}")
        try:
            kind = read_dtype(dataset)
        except SourceError as error:
            raise SourceError(f"{path!r} has {error}. Omit this field.") from None
        holds_images = path in self.images
        if h5py.check_string_dtype(kind) is not None:
            return dataset[:] if dataset.ndim and (holds_images or dataset.size != 1) else np.ravel(dataset[()])[0]
        if h5py.check_vlen_dtype(kind) == np.uint8:
            return [row.tobytes() for row in dataset[:]]
        if kind.hasobject:
            raise SourceError(f"{path!r} holds {kind.metadata or kind}, expected numbers, text or images. Omit it.")
        if holds_images and kind == np.uint8 and dataset.ndim == 1:
            return decode_video(dataset[:].tobytes(), repr(path))
        if holds_images and kind == np.uint8 and dataset.ndim == 2:
            # Rows are padded with zeros, which end no JPEG or PNG: a truncated file would decode with its padding.
            return (row.tobytes().rstrip(b"\0") for row in _iter_rows(dataset))
        return _iter_rows(dataset) if holds_images and dataset.ndim else dataset[()]


def _iter_rows(dataset: Any) -> Iterator[np.ndarray]:
    """Yield the entries of an `h5py.Dataset` along its first axis, of which 32 are read at a time."""
    for start in range(0, len(dataset), _IMAGES_PER_READ):
        yield from dataset[start : start + _IMAGES_PER_READ]
