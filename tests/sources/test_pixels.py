"""Tests that images are decoded without loss and upright, converted by decoders, or refused by name, in each format."""

import dataclasses
import io
import json
import logging

import cv2
import datasets
import h5py
import numpy as np
import PIL.features
import PIL.Image
import PIL.ImageOps
import PIL.PngImagePlugin
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gato_jax.episodes import Continuous, Discrete, Image, Provenance, Text
from gato_jax.sources import SourceError, open_source
from gato_jax.sources.assembly import assemble
from gato_jax.sources.field_paths import DecoderCall, parse_path
from gato_jax.sources.fields import Fields
from gato_jax.sources.image_sizes import log_image_sizes
from gato_jax.sources.pixels import decode_image
from gato_jax.sources.reader import EpisodeRejected

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (6, 8, 3), np.uint8)
ALPHA = RANDOM.integers(0, 255, (6, 8, 1), np.uint8)
DEPTH = RANDOM.integers(300, 5000, (6, 8), np.uint16)
PROVENANCE = Provenance(source="a test", licence="MIT", kind="real")


def encode(pixels: np.ndarray, kind: str = "PNG", **settings) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, kind, **settings)
    return file.getvalue()


def by_opencv(pixels: np.ndarray, ending: str = ".png") -> bytes:
    """Encode RGB or RGBA by OpenCV, which can write 16 bits in each channel."""
    order = [2, 1, 0, 3][: pixels.shape[2]]
    return cv2.imencode(ending, pixels[..., order])[1].tobytes()


def camera(path: str, channels: int = 3, height: int = 6, width: int = 8) -> Fields:
    return Fields(
        suite="lab",
        task="see",
        observation={"camera": (path, Image(height=height, width=width, channels=channels))},
        action={"go": ("action", Continuous(shape=(1,), low=-1.0, high=1.0))},
        provenance=PROVENANCE,
    )


def seen(values, path: str = "front", channels: int = 3, **size) -> np.ndarray:
    """Return the first observation of an episode whose camera recorded some values."""
    columns = {"front": list(values), "action": np.zeros(len(values))}
    return assemble(camera(path, channels, **size), columns.__getitem__, "file 7").observation["camera"][0]


def as_grey(depth: np.ndarray, near: float, far: float) -> np.ndarray:
    return np.rint(255 * np.clip((depth.astype(float) - near) / (far - near), 0, 1)).astype(np.uint8)[..., None]


RGBA = np.concatenate([COLOURS, ALPHA], axis=2)
WIDE = RANDOM.integers(0, 65536, (6, 8, 3), np.uint16)
PALETTE = PIL.Image.fromarray(COLOURS).quantize(16)
TRANSPARENT = (lambda file: (PALETTE.save(file, "PNG", transparency=0), file.getvalue())[1])(io.BytesIO())


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (encode(DEPTH), r"uint16 of shape \(6, 8, 1\), .* as grey_to_rgb\(depth\(PATH, NEAR, FAR\)\)"),
        (encode(DEPTH, "TIFF"), r"uint16 of shape \(6, 8, 1\)"),
        (encode(DEPTH.astype(np.float32), "TIFF"), r"float32 of shape \(6, 8, 1\)"),
        (encode(DEPTH.astype(np.int32), "TIFF"), r"int32 of shape \(6, 8, 1\)"),
        (by_opencv(WIDE), r"uint16 of shape \(6, 8, 3\), .* as scale\(PATH, FACTOR\)"),
        (by_opencv(WIDE, ".tiff"), "16 bits in each of 3 channels, expected 8. Convert it"),
        (by_opencv(WIDE, ".ppm"), "16 bits in each of 3 channels, expected 8. Convert it"),
        (by_opencv(np.tile(WIDE, (9, 9, 1)), ".jp2"), "16 bits in each of 3 channels, expected 8. Convert it"),
        (encode(RGBA), r"\(6, 8, 4\), expected uint8 of shape \(height, width, 3\). .* as drop_alpha\(PATH\)"),
        (encode(RGBA, "WEBP", lossless=True), r"\(6, 8, 4\)"),
        (encode(RGBA[..., 2:]), r"\(6, 8, 2\)"),
        (TRANSPARENT, r"\(6, 8, 4\), .* as drop_alpha\(PATH\)"),
        (encode(COLOURS, transparency=tuple(COLOURS[0, 0].tolist())), r"\(6, 8, 4\)"),
        (encode(COLOURS[..., 0]), r"\(6, 8, 1\), .* as grey_to_rgb\(PATH\)"),
    ],
)
def test_other_than_8_bits_in_the_declared_channels_is_refused(file, reason):
    with pytest.raises(EpisodeRejected, match=f"^file 7: .*{reason}"):
        seen([file])


