"""The task `captions/emoji`: emoji at 64 by 64 pixels, captioned with their lower-case Unicode names.

The dataset has about 1,360 emoji, each a single code point; skin tones, the letters of flags and sequences of code
points are excluded. At most one name in twenty belongs to the `test` split. A name is held out only if each of its
words also occurs in a training name, so every test caption consists of words that training shows, under an image that
training does not show. The names come from Python's Unicode tables (14.0 in Python 3.11).
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
from gato_jax.sources.files import find_files, unread_files
from gato_jax.sources.reader import GeneratedEpisodes, Omission, SourceError, held_out_omission, is_in_split

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")  # installed by Debian's fonts-noto-color-emoji
SIDE = 64
_FONT_SIZE = 109  # the only size in which the font has bitmaps
_CODE_POINTS = range(0x80, 0x1FBFF)  # ASCII is excluded, because its digits only occur as parts of key caps
_EXCLUDED = {*range(0x1F3FB, 0x1F400), *range(0x1F1E6, 0x1F200), 0x20E3}  # skin tones, letters of flags, key cap
_SPEC = TaskSpec(
    suite="captions",
    task="emoji",
    observation={"image": Image(height=SIDE, width=SIDE)},
    action={"caption": Text()},
)


def emoji_captions(
    split: str, *, folder: str | Path | None = None, font: str | Path = FONT, variants: int = 1
) -> GeneratedEpisodes:
    """Return the captioned emoji of one split as one-step episodes: image as observation, caption as action.

    Args:
      split: `train` or `test`.
      folder: Folder of PNG files named by code point (`1f600.png`): the npm package emoji-datasource-google, or its
        subfolder `img/google/64`. None renders the emoji from `font`.
      font: Path of NotoColorEmoji.ttf. Ignored if `folder` is given.
      variants: Number of episodes of each training emoji. The first shows the emoji in full size, 64 by 64 pixels, the
        others at a random size of 48 to 64 pixels and a random place. The test split has one episode of each emoji, in
        full size, whatever `variants` is.

    Returns:
      The episodes, in ascending order of code points for a font, and in the order of the file names for a folder. The
      variants of an emoji follow each other.

    Raises:
      SourceError: The folder has no such files, the font does not exist, or `split` is neither `train` nor `test`.
    """
    emoji = _emoji_of_folder(Path(folder)) if folder is not None else _emoji_of_font(Path(font))
    names = {code_point: unicodedata.name(chr(code_point)).lower() for code_point in emoji.code_points}
    test = held_out_names(names.values())
    selected = [code_point for code_point, name in names.items() if is_in_split(split, name in test)]
    other = "train" if split == "test" else "test"
    renderings = range(variants if split == "train" else 1)
    return GeneratedEpisodes(
        spec=_SPEC,
        split=split,
        provenance=emoji.provenance,
        items=tuple((code_point, names[code_point], variant) for code_point in selected for variant in renderings),
        make=functools.partial(_make_step, emoji.draw),
        content=emoji.content,
        left_out=(
            *emoji.left_out,
            *held_out_omission(emoji.path, "emoji", other, len(names) - len(selected), len(selected)),
        ),
    )


def held_out_names(names: Iterable[str]) -> frozenset[str]:
    """Choose the names of the test split: up to one name in twenty, rounded down, by the names' SHA-256 hashes.

    Names are considered in the order of their hashes. A name is skipped if without it one of its words would occur in
    no training name, so fewer than one in twenty may be chosen. The choice depends on the set of names, not on their
    order.
    """
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    training_counts = collections.Counter(word for name in ordered for word in set(name.split()))
    test: set[str] = set()
    for name in ordered:
        if len(test) == len(ordered) // 20:
            break
        if all(training_counts[word] > 1 for word in name.split()):
            test.add(name)
            training_counts.subtract(set(name.split()))
    return frozenset(test)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _EmojiImages:
    """The images of a font or a folder.

    Attributes:
      code_points: All code points of the dataset that have an image, in the order of the episodes.
      draw: Function from a code point to its square RGBA image on a transparent background.
      provenance: Provenance of the images.
      content: Digest of the image data, for the fingerprint of the dataset.
      path: The font or the folder.
      left_out: The files of the folder that are not read.
    """

    code_points: tuple[int, ...]
    draw: Callable[[int], PIL.Image.Image]
    provenance: Provenance
    content: str
    path: Path
    left_out: tuple[Omission, ...] = ()


def _make_step(draw: Callable[[int], PIL.Image.Image], item: tuple[int, str, int]) -> tuple[dict, dict]:
    """Return observation and action of the step of an item, {"image": (64, 64, 3) uint8} and {"caption": name}.

    Args:
      draw: Function from a code point to its RGBA image.
      item: (code point, name, variant); see `render` for variants.
    """
    code_point, name, variant = item
    return {"image": render(draw(code_point), (code_point, variant))}, {"caption": name}


def render(picture: PIL.Image.Image, key: tuple[int, int]) -> np.ndarray:
    """Render an emoji on a white background.

    Args:
      picture: Square RGBA image of the emoji, of any size.
      key: (code point, variant), the seed of size and shift. Variant 0 fills the image; others have a side of 48 to 64
        pixels and lie anywhere within it.

    Returns:
      The image, (64, 64, 3) uint8.
    """
    random = np.random.default_rng(key)
    side = SIDE if key[1] == 0 else int(random.integers(SIDE * 3 // 4, SIDE + 1))
    corner = int(random.integers(0, SIDE - side + 1)), int(random.integers(0, SIDE - side + 1))
    background = PIL.Image.new("RGBA", picture.size, "white")
    background.alpha_composite(picture)
    canvas = PIL.Image.new("RGB", (SIDE, SIDE), "white")
    canvas.paste(background.convert("RGB").resize((side, side), PIL.Image.Resampling.BOX), corner)
    return np.asarray(canvas)


def _is_captioned(code_point: int) -> bool:
    """Return whether a code point is from U+0080 to U+1FBFE, has a Unicode name, and is not excluded.

    Excluded are skin tones, the letters of flags and the key cap. The code point need not be an emoji.
    """
    return code_point in _CODE_POINTS and code_point not in _EXCLUDED and bool(unicodedata.name(chr(code_point), ""))


def _emoji_of_font(font: Path) -> _EmojiImages:
    """Return the code points that `_is_captioned` accepts and the font has a glyph for, in ascending order.

    Raises:
      SourceError: The file of the font does not exist.
    """
    if not font.is_file():
        raise SourceError(
            f"cannot render emoji: the font {font} does not exist. Run apt-get install fonts-noto-color-emoji, or "
            "unpack the npm package emoji-datasource-google (npm pack emoji-datasource-google) and pass its folder as "
            "captions:FOLDER."
        )
    # The basic layout maps one code point to one glyph. With Pillow's default, text shaping fails on lone joiners.
    loaded_font = PIL.ImageFont.truetype(str(font), _FONT_SIZE, layout_engine=PIL.ImageFont.Layout.BASIC)

    def has_glyph(code_point: int) -> bool:
        _, top, _, bottom = loaded_font.getbbox(chr(code_point))
        return bottom > top  # the bounding box of a missing glyph has no height

    content = hashlib.sha256(font.read_bytes()).hexdigest()
    return _EmojiImages(
        code_points=tuple(c for c in _CODE_POINTS if _is_captioned(c) and has_glyph(c)),
        draw=functools.partial(_draw_glyph, str(font)),
        provenance=_provenance(f"{font.name} (SHA-256 {content[:12]})", "OFL-1.1"),
        content=content,
        path=font,
    )


@functools.lru_cache(maxsize=1)
def _load_font(font: str) -> PIL.ImageFont.FreeTypeFont:
    return PIL.ImageFont.truetype(font, _FONT_SIZE, layout_engine=PIL.ImageFont.Layout.BASIC)


def _draw_glyph(font: str, code_point: int) -> PIL.Image.Image:
    """Draw a glyph in the middle of the smallest square that holds it; RGBA, transparent background.

    `font` is the path of the font file. The side of the square depends on the glyph.
    """
    loaded_font = _load_font(font)
    left, top, right, bottom = loaded_font.getbbox(chr(code_point))
    side = int(max(right - left, bottom - top))
    square = PIL.Image.new("RGBA", (side, side))
    corner = (side - right - left) // 2, (side - bottom - top) // 2
    PIL.ImageDraw.Draw(square).text(corner, chr(code_point), font=loaded_font, embedded_color=True)
    return square


def _emoji_of_folder(folder: Path) -> _EmojiImages:
    """Return the emoji of a folder of PNG files that are named by code point, in the order of the names.

    Names are hexadecimal, `1f600.png` or `1f600-fe0f.png`; if both exist, the image is `1f600.png`. Other files, and
    code points that `_is_captioned` refuses, are ignored. If the folder has a subfolder `img/google/64`, only the files
    in that subfolder are used.

    Raises:
      SourceError: There are no such files.
    """
    images = folder / "img" / "google" / "64"
    images = images if images.is_dir() else folder
    files = {}
    for file in sorted(images.glob("*.png")):
        code, _, rest = file.stem.partition("-")
        if rest in ("", "fe0f") and _is_hexadecimal(code) and _is_captioned(int(code, 16)):
            files[int(code, 16)] = file
    if not files:
        raise SourceError(
            f"cannot read emoji: {folder} holds no PNG files named by code point, such as 1f600.png. Unpack the npm "
            "package emoji-datasource-google (npm pack emoji-datasource-google) there, or run apt-get install "
            "fonts-noto-color-emoji and use captions:emoji."
        )
    read = set(files.values())
    found = find_files(folder, read.__contains__)
    content = hashlib.sha256(b"".join(file.read_bytes() for file in files.values())).hexdigest()
    return _EmojiImages(
        code_points=tuple(files),
        draw=functools.partial(_open_png, files),
        provenance=_provenance("Noto Emoji images of the npm package emoji-datasource-google", "Apache-2.0"),
        content=content,
        path=folder,
        left_out=(*found.left_out, *unread_files(folder, found.others, "no emoji with a caption has its name", read)),
    )


def _open_png(files: dict[int, Path], code_point: int) -> PIL.Image.Image:
    """Return the image of a code point as RGBA, given {code point: PNG file}."""
    with PIL.Image.open(files[code_point]) as picture:
        return picture.convert("RGBA")


def _is_hexadecimal(text: str) -> bool:
    return bool(text) and all(digit in "0123456789abcdefABCDEF" for digit in text)


def _provenance(source: str, licence: str) -> Provenance:
    """Return the provenance of emoji images from `source`, captioned with Unicode names.

    `licence` is the SPDX identifier of the images' licence; ` AND Unicode-3.0` is appended for the names.
    """
    names = f"names from Unicode {unicodedata.unidata_version}"
    return Provenance(
        source=f"{source}; {names}", licence=f"{licence} AND Unicode-3.0", kind="synthetic", collector="gato_jax"
    )
