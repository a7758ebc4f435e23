"""`captions/emoji`: emoji rendered at 64 by 64 pixels, captioned with their lower-case Unicode names.

About 1,360 single code points; skin tones, flags' letters and sequences are left out. One name in twenty is held out as
the `test` split, in the order of the names' hashes and only where each of its words is left in some training name: what
was taught is enough to put a held-out caption together, though the image was never seen. Which names exist is a matter
of Python's Unicode tables (14.0 in Python 3.11).
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from gato_jax.episodes import Image, Provenance, TaskSpec, Text
from gato_jax.sources.reader import GeneratedEpisodes, SourceError, is_in_split

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")  # where Debian's fonts-noto-color-emoji puts it
SIDE = 64
_FONT_SIZE = 109  # the font's bitmaps have this size and no other
_CODE_POINTS = range(0x80, 0x1FBFF)  # above ASCII, whose digits are parts of key caps
_LEFT_OUT = {*range(0x1F3FB, 0x1F400), *range(0x1F1E6, 0x1F200), 0x20E3}  # skin tones, flags' letters, key cap
_SPEC = TaskSpec(
    suite="captions",
    task="emoji",
    observation={"image": Image(height=SIDE, width=SIDE)},
    action={"caption": Text()},
)


def emoji_captions(
    split: str, *, folder: str | Path | None = None, font: str | Path = FONT, variants: int = 1
) -> GeneratedEpisodes:
    """Captioned emoji of a split, one-step episodes.

    Args:
      split: `train` or `test`.
      folder: PNG files named by code point (`1f600.png`), as the npm package emoji-datasource-google has them in
        `img/google/64`; the package's folder itself will do. None renders the font.
      font: NotoColorEmoji.ttf.
      variants: renderings of each training image: the first as it is, the others a little smaller and shifted.

    Raises:
      SourceError: neither font nor folder is there.
    """
    drawing = _folder_drawing(Path(folder)) if folder is not None else _font_drawing(Path(font))
    names = {code_point: unicodedata.name(chr(code_point)).lower() for code_point in drawing.code_points}
    test = held_out_names(names.values())
    renderings = range(variants if split == "train" else 1)
    return GeneratedEpisodes(
        spec=_SPEC,
        split=split,
        provenance=drawing.provenance,
        items=tuple(
            (code_point, name, variant)
            for code_point, name in names.items()
            if is_in_split(split, name in test)
            for variant in renderings
        ),
        make=functools.partial(_make, drawing.draw),
        content=drawing.content,
    )


def held_out_names(names: Iterable[str]) -> frozenset[str]:
    """One name in twenty, none with a word that training would then lack."""
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    left = collections.Counter(word for name in ordered for word in set(name.split()))
    test: set[str] = set()
    for name in ordered:
        if len(test) == len(ordered) // 20:
            break
        if all(left[word] > 1 for word in name.split()):
            test.add(name)
            left.subtract(set(name.split()))
    return frozenset(test)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Drawing:
    """Where images come from. `draw` gives a code point's square image on transparent ground."""

    code_points: tuple[int, ...]
    draw: Callable[[int], PIL.Image.Image]
    provenance: Provenance
    content: str


def _make(draw: Callable[[int], PIL.Image.Image], item: tuple[int, str, int]) -> tuple[dict, dict]:
    code_point, name, variant = item
    return {"image": render(draw(code_point), (code_point, variant))}, {"caption": name}