@pytest.mark.parametrize(
    ("values", "path", "expected"),
    [
        (encode(DEPTH), "depth(front, 300, 4000)", as_grey(DEPTH, 300, 4000)),
        (encode(DEPTH), "grey_to_rgb( depth(front, 300, 4e3) )", np.repeat(as_grey(DEPTH, 300, 4000), 3, 2)),
        (DEPTH, "depth(front, 4000, 300)", as_grey(DEPTH, 4000, 300)),  # near is bright
        (DEPTH / np.float64(1000), "depth(front, 0.3, 4)", as_grey(DEPTH / 1000, 0.3, 4)),
        (encode(DEPTH), "scale(front, 0.05)", np.rint(DEPTH * 0.05)[..., None]),
        (by_opencv(WIDE), "scale(front, 0.00390625)", np.minimum(np.rint(WIDE / 256), 255)),
        (encode(RGBA), "drop_alpha(front)", COLOURS),
        (encode(RGBA), "bgr_to_rgb(drop_alpha(front))", COLOURS[..., ::-1]),
        (encode(RGBA), "drop_alpha(bgr_to_rgb(front))", COLOURS[..., ::-1]),
        (encode(RGBA), "front", RGBA),
        (encode(RGBA[..., 2:]), "drop_alpha(front)", RGBA[..., 2:3]),
        (TRANSPARENT, "drop_alpha(front)", np.asarray(PALETTE.convert("RGB"))),
        (encode(COLOURS[..., 0]), "grey_to_rgb(front)", np.repeat(COLOURS[..., :1], 3, 2)),
        (COLOURS.astype(np.int64), "scale(front, 1)", COLOURS),
        (COLOURS / 255.0, "scale(front, 255)", COLOURS),
    ],
)
def test_decoders_convert_images(values, path, expected):
    if path == "scale(front, 0.00390625)":
        values = by_opencv(np.minimum(WIDE, 65407))  # larger numbers would round to 256
        expected = np.rint(np.minimum(WIDE, 65407) / 256)
    read = seen([values], path, expected.shape[2])
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize(
    ("file", "channels", "expected"),
    [
        (encode(np.concatenate([COLOURS, np.full((6, 8, 1), 255, np.uint8)], axis=2)), 3, COLOURS),  # opaque
        ((lambda f: (PALETTE.save(f, "PNG"), f.getvalue())[1])(io.BytesIO()), 3, np.asarray(PALETTE.convert("RGB"))),
        (encode(COLOURS[..., 0] > 99), 1, 255 * (COLOURS[..., :1] > 99)),
        (encode(COLOURS[..., 0] > 99), 3, 255 * np.repeat(COLOURS[..., :1] > 99, 3, 2)),
    ],
)
def test_what_loses_nothing_needs_no_decoder(file, channels, expected):
    np.testing.assert_array_equal(seen([file], channels=channels), expected)


def test_a_pixel_without_a_measurement_is_black():
    depth = np.array([[0.0, np.nan, np.inf, 0.5, 2.0, 9.0]])
    read = seen([depth], "depth(front, 1, 3)", 1, height=1, width=6)
    assert read.ravel().tolist() == [0, 0, 255, 0, 128, 255]


@pytest.mark.parametrize(
    ("values", "path", "reason"),
    [
        (encode(DEPTH), "scale(front, 1)", r"cannot be decoded by scale \(\d+ becomes \d+, expected a number from 0"),
        (encode(RGBA), "depth(front, 1, 2)", "cannot be decoded by depth .it has 4 channels"),
        (encode(RGBA[..., 2:]), "bgr_to_rgb(front)", "cannot be decoded by bgr_to_rgb .it has 2 channels"),
        (np.zeros((6, 8, 3), "datetime64[s]"), "rgb(front)", "cannot be decoded by rgb .it is datetime64"),
    ],
)
def test_images_that_do_not_suit_a_decoder(values, path, reason):
    with pytest.raises(EpisodeRejected, match=f"file 7: field .* at step 0 {reason}"):
        seen([values], path, 1)


