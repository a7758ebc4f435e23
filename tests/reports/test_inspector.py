"""What the inspector says of a row is what the row's tokens are, and what their episodes hold."""

import base64
import dataclasses
import io
import json
import types

import numpy as np
import pytest
from PIL import Image

from gato_jax.batching import Mixture, write_records
from gato_jax.reports import InspectedRow, inspect_row, inspection_json, write_inspection
from gato_jax.reports.inspection import InspectedToken
from gato_jax.tokenization import ImageCodec, TextCodec, Tokenization, Vocabulary, describe
from tests.reports.made_rows import made_episodes, made_mixture, made_token
from tests.tokenization.made_tasks import ALL, GAME

STEPS, CONTEXT = 6, 96
ROWS = range(3 * len(ALL))


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    return made_mixture(tmp_path_factory.mktemp("rows"), context=CONTEXT, steps=STEPS)


@pytest.fixture(scope="module")
def whole_steps(tmp_path_factory):
    """Rows of whole timesteps, half of them behind a prompt."""
    folder = tmp_path_factory.mktemp("rows")
    return made_mixture(folder, context=CONTEXT, steps=STEPS, window="timesteps", prompt_share=0.5)


def pixels(image):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(image.png.partition(",")[2]))))


@pytest.mark.parametrize("row", ROWS)
def test_every_field_is_that_of_the_token_sequence(mixture, row):
    plan, tokens = mixture.build(row)
    told = inspect_row(mixture, row)
    assert (told.row, told.dataset, told.context) == (row, mixture.names[plan.dataset], CONTEXT)
    assert [token.position for token in told.tokens] == list(range(len(tokens)))
    fields = {"id": "token_ids", "target_id": "target_ids", "local_position": "local_position"}
    fields |= {"segment": "segment_ids", "in_loss": "loss_mask", "prompt": "prompt_mask"}
    for mine, name in fields.items():
        assert [getattr(token, mine) for token in told.tokens] == getattr(tokens, name).tolist(), name
    assert [list(token.valid or (0, 0)) for token in told.tokens] == tokens.action_range.tolist()


@pytest.mark.parametrize("row", ROWS)
def test_every_value_is_what_the_episode_holds_there(mixture, row):
    plan = mixture.plan(row)
    records = mixture.records[mixture.names[plan.dataset]]
    layout = records.contract.layout(records.spec.name)
    episodes = made_episodes(records.spec, STEPS)
    codecs = {(c.side, c.key): c.codec for c in (*layout.observation_columns, *layout.action_columns)}
    for token in inspect_row(mixture, row).tokens:
        if token.kind == "separator":
            assert not token.key and token.value is None
            continue
        held = getattr(episodes[token.episode], token.side)[token.key][token.step]
        match codecs[token.side, token.key]:
            case ImageCodec():
                assert token.kind == "image patch" and token.value is None
            case TextCodec() as codec:
                assert token.id == codec.encode(held)[token.element]
                assert token.value == codec.pieces(codec.encode(held))[token.element]
            case codec:
                assert token.id == codec.encode(held)[token.element]
                assert token.value == codec.decode(codec.encode(held)).reshape(-1)[token.element]


def test_a_row_that_begins_inside_a_timestep_says_where(mixture):
    cut = [row for row in range(60) if mixture.plan(row).segments[0][-1].skip]
    assert cut
    for row in cut:
        piece = mixture.plan(row).segments[0][-1]
        records = mixture.records[mixture.names[mixture.plan(row).dataset]]
        first = next(token for token in inspect_row(mixture, row).tokens if token.prompt == piece.prompt)
        [step] = records.timesteps(piece.start, piece.start + 1)
        says = describe(records.contract.layout(records.spec.name), step)[piece.skip]
        assert (first.kind, first.key, first.element, first.value) == (says.kind, says.key, says.element, says.value)
        assert first.id == step.token_ids[piece.skip] and first.local_position == step.local_position[piece.skip]
        assert (first.episode, first.step) == (piece.episode, piece.start - records.index.first_step[piece.episode])


def test_images_are_rebuilt_from_the_patches_of_the_row(mixture):
    seen = cut = 0
    for row in range(60):
        _, tokens = mixture.build(row)
        patch_at = dict(zip(tokens.patch_slots.tolist(), tokens.patches, strict=True))
        images = inspect_row(mixture, row).images
        assert sorted(p for image in images for p in image.positions if p is not None) == sorted(patch_at)
        for image in images:
            picture, columns = pixels(image), image.grid[1]
            assert picture.shape[:2] == image.size
            for tile, position in enumerate(image.positions):
                y, x = (16 * place for place in divmod(tile, columns))
                shown = picture[y : y + 16, x : x + 16]
                if position is None:
                    assert not shown[..., 3].any()
                else:
                    np.testing.assert_array_equal(shown[..., :3], patch_at[position])
            seen, cut = seen + 1, cut + (None in image.positions)
    assert seen > 100 and cut > 5


