"""Readers of the instructions of a whole dataset and of the metadata that propose them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gato_jax.sources.instructions.proposals import instruction_key, read_instruction
from gato_jax.sources.reader import EpisodeReader, EpisodeRejected, SourceError


def read_instructions(
    reader: EpisodeReader, positions: Iterable[int] | None = None
) -> tuple[dict[int, str], list[EpisodeRejected]]:
    """Read the instruction of each episode of a dataset.

    Args:
      reader: The dataset.
      positions: Indices of the episodes to read, by default all. They may be wrapped in a progress bar.

    Returns:
      {episode number: its instruction}, and the errors of the episodes that are damaged or change their instruction. If
      the task observes no instruction, all episodes have "", whatever `positions` is.

    Raises:
      SourceError: The task observes several texts, none of them named `instruction`.
    """
    key = instruction_key(reader)
    if key not in reader.spec.observation:
        return dict.fromkeys(range(len(reader)), ""), []
    texts, rejected = {}, []
    for number in range(len(reader)) if positions is None else positions:
        try:
            texts[number] = read_instruction(reader[number], key, f"{reader.spec.name}: episode {number}")
        except EpisodeRejected as error:
            rejected.append(error)
    return texts, rejected


def read_metadata(file: str | Path, episodes: int) -> Mapping[int, Mapping[str, Any]]:
    """Read the metadata that fill the slots of instruction templates.

    Args:
      file: A JSON file with a list of one object for each episode.
      episodes: Number of episodes of the dataset.

    Returns:
      {episode number: {slot: value}}.

    Raises:
      SourceError: The file is not such a list, or does not have as many objects as there are episodes.
    """
    remedy = "Write a JSON list of one object for each episode."
    try:
        metadata = json.loads(Path(file).read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SourceError(f"cannot read metadata: {file} is not JSON ({error}). {remedy}") from None
    if not isinstance(metadata, list) or not all(isinstance(entry, dict) for entry in metadata):
        raise SourceError(f"cannot read metadata: {file} is expected to hold a list of objects. {remedy}")
    if len(metadata) != episodes:
        raise SourceError(f"cannot read metadata: {file} holds {len(metadata)} objects, expected {episodes}. {remedy}")
    return dict(enumerate(metadata))
