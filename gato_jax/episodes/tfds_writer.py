"""Writer of TFDS datasets with any features, each of which appears whole or not at all."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gato_jax.episodes.errors import StoreError
from gato_jax.episodes.record_files import FILE_FORMATS, FileFormat, open_records, record_writer
from gato_jax.runtime.atomic_writes import atomic_folder

_EXAMPLES_PER_FILE = 1000
_FILE_NAME = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}"  # the number of files is not known in advance


@contextlib.contextmanager
def atomic_dataset(directory: Path) -> Iterator[Path]:
    """Yield an empty folder, which becomes the dataset `directory` when the block ends without an error.

    It replaces a folder that is there. If the block raises, `directory` stays as it was and the error passes through.

    Raises:
      StoreError: another process is writing the dataset, or the disk refuses.
    """
    with contextlib.ExitStack() as stack:
        with disk_errors(directory):
            staging = stack.enter_context(atomic_folder(directory))
        yield staging
        with disk_errors(directory):
            stack.close()


def write_examples(
    staging: Path,
    directory: Path,
    features: Any,
    splits: Mapping[str, Iterable[Any]],
    *,
    file_format: FileFormat = "array_record",
) -> dict[str, int]:
    """Write a TFDS dataset of examples that the features encode; see `write_serialized`."""
    serialize = serializer(features)
    records = {split: map(serialize, examples) for split, examples in splits.items()}
    return write_serialized(staging, directory, features, records, file_format=file_format)


def write_serialized(
    staging: Path,
    directory: Path,
    features: Any,
    splits: Mapping[str, Iterable[bytes]],
    *,
    file_format: FileFormat = "array_record",
) -> dict[str, int]:
    """Write the record files and the description of a TFDS dataset, and return the number of examples of each split.

    Each record file holds up to 1,000 examples, in the order of the iterables.

    Args:
      staging: the empty folder to write to, from `atomic_dataset`.
      directory: final folder of the dataset, `.../NAME/VERSION`. TFDS writes both names into the description.
      features: the `tfds.features.FeaturesDict`.
      splits: {split: records, as `serializer` makes them}. The splits are consumed one after the other.
      file_format: `array_record`, or `tfrecord` for older readers of RLDS.

    Raises:
      StoreError: a split is empty, the file format is unknown, or the disk refuses. Errors of the iterables pass
        through.
    """
    if file_format not in FILE_FORMATS:
        raise StoreError(f"{directory}: no file format {file_format!r}; write {' or '.join(FILE_FORMATS)}")
    written = {}
    for split, records in splits.items():
        template = _template(staging, directory, split, file_format, _FILE_NAME)
        written[split] = _write_records(template, iter(records), directory, file_format)
        if not written[split][0]:
            raise StoreError(f"{directory}: split {split!r} would hold no episodes; leave the split out")
    write_description(staging, directory, features, written, file_format=file_format, file_name=_FILE_NAME)
    counts = {split: sum(lengths) for split, (lengths, _) in written.items()}
    with disk_errors(directory):
        for split, count in counts.items():
            if (readable := sum(len(open_records(file)) for file in record_files(staging, split))) != count:
                raise OSError(f"{count} episodes of split {split!r} were written, {readable} can be read back")
    return counts


def serializer(features: Any) -> Callable[[Any], bytes]:
    """Return the function that serialises an example to the bytes of its record, the same bytes in every process.

    Args:
      features: the `tfds.features.FeaturesDict` of the examples.
    """
    from tensorflow_datasets.core import example_serializer

    serialize = example_serializer.ExampleSerializer(features.get_serialized_info()).get_tf_example
    # The maps of a protocol buffer have no order unless it is asked for.
    return lambda example: serialize(features.encode_example(example)).SerializeToString(deterministic=True)


def write_description(
    staging: Path,
    directory: Path,
    features: Any,
    splits: Mapping[str, tuple[list[int], int]],
    *,
    file_format: FileFormat,
    file_name: str,
):
    """Write the description of a TFDS dataset: `dataset_info.json` and `features.json`.

    Args:
      staging: the folder to write to.
      directory: final folder of the dataset, `.../NAME/VERSION`.
      features: the `tfds.features.FeaturesDict`.
      splits: {split: (number of records of each file, bytes of all records)}.
      file_format: format of the record files.
      file_name: template of their names, as TFDS defines it.
    """
    import tensorflow_datasets as tfds

    name, version = directory.parts[-2:]
    infos = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=lengths,
            num_bytes=size,
            filename_template=_template(staging, directory, split, file_format, file_name),
        )
        for split, (lengths, size) in splits.items()
    ]
    identity = tfds.core.DatasetIdentity(
        name=name, version=tfds.core.Version(version), data_dir=str(staging), module_name=__name__
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features, description=name, disable_shuffling=True)
    info.set_file_format(file_format)
    info.set_splits(tfds.core.SplitDict(infos))
    with disk_errors(directory):
        info.write_to_directory(staging)


def _template(staging: Path, directory: Path, split: str, file_format: FileFormat, file_name: str) -> Any:
    import tensorflow_datasets as tfds
    from etils import epath

    return tfds.core.ShardedFileTemplate(
        data_dir=epath.Path(staging),
        dataset_name=directory.parent.name,
        split=split,
        filetype_suffix=file_format,
        template=file_name,
    )


def _write_records(
    template: Any, records: Iterator[bytes], directory: Path, file_format: FileFormat
) -> tuple[list[int], int]:
    """Write the files of a split, and return the number of records of each file and the bytes of all records together.

    Args:
      template: template of the names of the files, from `_template`.
      records: the records, up to 1,000 of which go to each file. Errors of the iterator pass through.
      directory: final folder of the dataset, named in messages.
      file_format: format of the files.

    Raises:
      StoreError: the disk refuses.
    """
    lengths, size = [], 0
    # Records are drawn outside of `disk_errors`, because an error of their iterator is not one of the disk.
    while (first := next(records, None)) is not None:
        with disk_errors(directory):
            writer = record_writer(template.sharded_filepath(shard_index=len(lengths), num_shards=None), file_format)
        lengths.append(0)
        for record in itertools.chain([first], itertools.islice(records, _EXAMPLES_PER_FILE - 1)):
            with disk_errors(directory):
                writer.write(record)
            lengths[-1] += 1
            size += len(record)
        with disk_errors(directory):
            writer.close()
    return lengths, size


def record_files(directory: Path, split: str) -> list[Path]:
    """Return the record files of a split in a dataset's folder, of either format, in order; [] if there are none."""
    return [file for format in FILE_FORMATS for file in sorted(directory.glob(f"*-{split}.{format}-*"))]


@contextlib.contextmanager
def disk_errors(directory: Path) -> Iterator[None]:
    """Convert each OSError in the block to a StoreError that names the dataset `directory` and the remedy.

    A RuntimeError is converted as well, because ArrayRecord raises it when the disk is full.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise StoreError(
            f"{directory}: cannot be written ({error}); free space there, make it writable or choose another root"
        ) from error
