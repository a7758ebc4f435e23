"""Drawings of an agent's views at the steps of a rollout: probabilities of its actions, and attention to an image."""

from __future__ import annotations

import base64
import io

import numpy as np
from markupsafe import Markup
from PIL import Image

from gato_jax.reports.annotations.records import Annotations
from gato_jax.reports.plots import curve_path
from gato_jax.reports.summary import share

_STRIPS = 6  # the most numbers of an action that have a strip each
_COLUMNS = 600  # the most steps of a strip; longer episodes are subsampled evenly
_UNITS = 1000  # width of a stretched viewBox
_LIKELY, _TAKEN = (58, 132, 176), (224, 122, 60)  # visible on a light and on a dark page
_SIDE = 192  # least side of the attention map in pixels


def probability_strips(found: Annotations, actions: np.ndarray, names: tuple[str, ...]) -> Markup:
    """Draw the probabilities of the actions over time, as wide as the animation above.

    A continuous number has shades for the probabilities of ranges of values, by their square roots, below the line of
    the values that were taken. A discrete one has a lane for each value; the one that was taken is marked. Of more than
    six numbers, the mean probability of the cells that were taken is drawn as a line.

    Args:
      found: the views of the agent.
      actions: (T, A) actions that were taken.
      names: a name for each number, or for each value of a single discrete one.
    """
    if actions.shape[1] > _STRIPS:
        return _confidence(found, actions)
    discrete = np.issubdtype(actions.dtype, np.integer)
    own = names if not discrete and len(names) == actions.shape[1] else [f"[{n}]" for n in range(actions.shape[1])]
    own = ["action"] if actions.shape[1] == 1 and discrete else own
    strips = [_strip(found, actions[:, n], n, name, names if discrete else ()) for n, name in enumerate(own)]
    return Markup("").join(strips)


def attention_picture(found: Annotations) -> tuple[str, str] | None:
    """Return the attention map over its image as a data URI, and its caption; None without one.

    The image is grey, and its patches are the more coloured, the larger their weight relative to the largest.
    """
    if found.attention is None or found.attention_image is None:
        return None
    height, width = found.attention_image.shape[:2]
    scale = max(1, -(-_SIDE // max(height, width)))
    size = width * scale, height * scale
    grey = Image.fromarray(found.attention_image).convert("L").convert("RGB").resize(size, Image.Resampling.NEAREST)
    strength = found.attention / (found.attention.max() or 1.0)
    mask = Image.fromarray((200 * strength).astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    grey.paste(Image.new("RGB", size, _TAKEN), mask=mask)
    caption = f"step {found.attention_step}: {share(float(found.attention.sum()))} of the attention is on this image"
    return _png(grey), caption


def _strip(found: Annotations, taken: np.ndarray, number: int, name: str, values: tuple[str, ...]) -> Markup:
    """Return the strip of one number."""
    cells, low, high = int(found.cells[number]), float(found.low[number]), float(found.high[number])
    every = -(-len(taken) // _COLUMNS)
    chances = found.probabilities[::every, number, :cells].T[::-1].astype(np.uint8)  # the largest value is on top
    pixels = np.concatenate(
        [np.broadcast_to(np.array(_LIKELY, np.uint8), (*chances.shape, 3)), chances[..., None]], axis=-1
    )
    if np.issubdtype(taken.dtype, np.integer):
        if cells == high - low + 1:
            pixels[cells - 1 - taken[::every].astype(int), np.arange(chances.shape[1])] = (*_TAKEN, 255)
        ends = f"{values[0]} to {values[-1]}" if len(values) == cells and cells > 1 else f"{low:g} to {high:g}"
        line, tall = "", max(24, 7 * cells)
    else:
        pixels[..., 3] = np.sqrt(pixels[..., 3] * 255.0)  # a range of several cells is seen, though each is improbable
        x = (np.arange(len(taken)) + 0.5) * _UNITS / len(taken)
        y = 40 * (1 - (np.clip(taken, low, high) - low) / ((high - low) or 1.0))
        line = f'<path d="{curve_path(x, y)}"/>'
        ends, tall = f"{low:.3g} to {high:.3g}", 40
    return Markup(
        f'<div class="strip chances"><p><span>{Markup.escape(name)}</span><span>{Markup.escape(ends)}</span></p>'
        f'<div style="--height:{tall}px"><img src="{_png(Image.fromarray(pixels))}" alt="">'
        f'<svg viewBox="0 0 {_UNITS} 40" preserveAspectRatio="none" aria-hidden="true">{line}</svg></div></div>'
    )


def _confidence(found: Annotations, actions: np.ndarray, height: int = 24) -> Markup:
    """Return a line of the mean probability of the cells that were taken."""
    span = np.where(found.high > found.low, found.high - found.low, 1.0)
    place = np.clip((actions - found.low) / span, 0, 1) * found.cells
    cell = np.minimum(place.astype(int), found.cells - 1)
    chances = np.take_along_axis(found.probabilities, cell[..., None], axis=2)[..., 0].mean(axis=1) / 255
    x = (np.arange(len(chances)) + 0.5) * _UNITS / len(chances)
    return Markup(
        f'<div class="strip"><p>mean probability of the chosen range<b>{share(float(chances.mean()))}</b></p>'
        f'<svg viewBox="0 0 {_UNITS} {height}" preserveAspectRatio="none" height="{height}" aria-hidden="true">'
        f'<path d="{curve_path(x, height - 2 - (height - 4) * chances)}"/></svg></div>'
    )


def _png(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