class Brightness:
    """A tokenizer whose codes are the brightness, of 64, of the four quarters of an image."""

    config = types.SimpleNamespace(grid=2, token_count=4, codes=64)
    fingerprint = "brightness"

    def encode(self, images):
        *lead, height, width, _ = images.shape
        quarters = images.reshape(*lead, 2, height // 2, 2, width // 2, 3).mean((-1, -2, -4))
        return (quarters // 4).astype(np.int32).reshape(*lead, 4)

    def decode(self, codes):
        quarters = codes.reshape(*codes.shape[:-1], 2, 2) * 4
        grey = quarters.repeat(8, axis=-1).repeat(8, axis=-2).astype(np.uint8)
        return np.stack([grey] * 3, axis=-1)


def test_images_of_codes_are_what_the_tokenizer_makes_of_them(tmp_path):
    tokenizer, spec = Brightness(), GAME
    settings = Tokenization(vocabulary=Vocabulary(image_codes=64), image_tokenizer="brightness", image_ahead=2)
    records = write_records(tmp_path / "game", spec, made_episodes(spec, STEPS), "codes", settings, tokenizer)
    mixture = Mixture.uniform({"codes": records}, batch_size=1, context=40, seed=0, prompt_share=0.0)
    first = settings.vocabulary.first_image_code
    for row in range(10):
        told = inspect_row(mixture, row, tokenizer)
        codes = [token for token in told.tokens if token.kind == "image code"]
        assert codes and any(token.in_loss and token.target_id != token.id for token in codes)
        for image in told.images:
            assert image.grid == (2, 2) and image.size == (16, 16)
            for tile, position in enumerate(image.positions):
                if position is not None:
                    y, x = (8 * place for place in divmod(tile, 2))
                    shown = pixels(image)[y : y + 8, x : x + 8, :3]
                    assert (shown == (told.tokens[position].id - first) * 4).all()


def test_a_prompt_and_its_piece_are_of_one_segment_and_two_episodes(whole_steps):
    rows = [inspect_row(whole_steps, row) for row in ROWS]
    prompted = [told for told in rows if any(token.prompt for token in told.tokens)]
    assert prompted
    for told in prompted:
        for segment in {token.segment for token in told.tokens if token.prompt}:
            inside = [token for token in told.tokens if token.segment == segment]
            sources = {(token.prompt, token.episode) for token in inside}
            assert len(sources) == len({episode for _, episode in sources}) == 2
            assert not any(token.in_loss for token in inside if token.prompt)


def test_padding_is_what_lies_between_the_tokens_and_the_context(whole_steps):
    lengths = [len(inspect_row(whole_steps, row).tokens) for row in ROWS]
    assert lengths == [len(whole_steps.build(row)[1]) for row in ROWS]
    assert min(lengths) < CONTEXT


def test_the_json_is_strict_and_holds_every_token(mixture):
    rows = [inspect_row(mixture, row) for row in ROWS]
    written = json.loads(json.dumps(inspection_json(rows), allow_nan=False))
    assert set(written) == {"rows"} and len(written["rows"]) == len(rows)
    for told, row in zip(written["rows"], rows, strict=True):
        assert set(told) == {"row", "dataset", "context", "tokens"}
        assert told["row"] == row.row and len(told["tokens"]) == len(row.tokens)
        assert all(
            set(token) == {field.name for field in dataclasses.fields(InspectedToken)} for token in told["tokens"]
        )


def test_no_text_ends_the_script_that_holds_it(tmp_path):
    nasty = "</script><script>alert(1)</script><!--\u2028&"
    row = InspectedRow(row=0, dataset="<b>&", context=4, tokens=(made_token(value=nasty),))
    page = write_inspection([row], tmp_path / "new" / "page.html").read_text("utf-8")
    assert page.count("</script>") == 2 and "alert" in page and "<!--" not in page and "<b>&" not in page
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert data["rows"][0]["tokens"]["value"] == [nasty] and data["rows"][0]["dataset"] == "<b>&"


def test_a_page_asks_for_nothing_outside_itself(mixture, tmp_path):
    page = write_inspection([inspect_row(mixture, row) for row in ROWS], tmp_path / "page.html").read_text("utf-8")
    assert "http:" not in page and "https:" not in page and "@import" not in page and "src=" not in page
