"""RLDS in ArrayRecord and TFRecord files: written with TFDS's features, and read by TFDS and TensorFlow."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from gato_jax.episodes import Continuous, Image, Provenance, Text
from gato_jax.sources.fields import Fields
from tests.sources.made_hdf5 import pictures
from tests.sources.made_images import encode
from tests.sources.mutations.damage import NotPossible, list_files, pick_file
from tests.sources.mutations.harness import Format, Row
from tests.sources.mutations.text_formats import change_json_value

_FIELDS = Fields(
    suite="lab",
    task="push",
    observation={
        "image": ("observation/image", Image(height=6, width=8)),
        "state": ("observation/state", Continuous(shape=(2,))),
        "said": ("language_instruction", Text()),
    },
    action={"action": ("action", Continuous(shape=(2,), low=-9.0, high=9.0))},
    provenance=Provenance(source="a laboratory", licence="MIT", kind="real"),
    reward="reward",
    success="/success",
)


def _features() -> Any:
    import tensorflow_datasets as tfds

    step = {
        "observation": {
            "image": tfds.features.Image(shape=(6, 8, 3), encoding_format="png"),
            "state": tfds.features.Tensor(shape=(2,), dtype=np.float32),
        },
        "action": tfds.features.Tensor(shape=(2,), dtype=np.float32),
        "reward": np.float32,
        "is_first": np.bool_,
        "is_last": np.bool_,
        "is_terminal": np.bool_,
        "language_instruction": tfds.features.Text(),
    }
    return tfds.features.FeaturesDict({"steps": tfds.features.Dataset(step), "success": np.bool_})


def _example(number: int) -> dict[str, Any]:
    random, steps = np.random.default_rng(number), 3 + number % 3
    return {
        "success": np.bool_(number % 2),
        "steps": [
            {
                "observation": {
                    "image": io.BytesIO(encode(picture, "PNG")),
                    "state": random.normal(size=2).astype(np.float32),
                },
                "action": random.normal(size=2).astype(np.float32),
                "reward": np.float32(step),
                "is_first": step == 0,
                "is_last": step == steps - 1,
                "is_terminal": step == steps - 1,
                "language_instruction": "push it",
            }
            for step, picture in enumerate(pictures(steps, 6, 8, number))
        ],
    }


def _write(folder: Path, file_format: str):
    """Write three episodes in shards of two, by TFDS's own writer."""
    import tensorflow_datasets as tfds

    directory = folder / "push" / "1.0.0"
    directory.mkdir(parents=True)
    identity = tfds.core.DatasetIdentity("push", tfds.core.Version("1.0.0"), str(directory), "push")
    info = tfds.core.DatasetInfo(builder=identity, features=_features(), description="made for a test")
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=2, overwrite=True, file_format=file_format)
    writer.initialize_splits(["train", "test"])
    writer.add_examples({"train": [_example(number) for number in range(3)], "test": [_example(0)]})
    writer.close_all()


def _records(file: Path) -> Iterator[bytes | None]:
    """Yield the records of a file; None where the library finds damage."""
    if not file.exists():
        return
    if ".tfrecord" in file.name:
        from tensorflow.python.lib.io.tf_record import tf_record_iterator

        records: Any = tf_record_iterator(str(file))  # verifies the checksums
        yield from records
        return
    from array_record.python.array_record_module import ArrayRecordReader

    reader = ArrayRecordReader(str(file), "readahead_buffer_size:0")
    for number in range(reader.num_records()):
        try:
            [record] = reader.read([number])
            yield record
        except Exception:  # noqa: BLE001
            yield None


def _read(folder: Path) -> Iterator[Row | None]:
    import tensorflow_datasets as tfds

    directory = folder / "push" / "1.0.0"
    builder = tfds.builder_from_directory(str(directory))
    split = builder.info.splits["train"]
    for file, count in zip(split.filepaths, split.shard_lengths, strict=True):
        rows = []
        with contextlib.suppress(Exception):  # the records after damage are lost
            for record in _records(Path(file)):
                rows.append(None if record is None else _parse(builder.info.features, record))
        yield from rows
        yield from [None] * (count - len(rows))


def _parse(features: Any, record: bytes) -> Row | None:
    try:
        example = features.deserialize_example_np(record)
        steps = example["steps"]
        steps = steps if isinstance(steps, dict) else _stack(steps)
        images = [one if isinstance(one, np.ndarray) else np.asarray(PIL.Image.open(io.BytesIO(one)))
                  for one in steps["observation"]["image"]]  # fmt: skip
        return {
            "observation/image": images,
            "observation/state": steps["observation"]["state"],
            "observation/said": list(steps["language_instruction"]),
            "action/action": steps["action"],
            "reward": steps["reward"],
            "is_terminal": steps["is_terminal"],
            "success": bool(example["success"]),
        }
    except Exception:  # noqa: BLE001  protobuf and TFDS raise errors of many types
        return None


def _stack(steps: Any) -> dict[str, Any]:
    """Return {name: values of all steps} of an iterable of steps."""
    rows = list(steps)

    def column(parts: list[Any]) -> Any:
        return {key: column([part[key] for part in parts]) for key in parts[0]} if isinstance(parts[0], dict) else parts

    return column(rows)


def _change_description(folder: Path, chance: random.Random) -> str:
    file = pick_file(folder, chance, ".json")
    try:
        changed = change_json_value(json.loads(file.read_text()), chance)
    except ValueError:
        raise NotPossible from None
    file.write_text(json.dumps(changed))
    return f"{file.name}: {changed!r:.120}"


def _change_records(folder: Path, chance: random.Random) -> str:
    """Write a record file again with another order, number or content of its records."""
    from tensorflow_datasets import proto

    from gato_jax.episodes.record_files import record_writer

    file = chance.choice([file for file in list_files(folder) if "record-" in file.name] or [folder])
    try:
        records = [record for record in _records(file) if record is not None]
    except Exception:  # noqa: BLE001
        raise NotPossible from None
    if not records:
        raise NotPossible
    number = chance.randrange(len(records))
    way = chance.choice(("twice", "removed", "backwards", "a flag", "a feature", "a value", "empty"))
    match way:
        case "twice":
            records.insert(number, records[number])
        case "removed":
            records.pop(number)
        case "backwards":
            records = records[::-1]
        case "empty":
            records[number] = b""
        case _:
            messages: Any = proto.tf_example_pb2
            example = messages.Example.FromString(records[number])
            features = example.features.feature
            name = chance.choice(sorted(features))
            if way == "a feature":
                features[f"{name}_2"].CopyFrom(features[name])
                del features[name]
            else:
                name = "steps/is_last" if way == "a flag" else name
                values = getattr(features[name], features[name].WhichOneof("kind")).value
                values[chance.randrange(len(values))] = (
                    b"" if isinstance(values[0], bytes) else int(chance.random() < 0.5)
                )
                way += f" of {name}"
            records[number] = example.SerializeToString()
    file.unlink()
    writer = record_writer(file, "tfrecord" if ".tfrecord" in file.name else "array_record")
    for record in records:
        writer.write(record)
    writer.close()
    return f"{file.name}: record {number}: {way}"


FORMATS = {
    f"rlds_{kind}": Format(
        write=functools.partial(_write, file_format=kind),
        source="rlds:{}/push/1.0.0",
        read=_read,
        damages=(_change_description, _change_records, _change_records),
        fields=_FIELDS,
    )
    for kind in ("array_record", "tfrecord")
}
