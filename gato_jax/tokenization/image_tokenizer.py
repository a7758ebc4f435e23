"""Trained image tokenizer: a frozen VQ-VAE that encodes images as codes, its fingerprint and its files.

A folder holds:
    image_tokenizer.json   config and fingerprint
    image_tokenizer.npz    params, each under its path in the model

Axes:
    N images   S side of an image   L codes of an image
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import pathlib
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import PIL.Image
from flax import nnx
from jaxtyping import Array, Int32, UInt8

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.runtime.archives import ARCHIVE_ERRORS
from gato_jax.runtime.atomic_writes import atomic_file
from gato_jax.tokenization.vqvae import ImageTokenizerConfig, ImageTokenizerError, graphdef, initialise, to_pixels

_BATCH = 8  # images of one call; few, as an acting agent has one or two at a time

Tree = TypeVar("Tree")


@dataclasses.dataclass(frozen=True, eq=False)
class ImageTokenizer:
    """Frozen VQ-VAE as a lossy codec between images and codes.

    Images are resized to a square, whatever their aspect ratio. All arithmetic is in full float32. The codes of an
    image do not depend on the other images of a call. On another kind of device, an encoded vector that is equally near
    to two code vectors may get the other code.

    Attributes:
      config: architecture.
      params: params of the VQ-VAE.
    """

    config: ImageTokenizerConfig
    params: nnx.State

    def encode(self, images: npt.ArrayLike) -> Int32[np.ndarray, "..."]:
        """Encode images as codes.

        Args:
          images: (..., height, width, 3) uint8, of any size.

        Returns:
          (..., grid * grid) int32 codes in [0, codes), in raster order.

        Raises:
          ImageTokenizerError: the images are of another dtype or shape, or have no pixels.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim < 3 or images.shape[-1] != 3:
            raise ImageTokenizerError(
                f"images must be uint8 of shape (..., height, width, 3), got {images.dtype} of {images.shape}"
            )
        lead = images.shape[:-3]
        flat = images.reshape(math.prod(lead), *images.shape[-3:])
        codes = np.empty((len(flat), self.config.token_count), np.int32)
        for start in range(0, len(flat), _BATCH):
            part = resize_to_square(flat[start : start + _BATCH], self.config.side)
            codes[start : start + _BATCH] = self._call(_encode, part)
        return codes.reshape(*lead, self.config.token_count)

    def decode(self, codes: npt.ArrayLike) -> UInt8[np.ndarray, "..."]:
        """Decode codes to images.

        Args:
          codes: (..., grid * grid) integers.

        Returns:
          (..., side, side, 3) uint8 reconstructions.

        Raises:
          ImageTokenizerError: the codes are of another dtype or shape, or outside [0, codes).
        """
        codes = np.asarray(codes)
        if codes.dtype.kind not in "iu" or not codes.ndim or codes.shape[-1] != self.config.token_count:
            raise ImageTokenizerError(
                f"codes must be integers of shape (..., {self.config.token_count}), got {codes.dtype} of {codes.shape}"
            )
        outside = (codes < 0) | (codes >= self.config.codes)
        if outside.any():
            raise ImageTokenizerError(f"image code {codes[outside].flat[0]} is outside [0, {self.config.codes})")
        lead, side = codes.shape[:-1], self.config.side
        flat = codes.reshape(math.prod(lead), codes.shape[-1]).astype(np.int32)
        images = np.empty((len(flat), side, side, 3), np.uint8)
        for start in range(0, len(flat), _BATCH):
            images[start : start + _BATCH] = self._call(_decode, flat[start : start + _BATCH])
        return images.reshape(*lead, side, side, 3)

    def _call(self, compiled, rows: np.ndarray) -> np.ndarray:
        """Return what `compiled(config, params, rows)` does for at most `_BATCH` images or code rows.

        Rows are padded to `_BATCH`, so that one program computes all images alike, and the padding is cut off again.
        """
        padding = [(0, _BATCH - len(rows))] + [(0, 0)] * (rows.ndim - 1)
        return np.asarray(compiled(self.config, self.params, np.pad(rows, padding)))[: len(rows)]

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that identify config and params."""
        return self._digest

    @functools.cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256(json.dumps(dataclasses.asdict(self.config), sort_keys=True).encode())
        for name, array in sorted(_named_arrays(self.params).items()):
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()[:16]

    def save(self, directory: pathlib.Path):
        """Write image_tokenizer.npz, then image_tokenizer.json, into a folder, which is made if it is missing.

        Each file replaces an older one and appears whole or not at all.
        """
        about = {"config": dataclasses.asdict(self.config), "fingerprint": self.fingerprint}
        write_arrays(directory / "image_tokenizer.npz", self.params)
        with atomic_file(directory / "image_tokenizer.json") as partial:
            partial.write_text(json.dumps(about, indent=2) + "\n")

    @classmethod
    def load(cls, directory: pathlib.Path) -> ImageTokenizer:
        """Read a tokenizer that `save` wrote.

        Raises:
          ImageTokenizerError: a file is missing or damaged, or the two files are not of the same tokenizer.
        """
        remedy = f"train an image tokenizer into {directory} again, or name another folder"
        about_path, arrays_path = directory / "image_tokenizer.json", directory / "image_tokenizer.npz"
        for path in (about_path, arrays_path):
            if not path.is_file():
                raise ImageTokenizerError(f"no {path.name} in {directory}; {remedy}")
        try:
            about = json.loads(about_path.read_text())
            config = DataclassReader(error=ImageTokenizerError).read(ImageTokenizerConfig, about["config"], "config")
            fingerprint = about["fingerprint"]
        except (ValueError, KeyError, TypeError) as error:
            raise ImageTokenizerError(f"{about_path} is damaged ({error}); {remedy}") from None
        like = jax.eval_shape(lambda: initialise(config, jax.random.key(0)))
        tokenizer = cls(config, read_arrays(arrays_path, like, remedy))
        if tokenizer.fingerprint != fingerprint:
            raise ImageTokenizerError(
                f"{arrays_path} has fingerprint {tokenizer.fingerprint}, but {about_path.name} says {fingerprint!r}; "
                + remedy
            )
        return tokenizer


@functools.partial(jax.jit, static_argnames="config")
def _encode(config: ImageTokenizerConfig, params: nnx.State, images: UInt8[Array, "N S S 3"]):
    with jax.default_matmul_precision("highest"):  # a code must not depend on the short floats of a device
        model = nnx.merge(graphdef(config), params)
        grid = model.encoder(to_pixels(images))
        return model.quantizer.nearest(grid.reshape(-1, config.code_size)).reshape(len(images), -1)


@functools.partial(jax.jit, static_argnames="config")
def _decode(config: ImageTokenizerConfig, params: nnx.State, codes: Int32[Array, "N L"]):
    with jax.default_matmul_precision("highest"):
        model = nnx.merge(graphdef(config), params)
        vectors = model.quantizer.vectors[...][codes]
        pixels = model.decoder(vectors.reshape(len(codes), config.grid, config.grid, -1))
        return jnp.rint(jnp.clip((pixels + 1) * 127.5, 0, 255)).astype(jnp.uint8)


def resize_to_square(images: UInt8[np.ndarray, "N height width 3"], side: int) -> UInt8[np.ndarray, "N side side 3"]:
    """Resize images to side by side pixels, whatever their aspect ratio.

    Pixels are means over areas if neither height nor width is below `side`, and bilinearly interpolated otherwise.
    Images that have this size already are returned as they are.

    Raises:
      ImageTokenizerError: the images have no pixels.
    """
    height, width = images.shape[1:3]
    if (height, width) == (side, side):
        return images
    if not height or not width:
        raise ImageTokenizerError(f"an image of {height} by {width} pixels is empty; leave it out")
    shrinks = height >= side and width >= side
    resampling = PIL.Image.Resampling.BOX if shrinks else PIL.Image.Resampling.BILINEAR
    resized = [np.asarray(PIL.Image.fromarray(image).resize((side, side), resampling)) for image in images]
    return np.stack(resized) if resized else np.empty((0, side, side, 3), np.uint8)


def write_arrays(path: pathlib.Path, tree: Any):
    """Write the arrays of a pytree as an .npz file for `read_arrays`, each under its path, such as `encoder/out/bias`.

    The file replaces an older one and appears whole or not at all; missing parent folders are made.
    """
    with atomic_file(path) as partial:
        np.savez(partial, allow_pickle=False, **_named_arrays(tree))


def read_arrays(path: pathlib.Path, like: Tree, remedy: str) -> Tree:
    """Read a pytree that `write_arrays` wrote, with the structure of `like`, as arrays on the default device.

    Args:
      path: the file.
      like: tree of arrays or ShapeDtypeStructs with the paths, shapes and dtypes that the file must have.
      remedy: end of the error's message: the action to take if the file is damaged or has other arrays.

    Raises:
      ImageTokenizerError: the file cannot be read, or has other arrays than `like`.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    expected = {_name(key_path): (leaf.shape, leaf.dtype) for key_path, leaf in leaves}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in arrays.files}
    except ARCHIVE_ERRORS as error:
        raise ImageTokenizerError(f"{path} is damaged ({error}); {remedy}") from None
    if {name: (array.shape, array.dtype) for name, array in content.items()} != expected:
        raise ImageTokenizerError(f"{path} has other arrays than its config asks for; {remedy}")
    return jax.tree.unflatten(structure, [jnp.asarray(content[name]) for name in expected])


def _named_arrays(tree: Any) -> dict[str, np.ndarray]:
    return {_name(key_path): np.asarray(leaf) for key_path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def _name(key_path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(key_path, simple=True, separator="/")