def render(picture: PIL.Image.Image, key: tuple[int, int]) -> np.ndarray:
    """(64, 64, 3) uint8 on white. From `key`, (code point, variant), follow size and shift; variant 0 has neither."""
    random = np.random.default_rng(key)
    side = SIDE if key[1] == 0 else int(random.integers(SIDE * 3 // 4, SIDE + 1))
    corner = int(random.integers(0, SIDE - side + 1)), int(random.integers(0, SIDE - side + 1))
    ground = PIL.Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture)
    canvas = PIL.Image.new("RGB", (SIDE, SIDE), "white")
    canvas.paste(ground.convert("RGB").resize((side, side), PIL.Image.Resampling.BOX), corner)
    return np.asarray(canvas)


def _is_captioned(code_point: int) -> bool:
    return code_point in _CODE_POINTS and code_point not in _LEFT_OUT and bool(unicodedata.name(chr(code_point), ""))


def _font_drawing(font: Path) -> _Drawing:
    if not font.is_file():
        raise SourceError(
            f"{font}: no emoji font; apt-get install fonts-noto-color-emoji, or unpack the npm package "
            "emoji-datasource-google (npm pack emoji-datasource-google) and pass its folder: captions:FOLDER"
        )
    # The basic layout: one code point, one glyph; without it Pillow shapes text, and fails on lone joiners.
    shapes = PIL.ImageFont.truetype(str(font), _FONT_SIZE, layout_engine=PIL.ImageFont.Layout.BASIC)

    def has_glyph(code_point: int) -> bool:
        _, top, _, bottom = shapes.getbbox(chr(code_point))
        return bottom > top  # a missing glyph is a box without height

    content = hashlib.sha256(font.read_bytes()).hexdigest()
    return _Drawing(
        code_points=tuple(c for c in _CODE_POINTS if _is_captioned(c) and has_glyph(c)),
        draw=functools.partial(_draw_glyph, str(font)),
        provenance=_provenance(f"{font.name} (SHA-256 {content[:12]})", "OFL-1.1"),
        content=content,
    )


@functools.lru_cache(maxsize=1)
def _load_font(font: str) -> PIL.ImageFont.FreeTypeFont:
    return PIL.ImageFont.truetype(font, _FONT_SIZE, layout_engine=PIL.ImageFont.Layout.BASIC)


def _draw_glyph(font: str, code_point: int) -> PIL.Image.Image:
    shapes = _load_font(font)
    left, top, right, bottom = shapes.getbbox(chr(code_point))
    side = int(max(right - left, bottom - top))
    square = PIL.Image.new("RGBA", (side, side))
    corner = (side - right - left) // 2, (side - bottom - top) // 2
    PIL.ImageDraw.Draw(square).text(corner, chr(code_point), font=shapes, embedded_color=True)
    return square


def _folder_drawing(folder: Path) -> _Drawing:
    images = folder / "img" / "google" / "64"
    images = images if images.is_dir() else folder
    files = {}
    for file in sorted(images.glob("*.png")):
        code, _, rest = file.stem.partition("-")
        if rest in ("", "fe0f") and _is_hexadecimal(code) and _is_captioned(int(code, 16)):
            files[int(code, 16)] = file
    if not files:
        raise SourceError(
            f"{folder}: no PNG files named by code point, as 1f600.png; unpack the npm package emoji-datasource-google "
            "(npm pack emoji-datasource-google) there, or apt-get install fonts-noto-color-emoji for captions:emoji"
        )
    content = hashlib.sha256(b"".join(file.read_bytes() for file in files.values())).hexdigest()
    return _Drawing(
        code_points=tuple(files),
        draw=functools.partial(_open_png, files),
        provenance=_provenance("Noto Emoji images of the npm package emoji-datasource-google", "Apache-2.0"),
        content=content,
    )


def _open_png(files: dict[int, Path], code_point: int) -> PIL.Image.Image:
    with PIL.Image.open(files[code_point]) as picture:
        return picture.convert("RGBA")


def _is_hexadecimal(text: str) -> bool:
    return bool(text) and all(digit in "0123456789abcdefABCDEF" for digit in text)


def _provenance(source: str, licence: str) -> Provenance:
    names = f"names from Unicode {unicodedata.unidata_version}"
    return Provenance(
        source=f"{source}; {names}", licence=f"{licence} AND Unicode-3.0", kind="synthetic", collector="gato_jax"
    )
