"""Draws six of docs/tokenization/*.png: one recorded timestep of each domain, token by token.

    python docs/draw_timesteps.py

The steps are the first of those in tests/tokenization/goldens: no simulator is needed. Lengths are in points, each of
which is SCALE pixels.
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
CELL, GAP, RUN_GAP = 46, 3, 14  # a cell's height, the space behind it, the space behind the last of a key
BRACKET, LABEL, LOSS, LINE = 9, 28, 13, 124  # heights: above a cell, above its bracket, below a target, all in all
TILE = 32  # the side of a patch, a multiple of its pixels
MOST, HEAD, TAIL = 32, 9, 3  # of more tokens than MOST the first HEAD and the last TAIL are shown
INK, SOFT, FAINT, PAPER = "#1b1b1b", "#595959", "#b8b8b8", "#ffffff"
LIGHT, _, _ = (ROOT / "gato_jax" / "reports" / "inspector.css").read_text().partition("}")
COLOURS = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", LIGHT))  # the token inspector's


class Cell(NamedTuple):
    """One token, or, without a kind, those that are left out."""

    value: str
    kind: str = ""
    token_id: str = ""
    position: str = ""
    loss: bool = False
    patch: np.ndarray | None = None

    @property
    def width(self) -> float:
        words = max(_length(self.value, 13), _length(self.token_id, 10.5)) + 11
        return TILE + 2 if self.patch is not None else max(TILE + 2, words)


class Canvas:
    """A white picture, drawn on in points."""

    def __init__(self):
        self.image = Pillow.new("RGB", (WIDTH * SCALE, TALLEST * SCALE), PAPER)
        self._draw = ImageDraw.Draw(self.image)

    def text(self, x: float, y: float, text: str, size: float, colour: str = INK, anchor: str = "ls"):
        self._draw.text((x * SCALE, y * SCALE), text, colour, ImageFont.load_default(size * SCALE), anchor)

    def box(self, x: float, y: float, width: float, height: float, outline: str, fill: str | None = None, line=1.0):
        corners = [x * SCALE, y * SCALE, (x + width) * SCALE - 1, (y + height) * SCALE - 1]
        self._draw.rectangle(corners, fill, outline, round(line * SCALE))

    def patch(self, x: float, y: float, pixels: np.ndarray):
        picture = Pillow.fromarray(pixels).resize((TILE * SCALE, TILE * SCALE), Pillow.Resampling.NEAREST)
        self.image.paste(picture, (round(x * SCALE), round(y * SCALE)))


def _length(text: str, size: float) -> float:
    return ImageFont.load_default(size * SCALE).getlength(text) / SCALE


def _colours(kind: str) -> tuple[str, str]:
    """Of border and ground: a fifth of the colour on white, as in the inspector."""
    colour = COLOURS[kind.split()[-1]]
    return colour, "#" + "".join(f"{round(204 + int(colour[i : i + 2], 16) / 5):02x}" for i in (1, 3, 5))


def cells_of(step: TokenSequence, tokens: list[Token]) -> list[Cell]:
    """One for each position."""
    patches = dict(zip(step.patch_slots.tolist(), step.patches, strict=True))
    cells = []
    for i, token in enumerate(tokens):
        value = f"{token.value:.3g}" if isinstance(token.value, float) else str(token.value).replace("\u2581", "_")
        value = {"separator": "|", "image patch": ""}.get(token.kind, value)
        token_id = "no id" if i in patches else str(step.token_ids[i])
        loss = bool(step.loss_mask[i])
        cells.append(Cell(value, token.kind, token_id, str(step.local_position[i]), loss, patches.get(i)))
    return cells


def _says(modality: Modality) -> str:
    if isinstance(modality, Text):
        return "text"
    shape = " x ".join(map(str, modality.shape))
    if isinstance(modality, Discrete):
        return f"{shape and shape + ', each '}one of {modality.n} values"
    return f"{shape or 1} {'pixels' if isinstance(modality, Image) else 'floats'}"


def draw_cell(canvas: Canvas, x: float, y: float, cell: Cell):
    """The cell with its upper left corner at (x, y), and what is below it."""
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


def draw_run(canvas: Canvas, left: int, x: float, y: int, words: tuple[str, str], cells: list[Cell]):
    """The cells of one key under a bracket and its words, from (x, y) on; where the next key goes."""
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
        for tick in ticks + [x - GAP - 1.5] * last:  # a bracket without one goes on in the line above or below
            canvas.box(tick, y + LABEL, 1.5, 5, INK)
        if not last:
            start, ticks, words_end, x, y = left, [], left, left, y + LINE
            canvas.text(x, y + 22, f"{words[0]}, continued", 10.5, SOFT)
    return max(x - GAP, words_end) + RUN_GAP, y


def draw_image(canvas: Canvas, y: float, key: str, codec: ImageCodec, patches: np.ndarray):
    """The whole image under its grid of patches."""
    rows, columns = codec.grid
    canvas.text(MARGIN, y + 9, key, 13)
    canvas.text(MARGIN, y + 22, f"{rows} x {columns} patches", 10.5, SOFT)
    for number, patch in enumerate(patches):
        row, column = divmod(number, columns)
        corner = MARGIN + column * TILE, y + LABEL + BRACKET + row * TILE
        canvas.patch(*corner, patch)
        canvas.box(*corner, TILE, TILE, COLOURS["patch"], line=0.5)


def draw_legend(canvas: Canvas, y: int, kinds: list[str], source: str) -> int:
    """What colours and borders mean; where it ends."""
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
    """Writes the picture of the first recorded step."""
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
        words = (key, f"{side}: {_says(getattr(spec, side)[key])}") if side else ("separator", "")
        if len(run) > MOST:
            run = [*run[:HEAD], Cell(f"… {len(run) - HEAD - TAIL} more"), *run[-TAIL:]]
        x, y = draw_run(canvas, left, x, y, words, run)
    kinds = list(dict.fromkeys(token.kind for token in tokens))
    source = f"Recorded from {episode.provenance.source}; {episode.provenance.licence}."
    height = draw_legend(canvas, max(y + LINE, bottom), kinds, source)
    canvas.box(0, 0, WIDTH, height, FAINT)
    canvas.image.crop((0, 0, WIDTH * SCALE, height * SCALE)).save(path, optimize=True)


def main():
    """Draws all pictures."""
    parser = argparse.ArgumentParser(description="Draws one recorded timestep of each domain.")
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=ROOT / "docs" / "tokenization")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, (title, task) in PICTURES.items():
        draw(folder / f"{name}.png", title, task)


if __name__ == "__main__":
    main()
