"""Script that draws six of docs/tokenization/*.png: one recorded timestep of each domain, token by token.

    python docs/draw_timesteps.py

The steps are the first ones of the recordings in tests/tokenization/goldens, so no simulator is needed. Lengths are in
points of SCALE pixels.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import sys
import textwrap
from typing import NamedTuple

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # tests/ is not installed

from gato_jax.episodes import Discrete, Image, Modality, Text  # noqa: E402
from gato_jax.tokenization import ImageCodec, Layout, Token, Tokenization, TokenSequence, describe  # noqa: E402
from tests.tokenization.record_goldens import load, recorded_path  # noqa: E402

PICTURES = {
    "meta_world": ("Meta-World", "meta_world/button-press-v3"),
    "babyai": ("BabyAI", "babyai/GoToRedBallGrey-v0"),
    "atari": ("Atari", "atari/gopher"),
    "robot": ("Robot with two cameras", "open_x/bridge_dataset"),
    "caption": ("Image and caption", "captions/emoji"),
    "dialogue": ("Dialogue", "dialogue/chatterbot"),
}
NOTES = {
    "image patch": "A patch has no id: the model embeds its pixels.",
    "text": "In text, _ is a space and </s> the end.",
    "separator": "The separator ends the observation; all tokens of an action share one local position.",
}
SCALE, WIDTH, TALLEST, MARGIN, TOP = 2, 800, 2000, 20, 70
CELL, GAP, KEY_GAP = 46, 3, 14  # height of a cell, space after a cell, space after the last cell of a key
BRACKET, LABEL, LOSS, LINE = 9, 28, 13, 124  # heights of a bracket, its label, the loss mark, and a line in total
TILE = 32  # side of a drawn patch, a multiple of its pixels
MAX_CELLS, HEAD, TAIL = 32, 9, 3  # if a key has more than MAX_CELLS tokens, its first HEAD and last TAIL are drawn
INK, SOFT, FAINT, PAPER = "#1b1b1b", "#595959", "#b8b8b8", "#ffffff"
LIGHT, _, _ = (ROOT / "gato_jax" / "reports" / "inspector.css").read_text().partition("}")
COLOURS = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", LIGHT))  # the same as in the token inspector


class Cell(NamedTuple):
    """Drawing of one token.

    Attributes:
      value: Decoded value.
      kind: Kind of the token; "" for a note about tokens that are not drawn.
      token_id: Id of the token.
      position: Local position.
      loss: Whether the token is a target of the loss.
      patch: Pixels of an image patch.
    """

    value: str
    kind: str = ""
    token_id: str = ""
    position: str = ""
    loss: bool = False
    patch: np.ndarray | None = None

    @property
    def width(self) -> float:
        """Width of the cell in points."""
        words = max(_length(self.value, 13), _length(self.token_id, 10.5)) + 11
        return TILE + 2 if self.patch is not None else max(TILE + 2, words)


class Canvas:
    """White picture on which texts, boxes and patches are drawn, with coordinates in points."""

    def __init__(self):
        self.image = Pillow.new("RGB", (WIDTH * SCALE, TALLEST * SCALE), PAPER)
        self._draw = ImageDraw.Draw(self.image)

    def text(self, x: float, y: float, text: str, size: float, colour: str = INK, anchor: str = "ls"):
        """Draw a text at (x, y); `anchor` is that of Pillow."""
        self._draw.text((x * SCALE, y * SCALE), text, colour, ImageFont.load_default(size * SCALE), anchor)

    def box(self, x: float, y: float, width: float, height: float, outline: str, fill: str | None = None, line=1.0):
        """Draw a rectangle with an outline and optionally a fill."""
        corners = [x * SCALE, y * SCALE, (x + width) * SCALE - 1, (y + height) * SCALE - 1]
        self._draw.rectangle(corners, fill, outline, round(line * SCALE))

    def patch(self, x: float, y: float, pixels: np.ndarray):
        """Draw an image patch, enlarged to TILE by TILE."""
        picture = Pillow.fromarray(pixels).resize((TILE * SCALE, TILE * SCALE), Pillow.Resampling.NEAREST)
        self.image.paste(picture, (round(x * SCALE), round(y * SCALE)))


def _length(text: str, size: float) -> float:
    """Return the width of a text in points."""
    return ImageFont.load_default(size * SCALE).getlength(text) / SCALE


def _colours(kind: str) -> tuple[str, str]:
    """Return the colours of border and background of a kind; the background is a fifth of the colour on white."""
    colour = COLOURS[kind.split()[-1]]
    return colour, "#" + "".join(f"{round(204 + int(colour[i : i + 2], 16) / 5):02x}" for i in (1, 3, 5))


def cells_of(step: TokenSequence, tokens: list[Token]) -> list[Cell]:
    """Return a cell for each token of a timestep."""
    patches = dict(zip(step.patch_slots.tolist(), step.patches, strict=True))
    cells = []
    for i, token in enumerate(tokens):
        value = f"{token.value:.3g}" if isinstance(token.value, float) else str(token.value).replace("\u2581", "_")
        value = {"separator": "|", "image patch": ""}.get(token.kind, value)
        token_id = "no id" if i in patches else str(step.token_ids[i])
        loss = bool(step.loss_mask[i])
        cells.append(Cell(value, token.kind, token_id, str(step.local_position[i]), loss, patches.get(i)))
    return cells


def _describe(modality: Modality) -> str:
    """Describe the values of a modality in a few words."""
    if isinstance(modality, Text):
        return "text"
    shape = " x ".join(map(str, modality.shape))
    if isinstance(modality, Discrete):
        return f"{shape and shape + ', each '}one of {modality.n} values"
    return f"{shape or 1} {'pixels' if isinstance(modality, Image) else 'floats'}"


def draw_cell(canvas: Canvas, x: float, y: float, cell: Cell):
    """Draw a cell with its upper left corner at (x, y); the loss mark and the local position are below it."""
    middle, below = x + cell.width / 2, y + CELL
    if not cell.kind:
        return canvas.text(middle, y + 20, cell.value, 13, SOFT, "ms")
    canvas.box(x, y, cell.width, CELL, *_colours(cell.kind))
    if cell.patch is not None:
        canvas.patch(x + 1, y + 1, cell.patch)
    canvas.text(middle, y + 20, cell.value, 13, anchor="ms")
    canvas.text(middle, y + 37 + 5.5 * (cell.patch is not None), cell.token_id, 10.5, SOFT, "ms")
    if cell.loss:
        canvas.box(x, y, cell.width, CELL, INK, line=2.5)
        canvas.box(x, below, cell.width, LOSS, INK, INK)
        canvas.text(middle, below + 9, "loss", 11, PAPER, "ms")
        below += LOSS
    canvas.text(middle, below + 12, cell.position, 10, SOFT, "ms")


def draw_key(canvas: Canvas, left: int, x: float, y: int, words: tuple[str, str], cells: list[Cell]):
    """Draw the cells of one key under a bracket with two lines of text.

    Args:
      canvas: The canvas.
      left: Left margin of further lines.
      x: Left end of the first cell.
      y: Top of the first line.
      words: The two lines of text.
      cells: The cells.

    Returns:
      (x, y) of the next key.
    """
    words_width = max(_length(words[0], 13), _length(words[1], 10.5))
    cells_width = sum(cell.width + GAP for cell in cells) - GAP
    if x > left and x + max(words_width, cells_width) > WIDTH - MARGIN:
        x, y = left, y + LINE
    canvas.text(x, y + 9, words[0], 13)
    canvas.text(x, y + 22, words[1], 10.5, SOFT)
    start, ticks, words_end = x, [x], x + words_width
    for i, cell in enumerate(cells):
        draw_cell(canvas, x, y + LABEL + BRACKET, cell)
        x += cell.width + GAP
        last = i == len(cells) - 1
        if not last and x + cells[i + 1].width <= WIDTH - MARGIN:
            continue
        canvas.box(start, y + LABEL, x - GAP - start, 1.5, INK)
        for tick in ticks + [x - GAP - 1.5] * last:  # a bracket without a tick continues on the line above or below
            canvas.box(tick, y + LABEL, 1.5, 5, INK)
        if not last:
            start, ticks, words_end, x, y = left, [], left, left, y + LINE
            canvas.text(x, y + 22, f"{words[0]}, continued", 10.5, SOFT)
    return max(x - GAP, words_end) + KEY_GAP, y


def draw_image(canvas: Canvas, y: float, key: str, codec: ImageCodec, patches: np.ndarray):
    """Draw a whole image with the grid of its patches."""
    rows, columns = codec.grid
    canvas.text(MARGIN, y + 9, key, 13)
    canvas.text(MARGIN, y + 22, f"{rows} x {columns} patches", 10.5, SOFT)
    for number, patch in enumerate(patches):
        row, column = divmod(number, columns)
        corner = MARGIN + column * TILE, y + LABEL + BRACKET + row * TILE
        canvas.patch(*corner, patch)
        canvas.box(*corner, TILE, TILE, COLOURS["patch"], line=0.5)


def draw_legend(canvas: Canvas, y: int, kinds: list[str], source: str) -> int:
    """Draw the legend of colours and borders at height y, and return the height where it ends."""
    canvas.box(MARGIN, y, WIDTH - 2 * MARGIN, 0.5, FAINT, line=0.5)
    x = MARGIN
    for kind in kinds:
        canvas.box(x, y + 12, 14, 14, *_colours(kind))
        canvas.text(x + 20, y + 23, kind, 12)
        x += _length(kind, 12) + 38
    canvas.box(x, y + 12, 14, 14, INK, line=2.5)
    canvas.text(x + 20, y + 23, "target of the loss", 12)
    notes = ["In a cell: the value, and below it the token's id. Under the cell: the local position."]
    notes += [note for kind, note in NOTES.items() if kind in kinds]
    for note in [*textwrap.wrap(" ".join(notes), 140), source]:
        canvas.text(MARGIN, y + 46, note, 11, SOFT)
        y += 17
    return y + 46


def draw(path: pathlib.Path, title: str, task: str):
    """Draw the first recorded step of a task and write the picture to a file."""
    spec, episode = load(recorded_path(task))
    layout = Layout(spec, Tokenization())
    step = layout.encode_timesteps(episode)[0]
    tokens = describe(layout, step)
    cells = cells_of(step, tokens)
    canvas, left, bottom, first = Canvas(), MARGIN, TOP, 0
    for _, key, codec in layout.observation_columns:
        if isinstance(codec, ImageCodec):
            last = first + codec.token_count
            draw_image(canvas, bottom, key, codec, step.patches[first:last])
            left = max(left, MARGIN + codec.grid[1] * TILE + 22)
            bottom, first = bottom + LABEL + BRACKET + codec.grid[0] * TILE + 14, last
    canvas.text(MARGIN, 32, title, 20)
    canvas.text(MARGIN, 50, f"one timestep of {task}: {len(step)} tokens, {step.loss_mask.sum()} in the loss", 12, SOFT)
    x, y = left, TOP
    starts = [i for i, token in enumerate(tokens) if token.element == 0]
    for start, stop in zip(starts, [*starts[1:], len(tokens)], strict=True):
        side, key, run = tokens[start].side, tokens[start].key, cells[start:stop]
        words = (key, f"{side}: {_describe(getattr(spec, side)[key])}") if side else ("separator", "")
        if len(run) > MAX_CELLS:
            run = [*run[:HEAD], Cell(f"… {len(run) - HEAD - TAIL} more"), *run[-TAIL:]]
        x, y = draw_key(canvas, left, x, y, words, run)
    kinds = list(dict.fromkeys(token.kind for token in tokens))
    source = f"Recorded from {episode.provenance.source}; {episode.provenance.licence}."
    height = draw_legend(canvas, max(y + LINE, bottom), kinds, source)
    canvas.box(0, 0, WIDTH, height, FAINT)
    canvas.image.crop((0, 0, WIDTH * SCALE, height * SCALE)).save(path, optimize=True)


def main():
    """Draw all pictures."""
    parser = argparse.ArgumentParser(description="Draws one recorded timestep of each domain.")
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=ROOT / "docs" / "tokenization")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, (title, task) in PICTURES.items():
        draw(folder / f"{name}.png", title, task)


if __name__ == "__main__":
    main()
