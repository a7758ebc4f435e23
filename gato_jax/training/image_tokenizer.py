"""Training of the image tokenizer: reconstruction and commitment by gradient, the code table by moving averages.

The loss is RoboCat's (appendix D), on pixels in [-1, 1], each term a mean:

    l2 + 0.1 log-Laplace + 0.25 discretisation

log-Laplace is the negative log-density of a Laplace distribution of scale 1 about the reconstruction, less its constant
log 2: the absolute error. Discretisation is the squared distance of the encoder's vectors to their codes.

The vector of a code is the moving average of the encoder's vectors that chose it, so it needs no learning rate and
follows an encoder that changes. A code that no vector has chosen for a while restarts at a vector of the encoder.

Axes:
    M vectors of a batch   K codes   E numbers of a code vector
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int32, Key, UInt8
from tqdm import tqdm

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.differences import require_same
from gato_jax.episodes.ranges import NonNegativeFloat, PositiveInt, Seed
from gato_jax.runtime import Interruption
from gato_jax.runtime.atomic_writes import atomic_file
from gato_jax.tokenization.image_tokenizer import ImageTokenizer, read_arrays, resize_to_square, write_arrays
from gato_jax.tokenization.vqvae import ImageTokenizerConfig, ImageTokenizerError, graphdef, initialise, to_pixels
from gato_jax.training.skipped_steps import NonFiniteLossError

LAPLACE_WEIGHT = 0.1  # RoboCat, appendix D
CODE_DECAY = 0.99  # decay of the moving averages
REVIVE_AFTER = 20  # steps without use; at batch 64 an average code of 1024 is chosen 80 times in them
FINAL_FRACTION = 0.1  # learning rate at the end of its cosine, divided by that at the beginning
_SAMPLED = 64  # number of images that are hashed to tell one source from another


@runtime_checkable
class Images(Protocol):
    """Images by their index, each (height, width, 3) uint8 of any size: a list of arrays, one array, or a reader."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerTraining:
    """Numbers of a training run with their ranges; the arguments of `train_image_tokenizer` describe them.

    Raises:
      ImageTokenizerError: Numbers are out of their ranges; the message names all of them.
    """

    steps: PositiveInt
    batch_size: PositiveInt
    learning_rate: NonNegativeFloat
    seed: Seed
    checkpoint_every: PositiveInt

    def __post_init__(self):
        DataclassReader(error=ImageTokenizerError).check(self, "image_tokenizer")


class TokenizerState(NamedTuple):
    """Everything that a step changes, for K codes of E numbers.

    Attributes:
      params: The parameters, the code vectors among them.
      optimizer: The state of the optimizer.
      counts: Moving average over steps of the number of vectors that chose each code.
      sums: Moving average over steps of the sum of these vectors; a step sets the code vectors to sums / counts.
      unused: Number of steps since a vector last chose each code.
      step: Number of steps done.
    """

    params: nnx.State
    optimizer: optax.OptState
    counts: Float[Array, " K"]
    sums: Float[Array, "K E"]
    unused: Int32[Array, " K"]
    step: Int32[Array, ""]


