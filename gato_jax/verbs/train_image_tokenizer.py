"""`gato train_image_tokenizer`: training of a VQ-VAE that encodes images as discrete codes."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from gato_jax.verbs.flags import UsageError, parse_flags, require
from gato_jax.verbs.outputs import show_progress, write_json

if TYPE_CHECKING:
    import numpy as np

    from gato_jax.tokenization.image_tokenizer import ImageTokenizer


def train_image_tokenizer(flag: flags.FlagValues, argv: Sequence[str]):
    """Train a VQ-VAE on images of datasets, for the `image_tokenizer` of a config; run it again to resume."""
    flags.DEFINE_list(
        "data", [], "Datasets to take images from: folders, or sources as KIND:PATH, comma-separated.", flag_values=flag
    )
    flags.DEFINE_string("output", None, "Folder of the tokenizer.", flag_values=flag)
    flags.DEFINE_integer(
        "images",
        20_000,
        "Largest number of images, taken evenly from all steps and held in memory.",
        1,
        flag_values=flag,
    )
    flags.DEFINE_integer("steps", 2000, "Number of training steps.", 1, flag_values=flag)
    flags.DEFINE_integer("batch_size", 64, "Images in a batch.", 1, flag_values=flag)
    flags.DEFINE_float("learning_rate", 1e-3, "Initial learning rate; it decays to a tenth.", 0.0, flag_values=flag)
    flags.DEFINE_integer("seed", 0, "Seed of the initial weights and of the batches.", flag_values=flag)
    flags.DEFINE_integer("side", 64, "Side in pixels that images are resized to.", flag_values=flag)
    flags.DEFINE_integer("grid", 8, "Rows and columns of codes of an image.", flag_values=flag)
    flags.DEFINE_integer("codes", 1024, "Size of the codebook.", flag_values=flag)
    flags.DEFINE_integer("channels", 64, "Channels of the encoder and decoder; 24 suits two cores.", flag_values=flag)
    flags.DEFINE_string("json", None, "JSON file to write the final metrics to.", flag_values=flag)
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
    """Return up to `limit` images, evenly spread over all steps of the datasets `data`."""
    from gato_jax.episodes import Image
    from gato_jax.verbs.data import open_data

    keys = {}
    for where in data:
        reader = open_data(where)
        keys[reader] = [key for key, modality in reader.spec.observation.items() if isinstance(modality, Image)]
        if not keys[reader]:
            raise UsageError(f"--data is {where}, but {reader.spec.name} observes no images. Leave it out.")
    total = sum(int(reader.lengths.sum()) * len(keys[reader]) for reader in keys)
    taken, seen = [], 0
    for reader, image_keys in keys.items():
        for episode in show_progress(
            iter(reader), total=len(reader), desc=f"images of {reader.spec.name}", unit="episode"
        ):
            for image in (image for key in image_keys for image in episode.observation[key]):
                seen += 1
                if seen * limit // total > len(taken) or total <= limit:
                    taken.append(image)
    return taken


def _draw_reconstructions(tokenizer: ImageTokenizer, images: Sequence[np.ndarray], path: pathlib.Path):
    """Write a picture of eight of the images, each above its reconstruction."""
    import numpy as np
    from PIL import Image as Pillow

    shown = [images[i] for i in np.linspace(0, len(images) - 1, 8).astype(int)]
    back = [tokenizer.decode(tokenizer.encode(image)) for image in shown]
    side = tokenizer.config.side
    given = [np.asarray(Pillow.fromarray(image).resize((side, side))) for image in shown]
    drawn = np.concatenate([np.concatenate(row, axis=1) for row in (given, back)])
    Pillow.fromarray(drawn).resize((4 * drawn.shape[1], 4 * drawn.shape[0]), Pillow.Resampling.NEAREST).save(path)
