"""`gato train_image_tokenizer`: images of recorded episodes become the codes that may stand for them."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from gato_jax.verbs.flags import UsageError, parse_flags, require
from gato_jax.verbs.outputs import watched, write_json

if TYPE_CHECKING:
    import numpy as np


def train_image_tokenizer(flag: flags.FlagValues, argv: Sequence[str]):
    """Trains a VQ-VAE on images of datasets; an agent's config then names its folder as `image_tokenizer`."""
    flags.DEFINE_list("data", [], "datasets, comma-separated: folders, or KIND:WHERE of a source", flag_values=flag)
    flags.DEFINE_string("output", None, "folder of the tokenizer; run again, it goes on there", flag_values=flag)
    flags.DEFINE_integer("images", 20_000, "at most, evenly of all steps, held in memory", 1, flag_values=flag)
    flags.DEFINE_integer("steps", 2000, "of training", 1, flag_values=flag)
    flags.DEFINE_integer("batch_size", 64, "images of a step", 1, flag_values=flag)
    flags.DEFINE_float("learning_rate", 1e-3, "at the start; it falls to a tenth", 0.0, flag_values=flag)
    flags.DEFINE_integer("seed", 0, "of weights and batches", flag_values=flag)
    flags.DEFINE_integer("side", 64, "images are resized to side x side pixels", flag_values=flag)
    flags.DEFINE_integer("grid", 8, "grid x grid codes stand for an image", flag_values=flag)
    flags.DEFINE_integer("codes", 1024, "how many there are to choose from", flag_values=flag)
    flags.DEFINE_integer("channels", 64, "of encoder and decoder; 24 suits two cores", flag_values=flag)
    flags.DEFINE_string("json", None, "write the last metrics here", flag_values=flag)
    parse_flags(flag, argv)
    require(flag, "data", "output")
    from gato_jax.tokenization.image_tokenizer import ImageTokenizer
    from gato_jax.tokenization.vqvae import ImageTokenizerConfig
    from gato_jax.training.image_tokenizer import train_image_tokenizer as run_training

    config = ImageTokenizerConfig(side=flag.side, grid=flag.grid, codes=flag.codes, channels=flag.channels)
    output = pathlib.Path(flag.output)
    metrics = run_training(
        config, _images(flag.data, flag.images), output,
        steps=flag.steps, batch_size=flag.batch_size, learning_rate=flag.learning_rate, seed=flag.seed,
    )  # fmt: skip
    fingerprint = ImageTokenizer.load(output).fingerprint
    write_json(flag.json, {**metrics, "fingerprint": fingerprint})
    print(f"image tokenizer {fingerprint} in {output}: l2 {metrics['l2']:.4f}, {metrics['codes_used']:.0f} codes used")


def _images(data: Sequence[str], limit: int) -> list[np.ndarray]:
    """Up to `limit` images, evenly spread over all steps of all datasets."""
    from gato_jax.episodes import Image
    from gato_jax.verbs.data import open_data

    keys = {}
    for where in data:
        reader = open_data(where)
        keys[reader] = [key for key, modality in reader.spec.observation.items() if isinstance(modality, Image)]
        if not keys[reader]:
            raise UsageError(f"--data={where}: {reader.spec.name} observes no images; leave it out")
    total = sum(int(reader.lengths.sum()) * len(keys[reader]) for reader in keys)
    taken, seen = [], 0
    for reader, image_keys in keys.items():
        for episode in watched(iter(reader), total=len(reader), desc=f"images of {reader.spec.name}", unit="episode"):
            for image in (image for key in image_keys for image in episode.observation[key]):
                seen += 1
                if seen * limit // total > len(taken) or total <= limit:
                    taken.append(image)
    return taken
