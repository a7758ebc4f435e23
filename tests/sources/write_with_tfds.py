"""Script that writes small datasets with TFDS's writer and the features of its builders.

    python -m tests.sources.write_with_tfds REQUEST.json ROOT

It runs in a process of its own, because it starts TensorFlow. For each dataset NAME/CONFIG under `written` in the
request, it writes ROOT/NAME/CONFIG/VERSION in the given file format. Beside it are the expected values: `expected.npz`
with the columns of the second episode, or `expected.json` with the texts of all examples if the dataset has no
episodes. The features of the datasets under `features` are written to ROOT/features.json, and all configurations of
their builders to ROOT/configurations.json.
"""

import json
import os
import pathlib
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow_datasets as tfds

STEPS, ITEMS = 4, 3


def value(feature, random, key, step):
    if isinstance(feature, tfds.features.Sequence):
        return [value(feature.feature, random, key, step) for _ in range(ITEMS)]
    if hasattr(feature, "items"):
        return {name: value(part, random, name, step) for name, part in feature.items()}
    flags = {"is_first": step == 0, "is_last": step == STEPS - 1, "is_terminal": step == STEPS - 1}
    if key in flags:
        return flags[key]
    if isinstance(feature, tfds.features.BBoxFeature):
        return tfds.features.BBox(0.0, 0.0, 1.0, 1.0)
    if isinstance(feature, tfds.features.Text) or np.dtype(feature.np_dtype).kind in "OU":
        return f"{key} {random.integers(1000)}"
    shape = tuple(side or 8 for side in feature.shape)
    if isinstance(feature, tfds.features.Image):
        return random.integers(0, 256, shape[:2] + (feature.shape[2] or 3,), dtype=np.uint8)
    if np.issubdtype(feature.np_dtype, np.bool_) or np.issubdtype(feature.np_dtype, np.integer):
        return random.integers(0, 2, shape).astype(feature.np_dtype)[()]
    return random.uniform(-1, 1, shape).astype(feature.np_dtype)[()]


def example(features, random):
    top = {key: value(feature, random, key, 0) for key, feature in features.items() if key != "steps"}
    if "steps" not in features:
        return top
    steps = [value(features["steps"].feature, random, "", step) for step in range(STEPS)]
    return {**top, "steps": steps}


def columns(tree, prefix=""):
    for key, part in tree.items():
        if isinstance(part, dict):
            yield from columns(part, f"{prefix}{key}/")
        elif not isinstance(part, str):
            yield f"{prefix}{key}", np.asarray(part)


def flat(feature, prefix=""):
    """Yield path, shape and type of each leaf below a feature."""
    inner = getattr(feature, "feature", feature)
    if isinstance(inner, tfds.features.FeaturesDict):
        for key, part in inner.items():
            yield from flat(part, f"{prefix}/{key}")
    else:
        yield prefix.lstrip("/"), (list(inner.shape), np.dtype(inner.np_dtype).name)


def write(root, name, builder, file_format):
    dataset, _, config = name.partition("/")
    directory = root / name / str(builder.version)
    directory.mkdir(parents=True)
    identity = tfds.core.DatasetIdentity(
        name=dataset, version=builder.version, data_dir=str(directory), module_name="", config_name=config or None
    )
    features, random = builder.info.features, np.random.default_rng(0)
    info = tfds.core.DatasetInfo(builder=identity, features=features, description="made", disable_shuffling=True)
    writer = tfds.core.SequentialWriter(info, 10, file_format=file_format)
    writer.initialize_splits(["train"])
    examples = [example(features, random) for _ in range(2)]
    writer.add_examples({"train": examples})
    writer.close_all()
    if "steps" not in features:
        (directory / "expected.json").write_text(json.dumps(examples, default=str))
        return
    steps = [dict(columns(step)) for step in examples[1]["steps"]]
    np.savez(directory / "expected.npz", **{key: np.stack([step[key] for step in steps]) for key in steps[0]})


def main(request, root):
    root, asked = pathlib.Path(root), json.loads(pathlib.Path(request).read_text())
    builders, features, configurations = {}, {}, {}
    for name in asked["features"]:
        dataset, _, config = name.partition("/")
        if dataset not in builders:
            builders[dataset] = tfds.builder_cls(dataset)
            configurations[dataset] = list(builders[dataset].builder_configs)
        if "_run_" in config and config != "Pong_run_1":
            continue  # the features of all games are the same
        builder = builders[dataset](config=config or None, data_dir=str(root / "none"))
        features[name] = dict(flat(builder.info.features))
        if name in asked["written"]:
            write(root, name, builder, asked["written"][name])
    (root / "features.json").write_text(json.dumps(features))
    (root / "configurations.json").write_text(json.dumps(configurations))


main(*sys.argv[1:])