def test_paths_with_decoders():
    path = parse_path("scale(relative(times/a, b[0:2]), 1e-9)[0:1]")
    assert path.name == "times/a, b"
    assert path.conversions == (
        slice(0, 2),
        DecoderCall(name="relative"),
        DecoderCall(name="scale", arguments=(1e-9,)),
        slice(0, 1),
    )
    assert parse_path("mean(x)").name == "mean(x)" and parse_path("depth").name == "depth"
    for wrong in ("depth(front)", "depth(front, 1)", "depth(front, near, far)", "scale(front, nan)", "scale(x)"):
        with pytest.raises(SourceError, match=r"expected (depth\(PATH, NEAR, FAR\)|scale\(PATH, FACTOR\)) with finite"):
            parse_path(wrong)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"field": "depth(front)", "kind": "image", "height": 6, "width": 8}, r"expected depth\(PATH, NEAR, FAR\)"),
        (
            {"field": "depth(front, 1, 2)", "kind": "continuous", "shape": [3]},
            "by the decoder depth: the field is declared as continuous, expected image",
        ),
        (
            {"field": "relative(front)", "kind": "image", "height": 6, "width": 8},
            "by the decoder relative: the field is declared as image, expected anything else",
        ),
    ],
)
def test_decoders_of_fields_are_checked_before_anything_is_read(tmp_path, entry, message):
    fields = camera("front").to_json()
    fields["observation"]["camera"] = entry
    (tmp_path / "fields.json").write_text(json.dumps(fields))
    with pytest.raises(SourceError, match=message):
        Fields.read(tmp_path / "fields.json")


def test_numbers_by_decoder_and_integers_that_float32_cannot_tell_apart():
    times = 1_767_225_600 * 10**9 + 40_000_000 * np.arange(4)
    columns = {
        "time": times,
        "unsigned": times.astype(np.uint64),
        "seconds": times / 1e9,
        "turn": np.array([5, 7, 6, 5]),
    }

    def read(path, modality=None):
        modality = modality or Continuous(shape=())
        fields = Fields(suite="a", task="b", observation={"x": (path, modality)}, action={}, provenance=PROVENANCE)
        return assemble(fields, columns.__getitem__, "file 7").observation["x"]

    for name in ("time", "unsigned", "seconds"):
        with pytest.raises(
            EpisodeRejected, match=r"has 4 different numbers near .* only 1 as float32.*relative\(PATH\)"
        ):
            read(name)
    for name in ("time", "unsigned"):
        assert read(f"relative({name})").tolist() == [0, 4e7, 8e7, 1.2e8]
        np.testing.assert_allclose(read(f"scale(relative({name}), 1e-9)"), [0, 0.04, 0.08, 0.12], rtol=1e-6)
    np.testing.assert_allclose(read("relative(seconds)"), [0, 0.04, 0.08, 0.12], atol=1e-6)
    assert read("offset(turn, -5)", Discrete(n=3)).tolist() == [0, 2, 1, 0]
    assert read("offset(time, -1767225600000000000)").tolist() == [0, 4e7, 8e7, 1.2e8]
    columns["id"] = np.full(4, 2**40 + 1)  # one number is no collapse
    assert read("id").tolist() == [float(2**40)] * 4
    columns["large"] = np.array([2**63 + 5], np.uint64)
    with pytest.raises(EpisodeRejected, match=r"is 9223372036854775813 at step 0, expected a value in \[0, 3\)"):
        read("large", Discrete(n=3))


TURNED = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


