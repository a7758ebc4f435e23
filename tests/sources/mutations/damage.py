"""Mutations that know nothing of the format: of the bytes of a file, and of the files of a folder."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path


class NotPossible(Exception):
    """The recording does not allow a mutation; another one is tried."""


def list_files(folder: Path, *suffixes: str) -> list[Path]:
    """Return all files below a folder that are no links, sorted, with one of some suffixes if any are given."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    return [file for file in files if not suffixes or file.suffix in suffixes]


def pick_file(folder: Path, chance: random.Random, *suffixes: str) -> Path:
    """Return one of the files of `list_files`, or raise NotPossible if there are none."""
    if not (files := list_files(folder, *suffixes)):
        raise NotPossible
    return chance.choice(files)


def change_bytes(change: Callable[[bytearray, random.Random], str]) -> Callable[[Path, random.Random], str]:
    """Return a mutation that applies a function to the bytes of one file."""

    def damage(folder: Path, chance: random.Random) -> str:
        file = pick_file(folder, chance)
        content = bytearray(file.read_bytes())
        if not content:
            raise NotPossible
        done = change(content, chance)
        file.write_bytes(content)
        return f"{file.relative_to(folder)}: {done}"

    return damage


def _flip_bit(content: bytearray, chance: random.Random) -> str:
    place, bit = chance.randrange(len(content)), chance.randrange(8)
    content[place] ^= 1 << bit
    return f"bit {bit} of byte {place} flipped"


def _change_some(content: bytearray, chance: random.Random) -> str:
    places = [chance.randrange(len(content)) for _ in range(chance.randint(1, 8))]
    for place in places:
        content[place] = chance.choice((0, 255, chance.randrange(256)))
    return f"bytes {places} changed"


def _change_ends(content: bytearray, chance: random.Random) -> str:
    """Change a byte near the beginning or the end, where formats keep their structure."""
    near = min(len(content), 256)
    place = chance.choice((chance.randrange(near), len(content) - 1 - chance.randrange(near)))
    content[place] = chance.randrange(256)
    return f"byte {place} of {len(content)} changed"


def _truncate(content: bytearray, chance: random.Random) -> str:
    size = chance.choice(
        (0, chance.randrange(len(content)), len(content) - 1 - chance.randrange(min(len(content), 64)))
    )
    del content[size:]
    return f"truncated to {size} bytes"


def _append(content: bytearray, chance: random.Random) -> str:
    more = chance.choice((bytes(chance.randint(1, 600)), chance.randbytes(chance.randint(1, 600)), bytes(content)))
    content += more
    return f"{len(more)} bytes appended"


def _delete_span(content: bytearray, chance: random.Random) -> str:
    start, size = chance.randrange(len(content)), chance.randint(1, 64)
    del content[start : start + size]
    return f"{size} bytes deleted at {start}"


def _fill_span(content: bytearray, chance: random.Random) -> str:
    start, size, value = chance.randrange(len(content)), chance.randint(1, 512), chance.choice((0, 255))
    size = min(size, len(content) - start)
    content[start : start + size] = bytes([value]) * size
    return f"{size} bytes set to {value} at {start}"


def _move_span(content: bytearray, chance: random.Random) -> str:
    size = chance.randint(1, min(len(content), 128))
    source, target = chance.randint(0, len(content) - size), chance.randint(0, len(content) - size)
    content[target : target + size] = content[source : source + size]
    return f"{size} bytes copied from {source} to {target}"


def double_file(folder: Path, chance: random.Random) -> str:
    """Copy a file beside itself."""
    file = pick_file(folder, chance)
    name = chance.choice(
        (f"{file.stem} copy{file.suffix}", f"{file.stem}_1{file.suffix}", f"0{file.name}", f"{file.name}.bak")
    )
    shutil.copy2(file, file.with_name(name))
    return f"{file.relative_to(folder)} doubled as {name}"


def remove_file(folder: Path, chance: random.Random) -> str:
    file = pick_file(folder, chance)
    file.unlink()
    return f"{file.relative_to(folder)} removed"


def rename_file(folder: Path, chance: random.Random) -> str:
    file = pick_file(folder, chance)
    name = chance.choice((f"{file.stem}.old{file.suffix}", f"a b#,{file.name}", f"{file.name}.part", f"z{file.name}"))
    file.rename(file.with_name(name))
    return f"{file.relative_to(folder)} renamed to {name}"


def swap_files(folder: Path, chance: random.Random) -> str:
    """Exchange the contents of two files with one suffix."""
    first = pick_file(folder, chance)
    others = [file for file in list_files(folder, first.suffix) if file != first]
    if not others:
        raise NotPossible
    second = chance.choice(others)
    content = first.read_bytes()
    shutil.copyfile(second, first)
    second.write_bytes(content)
    return f"{first.relative_to(folder)} and {second.relative_to(folder)} exchanged"


def link_file(folder: Path, chance: random.Random) -> str:
    """Replace a file by a link to where it now is: inside or outside of the folder, nowhere, or itself."""
    file = pick_file(folder, chance)
    where = chance.choice(("inside", "outside", "nowhere", "itself"))
    if where == "itself":
        file.unlink()
        file.symlink_to(file.name)
        return f"{file.relative_to(folder)} is a link to itself"
    target = (folder / ".blobs" if where == "inside" else folder.parent / "blobs") / "0123abcd"
    if where != "nowhere":
        target.parent.mkdir(exist_ok=True)
        shutil.copy2(file, target)
    file.unlink()
    file.symlink_to(os.path.relpath(target, file.parent))
    return f"{file.relative_to(folder)} is a link, {where}"


def link_folder(folder: Path, chance: random.Random) -> str:
    """Replace a subfolder by a link to where it now is, or add a link to a folder above."""
    folders = sorted(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())
    if not folders:
        raise NotPossible
    one, where = chance.choice(folders), chance.choice(("inside", "outside", "cycle"))
    if where == "cycle":
        (one / "again").symlink_to("..")
        return f"{one.relative_to(folder)}/again is a link to .."
    target = (folder / ".blobs" if where == "inside" else folder.parent / "blobs") / one.name
    target.parent.mkdir(exist_ok=True)
    shutil.move(one, target)
    one.symlink_to(os.path.relpath(target, one.parent))
    return f"{one.relative_to(folder)} is a link to a folder {where}"


def add_file(folder: Path, chance: random.Random) -> str:
    """Add a file that does not belong to the recording, such as those that systems leave behind."""
    file = pick_file(folder, chance)
    name = chance.choice((f"._{file.name}", ".DS_Store", f"{file.stem}.txt.swp", f"new{file.suffix}"))
    file.with_name(name).write_bytes(chance.choice((b"", b"\0\5\x16\7", chance.randbytes(100))))
    return f"{name} added beside {file.relative_to(folder)}"


_OF_BYTES = (_flip_bit, _flip_bit, _change_some, _change_ends, _truncate, _append, _delete_span, _fill_span, _move_span)
DAMAGES = (
    *(change_bytes(change) for change in _OF_BYTES),
    double_file,
    remove_file,
    rename_file,
    swap_files,
    link_file,
    link_folder,
    add_file,
)
