"""`gato train_image_tokenizer`: training of a VQ-VAE that encodes images as discrete codes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from absl import flags
from etils import epy

from gato_jax.runtime import devices, interruptible, writer_lock
from gato_jax.runtime.interruption import GO_ON
from gato_jax.runtime.paths import require_local
from gato_jax.verbs.data import join_paths, open_data
from gato_jax.verbs.flags import parse_flags
from gato_jax.verbs.outputs import show_progress, write_json

with epy.lazy_imports():
    from gato_jax import episodes, sources
    from gato_jax.reports import reconstructions
    from gato_jax.sources import image_samples
    from gato_jax.tokenization import image_tokenizer, vqvae
    from gato_jax.training import image_tokenizer as tokenizer_training


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
    flags.DEFINE_integer("seed", 0, "Seed of the initial weights and of the batches.", 0, 2**32 - 1, flag_values=flag)
    flags.DEFINE_integer("side", 64, "Side in pixels that images are resized to.", flag_values=flag)
    flags.DEFINE_integer("grid", 8, "Rows and columns of codes of an image.", flag_values=flag)
    flags.DEFINE_integer("codes", 1024, "Size of the codebook.", flag_values=flag)
    flags.DEFINE_integer("channels", 64, "Channels of the encoder and decoder; 24 suits two cores.", flag_values=flag)
    flags.DEFINE_string("json", None, "JSON file to write the final metrics to.", flag_values=flag)
    parse_flags(flag, argv, required=("data", "output"))

    config = vqvae.ImageTokenizerConfig(side=flag.side, grid=flag.grid, codes=flag.codes, channels=flag.channels)
    devices.print_devices()
    output = require_local(flag.output, "--output", "Write to a disk, then copy the folder to the bucket.")
    with interruptible(GO_ON) as interruption, writer_lock(output):
        with interruption.at_once():  # nothing is lost before the first step
            readers = [open_data(path) for path in join_paths(flag.data)]
            images = image_samples.sample_images(readers, flag.images, _episodes_with_progress)
        metrics = tokenizer_training.train_image_tokenizer(
            config, images, output, interruption=interruption,
            steps=flag.steps, batch_size=flag.batch_size, learning_rate=flag.learning_rate, seed=flag.seed,
        )  # fmt: skip
    if metrics is None:
        print(f"ended by {interruption.requested} with a checkpoint of the last step in {output}. {GO_ON}")
        return
    tokenizer = image_tokenizer.ImageTokenizer.load(output)
    reconstructions.write_reconstructions(tokenizer, images, output / "reconstructions.png")
    write_json(flag.json, {**metrics, "fingerprint": tokenizer.fingerprint})
    print(
        f"image tokenizer {tokenizer.fingerprint} in {output}: mean squared error {metrics['l2']:.4f} of pixels in "
        f"[-1, 1], {metrics['codes_used']:.0f} codes used; look at reconstructions.png"
    )


def _episodes_with_progress(reader: sources.EpisodeReader) -> Iterable[episodes.Episode]:
    """Return an iterator over the episodes of a reader, which shows a progress bar."""
    return show_progress(iter(reader), total=len(reader), desc=f"images of {reader.spec.name}", unit="episode")