def with_orientation(kind: str, orientation: int, pixels: np.ndarray = TURNED) -> bytes:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    settings = {"JPEG": {"quality": 100}, "WEBP": {"lossless": True}}.get(kind, {})
    return encode(pixels, kind, exif=exif.tobytes() if kind != "TIFF" else exif, **settings)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_upright(kind, orientation):
    """The reference is OpenCV, whose readers of files honour the orientation of JPEG, and Pillow for other formats."""
    pixels = np.repeat(TURNED[..., None], 3, 2)
    file = with_orientation(kind, orientation, pixels)
    read = decode_image(file, "it", "here")
    with PIL.Image.open(io.BytesIO(file)) as picture:
        expected = np.asarray(PIL.ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(read, expected)
    assert read.shape == ((6, 8, 3) if orientation < 5 else (8, 6, 3))
    if kind == "JPEG":
        np.testing.assert_array_equal(read, cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)[..., ::-1])


@pytest.mark.parametrize("kind", ["AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "TIFF", "WEBP"])
def test_damaged_files_are_rejected_and_no_other_error_is_raised(kind):
    if not PIL.features.check({"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}.get(kind, "jpg")):
        pytest.skip(f"this Pillow has no {kind}")
    good, random, rejected = encode(COLOURS, kind), np.random.default_rng(0), 0
    for _ in range(100):
        damaged = bytearray(good[: None if random.random() < 0.8 else int(random.integers(1, len(good)))])
        damaged[int(random.integers(min(len(damaged), 400)))] ^= int(random.integers(1, 256))
        try:
            decode_image(bytes(damaged), "it", "here")
        except EpisodeRejected as error:
            assert str(error).startswith("here: it ")
            rejected += 1
    assert rejected > 10


def test_wide_images_are_upright():
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    read = decode_image(encode(DEPTH, exif=exif.tobytes()), "it", "here")
    np.testing.assert_array_equal(read, np.rot90(DEPTH, -1))


def test_colour_profiles_and_gamma_are_ignored_as_by_opencv():
    info = PIL.PngImagePlugin.PngInfo()
    info.add(b"gAMA", (30000).to_bytes(4, "big"))
    file = encode(COLOURS, pnginfo=info, icc_profile=b"no profile")
    np.testing.assert_array_equal(decode_image(file, "it", "here"), COLOURS)


def sideways_and_deep() -> tuple[bytes, bytes]:
    """Return a PNG that is to be turned clockwise, and one of 16 bits."""
    return with_orientation("PNG", 6, COLOURS), encode(DEPTH)


def check_source(source: str, name: str, **changes):
    """Check a recording of two steps, whose field `name` is turned and whose field `deep` has 16 bits."""
    fields = dataclasses.replace(camera(name, height=8, width=6), **changes)
    np.testing.assert_array_equal(
        open_source(source, fields=fields)[0].observation["camera"], [np.rot90(COLOURS, -1)] * 2
    )
    deep = name.replace("turned", "deep")
    with pytest.raises(EpisodeRejected, match=r"is uint16 of shape \(6, 8, 1\), expected uint8"):
        open_source(source, fields=dataclasses.replace(fields, observation=camera(deep).observation))[0]
    by_decoder = camera(f"depth({deep}, 300, 4000)", channels=1).observation
    episode = open_source(source, fields=dataclasses.replace(fields, observation=by_decoder))[0]
    np.testing.assert_array_equal(episode.observation["camera"], [as_grey(DEPTH, 300, 4000)] * 2)


def test_parquet(tmp_path):
    turned, deep = sideways_and_deep()
    as_struct = [{"bytes": deep, "path": None}] * 2
    columns = {"turned": [turned] * 2, "deep": as_struct, "action": [0.0, 1.0], "episode_index": [0, 0]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    check_source(f"parquet:{tmp_path}", "turned")
    decoded = datasets.Dataset.from_dict({"image": [{"bytes": turned, "path": None}]}).cast_column(
        "image", datasets.Image()
    )
    np.testing.assert_array_equal(np.asarray(decoded[0]["image"]), np.rot90(COLOURS, -1))  # as their usual reader does


def test_parquet_of_one_episode_in_each_row(tmp_path):
    turned, deep = sideways_and_deep()
    columns = {"turned": [[turned] * 2], "deep": [[deep] * 2], "action": [[0.0, 1.0]], "said": [[[72, 105], [0, 0]]]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    check_source(f"parquet:{tmp_path}", "turned")
    said = dataclasses.replace(camera("turned", height=8, width=6), observation={"said": ("code_points(said)", Text())})
    assert open_source(f"parquet:{tmp_path}", fields=said)[0].observation["said"].tolist() == ["Hi", ""]


def test_hdf5_of_encoded_frames(tmp_path):
    with h5py.File(tmp_path / "a.hdf5", "w") as root:
        for name, file in zip(("turned", "deep"), sideways_and_deep(), strict=True):
            rows = np.zeros((2, len(file) + 9), np.uint8)
            rows[:, : len(file)] = np.frombuffer(file, np.uint8)
            root[f"images/{name}"] = rows
        root["raw"] = np.stack([RGBA, RGBA])
        root["action"] = np.zeros((2, 1))
    check_source(f"hdf5:{tmp_path}#flat", "images/turned")
    with pytest.raises(EpisodeRejected, match=r"\(6, 8, 4\), expected .* Name the field as drop_alpha\(PATH\)"):
        open_source(f"hdf5:{tmp_path}#flat", fields=camera("raw"))[0]
    read = open_source(f"hdf5:{tmp_path}#flat", fields=camera("drop_alpha(raw)"))[0].observation["camera"]
    np.testing.assert_array_equal(read, [COLOURS] * 2)


def test_captioned_images(tmp_path):
    turned, deep = sideways_and_deep()
    for name, file in (("turned", turned), ("deep", deep)):
        folder = tmp_path / name
        (folder / "train").mkdir(parents=True)
        (folder / "train" / "a.png").write_bytes(file)
        (folder / "train" / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "text": "a cup"}) + "\n")
    texts = {"action": {"caption": ("caption", Text())}}
    fields = dataclasses.replace(camera("image", height=8, width=6), **texts)
    read = open_source(f"image_text:{tmp_path / 'turned'}", fields=fields)[0]
    np.testing.assert_array_equal(read.observation["camera"][0], np.rot90(COLOURS, -1))
    with pytest.raises(EpisodeRejected, match=r"a.png'?: .* is uint16 of shape \(6, 8, 1\), expected uint8"):
        open_source(f"image_text:{tmp_path / 'deep'}")[0]
    fields = dataclasses.replace(camera("grey_to_rgb(depth(image, 300, 4000))"), **texts)
    fields.write(tmp_path / "deep" / "fields.json")  # which every verb finds
    read = open_source(f"image_text:{tmp_path / 'deep'}")[0].observation["camera"][0]
    np.testing.assert_array_equal(read, np.repeat(as_grey(DEPTH, 300, 4000), 3, 2))
    with pytest.raises(SourceError, match="it has no field 'picture', expected one of image, caption"):
        open_source(f"image_text:{tmp_path / 'deep'}", fields=dataclasses.replace(camera("picture"), **texts))


def test_sizes_of_cameras_are_logged_once(caplog, monkeypatch):
    monkeypatch.setattr("gato_jax.sources.image_sizes._logged", set())  # other tests have logged the same cameras
    caplog.set_level(logging.INFO)
    for _ in range(2):
        for path, size in (("front", (3, 4)), ("front", (2, 2)), ("front", (6, 8))):
            seen([encode(COLOURS)], path, height=size[0], width=size[1])
    assert [record.message for record in caplog.records if "images of" in record.message] == [
        "lab/see: observation 'camera' (field 'front'): images of 6 x 8 (height x width), read as 3 x 4, with the "
        "same aspect ratio",
        "lab/see: observation 'camera' (field 'front'): images of 6 x 8 (height x width), read as 2 x 2, stretched, "
        "without regard to the aspect ratio",
        "lab/see: observation 'camera' (field 'front'): images of 6 x 8 (height x width), read as recorded",
    ]


def test_a_conversion_logs_the_sizes_before_its_workers_start(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    columns = {"image": [encode(COLOURS)] * 2, "action": [0.0, 1.0], "episode_index": [0, 0]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    fields = dataclasses.replace(camera("image", height=64, width=64), task="logged")
    log_image_sizes([open_source(f"parquet:{tmp_path}", fields=fields)])
    assert (
        "lab/logged: observation 'camera' (field 'image'): images of 6 x 8" in caplog.text and "64 x 64" in caplog.text
    )
