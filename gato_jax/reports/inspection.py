"""What a training row holds, token by token: where each comes from, what it says, whether it is in the loss."""

from __future__ import annotations

import base64
import dataclasses
import io
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from gato_jax.tokenization import CodeCodec, ImageCodec, Layout, Token, TokenSequence, decode, describe
from gato_jax.tokenization.codecs import Codec
from gato_jax.tokenization.codecs.image import ImageTokenizer
from gato_jax.tokenization.sequence import concatenate

if TYPE_CHECKING:  # brings grain, which takes seconds to load
    from gato_jax.batching import Mixture, TokenRecords
    from gato_jax.batching.windows import Piece


@dataclasses.dataclass(frozen=True, kw_only=True)
class InspectedToken:
    """One position of a row.

    Attributes:
      id, target_id: what stands there, and what is to be predicted for it; 0 at image patches.
      kind, side, key, element, value: see tokenization.Token.
      valid: the ids [low, high) of an action, None elsewhere.
      episode, step: its source, the step counted within the episode.
    """

    position: int
    id: int
    target_id: int
    kind: str
    side: str
    key: str
    element: int
    value: Any
    local_position: int
    segment: int
    in_loss: bool
    prompt: bool
    valid: tuple[int, int] | None
    episode: int
    step: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class InspectedImage:
    """An image of a timestep, put together again from the tokens of the row.

    Attributes:
      grid: rows and columns of its tiles, a token each.
      positions: the position of each tile, row-major; None where the row was cut and has no such token.
      size: height and width in pixels.
      png: a data URI; tiles without a token are transparent.
    """

    key: str
    episode: int
    step: int
    grid: tuple[int, int]
    positions: tuple[int | None, ...]
    size: tuple[int, int]
    png: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class InspectedRow:
    """A row: its tokens, behind which there is padding up to `context`."""

    row: int
    dataset: str
    context: int
    tokens: tuple[InspectedToken, ...]
    images: tuple[InspectedImage, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Told:
    """A piece of the row, read once more as whole timesteps.

    says, step, kept: (n,) what each token of those timesteps says, its step within the episode, and its position in the
    row, None of what the row cuts off.
    """

    piece: Piece
    steps: list[TokenSequence]
    says: list[Token]
    step: list[int]
    kept: list[int | None]


def inspect_row(mixture: Mixture, row: int, image_tokenizer: ImageTokenizer | None = None) -> InspectedRow:
    """Row `row` of a run, the very tokens that training sees; `image_tokenizer` is what its records were made with."""
    plan, tokens = mixture.build(row)
    name = mixture.names[plan.dataset]
    records = mixture.records[name]
    layout = records.contract.layout(records.spec.name, image_tokenizer)
    pieces = [_tell(records, layout, piece, start) for piece, start in _placed(plan.segments)]
    return InspectedRow(
        row=row,
        dataset=name,
        context=mixture.context,
        tokens=tuple(_tokens(pieces, tokens)),
        images=tuple(image for told in pieces for image in _images(layout, told)),
    )


def inspection_json(rows: Sequence[InspectedRow]) -> dict[str, Any]:
    """{"rows": [{"row", "dataset", "context", "tokens": [the fields of InspectedToken]}]}, without the images."""
    return {
        "rows": [
            {
                "row": row.row,
                "dataset": row.dataset,
                "context": row.context,
                "tokens": [dataclasses.asdict(token) for token in row.tokens],
            }
            for row in rows
        ]
    }


def _placed(segments: Sequence[Sequence[Piece]]) -> Iterator[tuple[Piece, int]]:
    """Each piece with the position of its first token."""
    pieces = [piece for segment in segments for piece in segment]
    return zip(pieces, itertools.accumulate((piece.keep for piece in pieces), initial=0), strict=False)


def _tell(records: TokenRecords, layout: Layout, piece: Piece, start: int) -> _Told:
    steps = records.timesteps(piece.start, piece.stop)
    first = piece.start - int(records.index.first_step[piece.episode])
    step = [first + number for number, tokens in enumerate(steps) for _ in range(len(tokens))]
    kept: list[int | None] = [None] * len(step)
    kept[piece.skip : piece.skip + piece.keep] = range(start, start + piece.keep)
    return _Told(piece, steps, [token for tokens in steps for token in describe(layout, tokens)], step, kept)


def _tokens(pieces: Sequence[_Told], tokens: TokenSequence) -> Iterator[InspectedToken]:
    for told in pieces:
        for says, step, position in zip(told.says, told.step, told.kept, strict=True):
            if position is None:
                continue
            low, high = tokens.action_range[position].tolist()
            yield InspectedToken(
                position=position,
                id=int(tokens.token_ids[position]),
                target_id=int(tokens.target_ids[position]),
                **dataclasses.asdict(says),
                local_position=int(tokens.local_position[position]),
                segment=int(tokens.segment_ids[position]),
                in_loss=bool(tokens.loss_mask[position]),
                prompt=bool(tokens.prompt_mask[position]),
                valid=(low, high) if high else None,
                episode=told.piece.episode,
                step=step,
            )


def _images(layout: Layout, told: _Told) -> Iterator[InspectedImage]:
    """The images of a piece, in the order of their tokens, those that the row holds at least one tile of."""
    grids = {column.key: grid for column in layout.observation_columns if (grid := _grid(column.codec)) is not None}
    if not grids:
        return
    seen = decode(layout, concatenate(told.steps)).observation
    first = told.step[0]
    tiles: dict[tuple[int, str], list[int | None]] = {}
    for says, step, position in zip(told.says, told.step, told.kept, strict=True):
        if says.key in grids and says.side == "observation":
            tiles.setdefault((step, says.key), []).append(position)
    for (step, key), positions in tiles.items():
        if any(position is not None for position in positions):
            image = seen[key][step - first]
            yield InspectedImage(
                key=key,
                episode=told.piece.episode,
                step=step,
                grid=grids[key],
                positions=tuple(positions),
                size=image.shape[:2],
                png=_png(image, np.array([p is not None for p in positions]).reshape(grids[key])),
            )


def _grid(codec: Codec) -> tuple[int, int] | None:
    """Rows and columns of an image's tokens, None where the codec is not of images."""
    match codec:
        case ImageCodec():
            return codec.grid
        case CodeCodec():
            return codec.tokenizer.config.grid, codec.tokenizer.config.grid
    return None


def _png(image: np.ndarray, present: np.ndarray) -> str:
    """(H, W, 3) uint8 as a data URI, transparent where the tile of (rows, columns) bool `present` is False."""
    if not present.all():
        height, width = (side // tiles for side, tiles in zip(image.shape[:2], present.shape, strict=True))
        alpha = np.kron(present, np.ones((height, width), bool))
        image = np.concatenate([image, np.where(alpha, 255, 0).astype(np.uint8)[..., None]], axis=-1)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
