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

    from gato_jax.tokenization.image_tokenizer import ImageTokenizer


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
    output, images = pathlib.Path(flag.output), _images(flag.data, flag.images)
    metrics = run_training(
        config, images, output,
        steps=flag.steps, batch_size=flag.batch_size, learning_rate=flag.learning_rate, seed=flag.seed,
    )  # fmt: skip
    tokenizer = ImageTokenizer.load(output)
    _draw_reconstructions(tokenizer, images, output / "reconstructions.png")
    write_json(flag.json, {**metrics, "fingerprint": tokenizer.fingerprint})
    print(
        f"image tokenizer {tokenizer.fingerprint} in {output}: mean squared error {metrics['l2']:.4f} of pixels in "
        f"[-1, 1], {metrics['codes_used']:.0f} codes used; look at reconstructions.png"
    )


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


def _draw_reconstructions(tokenizer: ImageTokenizer, images: Sequence[np.ndarray], path: pathlib.Path):
    """Eight of the images, each above what its codes give back."""
    import numpy as np
    from PIL import Image as Pillow

    shown = [images[i] for i in np.linspace(0, len(images) - 1, 8).astype(int)]
    back = [tokenizer.decode(tokenizer.encode(image)) for image in shown]
    side = tokenizer.config.side
    given = [np.asarray(Pillow.fromarray(image).resize((side, side))) for image in shown]
    drawn = np.concatenate([np.concatenate(row, axis=1) for row in (given, back)])
    Pillow.fromarray(drawn).resize((4 * drawn.shape[1], 4 * drawn.shape[0]), Pillow.Resampling.NEAREST).save(path)
