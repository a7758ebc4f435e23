"""Training rows token by token: the source, decoded value, target and loss mask of each token."""

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

if TYPE_CHECKING:  # imports grain, which takes seconds
    from gato_jax.batching import Mixture, TokenRecords
    from gato_jax.batching.windows import Piece


@dataclasses.dataclass(frozen=True, kw_only=True)
class InspectedToken:
    """One token of a training row.

    Attributes:
      position: index in the row.
      id, target_id: the input token id and the id that the model is to predict for this position from the tokens before
        it. Both are 0 at image patches.
      kind, side, key, element, value: the decoded token; see `tokenization.Token`.
      local_position: index within the observation of its timestep; the same last position for all action tokens.
      segment: number of the segment, from 1 on; tokens attend within their segment only.
      in_loss: whether the loss counts the prediction of `target_id`.
      prompt: whether the token is part of a prompt.
      valid: range [low, high) of the ids that an action may have; None for other tokens.
      episode, step: number of the episode in the dataset, and of the timestep within the episode.
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
    """An image observation of one timestep, decoded from its tokens.

    Attributes:
      key: the observation key.
      episode, step: the timestep; see `InspectedToken`.
      grid: numbers of rows and columns of tiles, which are the patches or codes; each tile is one token.
      positions: the position in the row of each tile, in row-major order; None for tiles that the row cuts off.
      size: height and width of the decoded image in pixels, after cropping, padding or resizing.
      png: the image as a data URI (`data:image/png;base64,...`); tiles that the row cuts off are transparent.
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
    """One training row.

    Attributes:
      row: index of the row in the run.
      dataset: name of the dataset that the row is drawn from.
      context: length of the row in tokens; positions after the last token are padding.
      tokens: the tokens, in order of position.
      images: the image observations of which the row holds at least one tile.
    """

    row: int
    dataset: str
    context: int
    tokens: tuple[InspectedToken, ...]
    images: tuple[InspectedImage, ...] = ()


@dataclasses.dataclass(frozen=True)
class _WholePiece:
    """A piece of a row, consecutive tokens of one episode, and the whole timesteps that it was cut from.

    Attributes:
      piece: the piece.
      timesteps: tokens of each whole timestep.
      tokens: the description of each of the n tokens of all timesteps.
      step: for each of the n tokens, the number of its timestep within the episode.
      position: for each of the n tokens, its position in the row; None if the row cuts it off.
    """

    piece: Piece
    timesteps: list[TokenSequence]
    tokens: list[Token]
    step: list[int]
    position: list[int | None]


def inspect_row(mixture: Mixture, row: int, image_tokenizer: ImageTokenizer | None = None) -> InspectedRow:
    """Return row `row` of a mixture, with exactly the tokens that training sees.

    Args:
      mixture: the datasets of the run.
      row: index of the row in the run, from 0 on.
      image_tokenizer: the image tokenizer that the token records were made with; None if images are patches.
    """
    plan, tokens = mixture.build(row)
    name = mixture.names[plan.dataset]
    records = mixture.records[name]
    layout = records.contract.layout(records.spec.name, image_tokenizer)
    pieces = [_whole_piece(records, layout, piece, start) for piece, start in _with_positions(plan.segments)]
    return InspectedRow(
        row=row,
        dataset=name,
        context=mixture.context,
        tokens=tuple(_tokens(pieces, tokens)),
        images=tuple(image for whole in pieces for image in _images(layout, whole)),
    )


def inspection_json(rows: Sequence[InspectedRow]) -> dict[str, Any]:
    """Return rows as an object that `json.dumps` accepts, without their images.

    Returns:
      {"rows": [{"row", "dataset", "context", "tokens": [{fields of InspectedToken}]}]}.
    """
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


def _with_positions(segments: Sequence[Sequence[Piece]]) -> Iterator[tuple[Piece, int]]:
    """Iterate over the pieces of a row, segment by segment, each with the position of its first token in the row."""
    pieces = [piece for segment in segments for piece in segment]
    return zip(pieces, itertools.accumulate((piece.keep for piece in pieces), initial=0), strict=False)


def _whole_piece(records: TokenRecords, layout: Layout, piece: Piece, start: int) -> _WholePiece:
    """Read the whole timesteps of a piece whose first token is at position `start` of the row, and describe them."""
    timesteps = records.timesteps(piece.start, piece.stop)
    first = piece.start - int(records.index.first_step[piece.episode])
    step = [first + number for number, tokens in enumerate(timesteps) for _ in range(len(tokens))]
    position: list[int | None] = [None] * len(step)
    position[piece.skip : piece.skip + piece.keep] = range(start, start + piece.keep)
    described = [token for tokens in timesteps for token in describe(layout, tokens)]
    return _WholePiece(piece, timesteps, described, step, position)


def _tokens(pieces: Sequence[_WholePiece], tokens: TokenSequence) -> Iterator[InspectedToken]:
    for whole in pieces:
        for described, step, position in zip(whole.tokens, whole.step, whole.position, strict=True):
            if position is None:
                continue
            low, high = tokens.action_range[position].tolist()
            yield InspectedToken(
                position=position,
                id=int(tokens.token_ids[position]),
                target_id=int(tokens.target_ids[position]),
                **dataclasses.asdict(described),
                local_position=int(tokens.local_position[position]),
                segment=int(tokens.segment_ids[position]),
                in_loss=bool(tokens.loss_mask[position]),
                prompt=bool(tokens.prompt_mask[position]),
                valid=(low, high) if high else None,
                episode=whole.piece.episode,
                step=step,
            )


def _images(layout: Layout, whole: _WholePiece) -> Iterator[InspectedImage]:
    """Yield the images of a piece of which the row holds at least one tile (patch or code), in the order of tokens."""
    grids = {column.key: grid for column in layout.observation_columns if (grid := _grid(column.codec)) is not None}
    if not grids:
        return
    observation = decode(layout, concatenate(whole.timesteps)).observation
    first = whole.step[0]
    tiles: dict[tuple[int, str], list[int | None]] = {}
    for described, step, position in zip(whole.tokens, whole.step, whole.position, strict=True):
        if described.key in grids and described.side == "observation":
            tiles.setdefault((step, described.key), []).append(position)
    for (step, key), positions in tiles.items():
        if any(position is not None for position in positions):
            image = observation[key][step - first]
            yield InspectedImage(
                key=key,
                episode=whole.piece.episode,
                step=step,
                grid=grids[key],
                positions=tuple(positions),
                size=image.shape[:2],
                png=_png(image, np.array([p is not None for p in positions]).reshape(grids[key])),
            )


def _grid(codec: Codec) -> tuple[int, int] | None:
    """Return the numbers (rows, columns) of an image's patches or codes; None if the codec is not of images."""
    match codec:
        case ImageCodec():
            return codec.grid
        case CodeCodec():
            return codec.tokenizer.config.grid, codec.tokenizer.config.grid
    return None


def _png(image: np.ndarray, present: np.ndarray) -> str:
    """Return an image as a PNG data URI whose missing tiles are transparent.

    Args:
      image: uint8 (H, W, 3).
      present: bool (rows, columns), False for missing tiles; the tiles divide the image evenly.
    """
    if not present.all():
        height, width = (side // tiles for side, tiles in zip(image.shape[:2], present.shape, strict=True))
        alpha = np.kron(present, np.ones((height, width), bool))
        image = np.concatenate([image, np.where(alpha, 255, 0).astype(np.uint8)[..., None]], axis=-1)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
