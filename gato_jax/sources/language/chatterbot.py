"""`dialogue/chatterbot`: the English dialogues of the chatterbot-corpus package, as text alone.

A dialogue is an episode of one step without an observation, whose action is its text: one line for each utterance,
the speakers marked by turns, `Human: ` the first and `Agent: ` the second. Line breaks inside an utterance stay, so a
speaker's mark at the start of a line is what begins an utterance. Gato chats by continuing such a text.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path

from gato_jax.episodes import Provenance, TaskSpec, Text
from gato_jax.sources.reader import GeneratedEpisodes, SourceError, is_in_split

SPEAKERS = ("Human", "Agent")
_PACKAGE = "chatterbot_corpus"
_SPEC = TaskSpec(suite="dialogue", task="chatterbot", observation={}, action={"text": Text()})


def chatterbot_dialogues(split: str) -> GeneratedEpisodes:
    """The dialogues of a split; by the hash of their text about one in twenty is of `test`.

    The corpus repeats more than half of its dialogues; each is here once, so none is in both splits.

    Raises:
      SourceError: the package is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)  # not imported: importing it is not needed to read its files
    if spec is None or spec.origin is None:
        raise SourceError("dialogue:chatterbot: the package is not installed; pip install chatterbot-corpus")
    texts = dict.fromkeys(_read(Path(spec.origin).parent / "data" / "english"))
    version = importlib.metadata.version(_PACKAGE)
    return GeneratedEpisodes(
        spec=_SPEC,
        split=split,
        provenance=Provenance(
            source=f"chatterbot-corpus {version}",
            licence="BSD License",  # all that the package's metadata say; the wheel holds no licence text
            kind="synthetic",
            collector="Gunther Cox and contributors",
        ),
        items=tuple(text for text in texts if is_in_split(split, is_held_out(text))),
        make=_make,
    )


def is_held_out(text: str) -> bool:
    """One in twenty, by the text's own hash, so that the choice never changes as others are added."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 20 == 0


def _make(text: str) -> tuple[dict, dict]:
    return {}, {"text": text}


def _read(folder: Path) -> list[str]:
    import yaml

    files = sorted(folder.glob("*.yml"))
    if not files:
        raise SourceError(f"{folder}: no *.yml files; reinstall chatterbot-corpus")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [
        format_dialogue([str(line) for line in lines])
        for file in files
        for lines in yaml.load(file.read_text(encoding="utf-8"), loader)["conversations"]
    ]


def format_dialogue(utterances: list[str]) -> str:
    """`["Hi", "Hello"]` as `Human: Hi` and `Agent: Hello` on a line each."""
    return "\n".join(f"{SPEAKERS[turn % 2]}: {said.strip()}" for turn, said in enumerate(utterances))