def train_image_tokenizer(
    config: ImageTokenizerConfig,
    images: Images,
    directory: pathlib.Path,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    checkpoint_every: int = 500,
    interruption: Interruption | None = None,
) -> dict[str, float] | None:
    """Train an image tokenizer, from the newest checkpoint if there is one, and return the metrics of the last step.

    Return None if the training was interrupted, with a checkpoint of the step at which it was.

    The folder then holds a tokenizer for `ImageTokenizer.load`, and run.json and training_state.npz to continue from.
    The metrics are those of `make_train_step`, as floats. A run that was killed and started again ends with the same
    weights as one that was not, because a batch depends on seed and step alone.

    Args:
      config: Sizes of the tokenizer.
      images: Images to train on.
      directory: Folder of the tokenizer.
      steps: Number of steps of the whole run.
      batch_size: Images of a batch, drawn with replacement.
      learning_rate: Learning rate at the first step; it falls along a cosine to a tenth.
      seed: Seed of the initial params and of the batches.
      checkpoint_every: Steps between two checkpoints. Each replaces the one before.
      interruption: The requests to end, if the caller takes any.

    Raises:
      ImageTokenizerError: An argument cannot be used, or the folder holds a run with other arguments.
      NonFiniteLossError: The loss or its gradient is NaN or infinite.
    """
    TokenizerTraining(
        steps=steps, batch_size=batch_size, learning_rate=learning_rate, seed=seed, checkpoint_every=checkpoint_every
    )
    if not len(images):
        raise ImageTokenizerError("image tokenizer: there are no images to train on; name a data set that has some")
    run = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    run |= dataclasses.asdict(config) | {"images": len(images), "images_hash": _sample_hash(images)}
    _require_same_run(directory, run)

    key = jax.random.key(seed)
    tx = make_optimizer(learning_rate, steps)
    train_step = make_train_step(config, tx)
    init = make_initial_state(config, tx)
    first_batch = jax.ShapeDtypeStruct((batch_size, config.side, config.side, 3), np.uint8)
    saved = directory / "training_state.npz"
    if saved.exists():
        like = jax.eval_shape(train_step, jax.eval_shape(init, key), first_batch, key)
        remedy = f"delete {saved} to train from the start"
        state, metrics = read_arrays(saved, like, remedy)
    else:
        state, metrics = jax.jit(init)(key), {}
    compiled = jax.jit(train_step, donate_argnums=0)
    first_step = int(state.step)
    bar = {"initial": first_step, "total": steps, "unit": "step", "desc": "image tokenizer", "mininterval": 2}
    with tqdm(range(first_step, steps), **bar) as progress:
        for step in progress:
            batch = _batch(images, seed, step, batch_size, config.side)
            _require_finite(metrics, step)  # of the step before, which ran while this batch was read
            state, metrics = compiled(state, batch, key)
            done = step + 1
            ends = interruption is not None and interruption.requested is not None
            if done % checkpoint_every == 0 or done == steps or ends:
                _require_finite(metrics, done)
                write_arrays(saved, (state, metrics))
                shown = {name: f"{float(metrics[name]):.4g}" for name in ("l2", "codes_used")}
                progress.set_postfix(shown, refresh=False)
            if ends and done < steps:
                return None
    tokenizer = ImageTokenizer(config, state.params)
    tokenizer.save(directory)
    return {name: float(value) for name, value in metrics.items()}


def make_optimizer(learning_rate: float, steps: int) -> optax.GradientTransformation:
    """Return Adam, with a learning rate that falls along a cosine to a tenth of `learning_rate` at step `steps`."""
    return optax.adam(optax.cosine_decay_schedule(learning_rate, steps, FINAL_FRACTION))


def make_initial_state(config: ImageTokenizerConfig, optimizer: optax.GradientTransformation):
    """Return the pure function `init(key) -> TokenizerState`, with random params.

    Counts are 1 and sums are the code vectors. `unused` begins at REVIVE_AFTER (20) for every code, so the first step
    restarts each code that no vector of its batch chooses.
    """

    def init(key: Key[Array, ""]) -> TokenizerState:
        params = initialise(config, key)
        # Every code counts as long unused: the first step draws all of them from the encoder's vectors.
        unused = jnp.full(config.codes, REVIVE_AFTER, jnp.int32)
        sums = nnx.merge(graphdef(config), params).quantizer.vectors[...]
        counts, step = jnp.ones(config.codes, jnp.float32), jnp.zeros((), jnp.int32)
        return TokenizerState(params, optimizer.init(params), counts, sums, unused, step)

    return init


def make_train_step(
    config: ImageTokenizerConfig, optimizer: optax.GradientTransformation
) -> Callable[[TokenizerState, Any, Any], tuple[TokenizerState, dict[str, Array]]]:
    """Return the pure function `train_step(state, images, key) -> (state, metrics)`; jit it with the state donated.

    Images are (N, side, side, 3) uint8; the key is the same for all steps. The metrics are scalars: `loss`, its terms
    `l2`, `laplace` and `commitment` without weights, `gradient_norm`, and the numbers of codes that the batch chose,
    `codes_used`, and that restarted, `revived`.
    """
    graph = graphdef(config)

    def loss_fn(params: nnx.State, images: UInt8[Array, "N S S 3"]):
        pixels = to_pixels(images)
        output = nnx.merge(graph, params)(pixels)
        error = output.pixels - pixels
        l2, laplace = jnp.mean(error * error), jnp.mean(jnp.abs(error))
        distance = output.encoded - jax.lax.stop_gradient(output.quantized)
        commitment = jnp.mean(distance * distance)
        loss = l2 + LAPLACE_WEIGHT * laplace + config.commitment * commitment
        return loss, (output, {"loss": loss, "l2": l2, "laplace": laplace, "commitment": commitment})

    def train_step(state: TokenizerState, images: UInt8[Array, "N S S 3"], key: Key[Array, ""]):
        (_, (output, metrics)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params, images)
        with jax.numpy_dtype_promotion("standard"):  # optax's bias correction has an integer power of a float
            updates, moments = optimizer.update(grads, state.optimizer, state.params)
        params = cast(nnx.State, optax.apply_updates(state.params, updates))
        step_key = jax.random.fold_in(key, state.step)
        counts, sums, unused, hits = move_codes(state, output.encoded, output.codes, step_key)
        model = nnx.merge(graph, params)
        model.quantizer.vectors[...] = sums / counts[:, None]
        metrics["gradient_norm"] = optax.global_norm(grads)
        metrics["codes_used"] = jnp.sum(hits > 0)
        metrics["revived"] = jnp.sum((unused == 0) & (hits == 0))
        after = TokenizerState(nnx.state(model), moments, counts, sums, unused, state.step + 1)
        return after, metrics

    return train_step


def move_codes(
    state: TokenizerState,
    encoded: Float[Array, "M E"],
    codes: Int32[Array, " M"],
    key: Key[Array, ""],
) -> tuple[Float[Array, " K"], Float[Array, "K E"], Int32[Array, " K"], Float[Array, " K"]]:
    """Return (counts, sums, unused, hits) after a batch; the vector of a code is sums / counts.

    A code that was unused for more than REVIVE_AFTER (20) steps in a row, this one included, restarts at a random
    vector of this batch, with a count of 1.

    Args:
      state: State before the step; it is not changed.
      encoded: Vectors of the encoder.
      codes: Index of the code that each vector chose.
      key: Random key of this step.

    Returns:
      The new counts, sums and unused steps, and the number of vectors of this batch that chose each code.
    """
    choices = jax.nn.one_hot(
        codes, len(state.counts), dtype=jnp.float32
    )  # a matrix product sums in the same order on every run, also on a GPU
    hits = jnp.sum(choices, 0)
    counts = CODE_DECAY * state.counts + (1 - CODE_DECAY) * hits
    sums = CODE_DECAY * state.sums + (1 - CODE_DECAY) * (choices.T @ encoded)
    unused = jnp.where(hits > 0, 0, state.unused + 1)
    revived = unused > REVIVE_AFTER
    drawn = encoded[jax.random.randint(key, counts.shape, 0, len(encoded))]
    counts = jnp.where(revived, jnp.float32(1), counts)
    sums = jnp.where(revived[:, None], drawn, sums)
    return counts, sums, jnp.where(revived, 0, unused), hits


def _batch(images: Images, seed: int, step: int, batch_size: int, side: int) -> np.ndarray:
    chosen = np.random.default_rng([seed, step]).integers(len(images), size=batch_size)
    return np.concatenate([resize_to_square(np.asarray(images[int(index)])[None], side) for index in chosen])


def _require_finite(metrics: dict[str, Array], step: int):
    for name in metrics.keys() & {"loss", "gradient_norm"}:
        if not np.isfinite(metrics[name]):
            raise NonFiniteLossError(
                f"image tokenizer: {name} is {float(metrics[name])} at step {step}; lower the learning rate, run again"
            )


def _sample_hash(images: Images) -> str:
    """Return sixteen hexadecimal digits of a hash of at most 64 images, spread evenly over all.

    Hashing all would take as long as a pass over the data.

    Raises:
      ImageTokenizerError: One of the hashed images is not (height, width, 3) uint8.
    """
    digest = hashlib.sha256()
    for index in np.linspace(0, len(images) - 1, min(_SAMPLED, len(images))).astype(int):
        image = np.asarray(images[int(index)])
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
            raise ImageTokenizerError(
                f"image {index} must be uint8 of shape (height, width, 3), got {image.dtype} of {image.shape}"
            )
        digest.update(str(image.shape).encode() + image.tobytes())
    return digest.hexdigest()[:16]


def _require_same_run(directory: pathlib.Path, run: dict[str, Any]):
    """Write the arguments of the run to run.json, or check that those of an earlier run are the same.

    `checkpoint_every` is not among them, because it does not change the result.

    Raises:
      ImageTokenizerError: They are not the same, or run.json is damaged.
    """
    path = directory / "run.json"
    if not path.exists():
        with atomic_file(path) as partial:
            partial.write_text(json.dumps(run, indent=2) + "\n")
        return
    try:
        earlier = dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ImageTokenizerError(f"{path} is damaged ({error}); name another folder") from None
    require_same(
        run, earlier, problem=f"{directory} holds another image tokenizer", holder=path.name,
        remedy="name another folder", error=ImageTokenizerError,
    )  # fmt: skip
