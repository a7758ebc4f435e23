"""The task `dialogue/chatterbot`: English dialogues of the package chatterbot-corpus.

Each dialogue is one episode of one step, without observation; the action is the text of the dialogue. Each utterance
begins on a new line with its speaker, `Human: ` or `Agent: ` in alternation. Line breaks inside an utterance are kept.
The agent chats by continuing such a text.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path

from gato_jax.episodes import Provenance, TaskSpec, Text
from gato_jax.sources.files import find_files, unread_files
from gato_jax.sources.reader import GeneratedEpisodes, Omission, SourceError, held_out_omission, is_in_split

SPEAKERS = ("Human", "Agent")
_PACKAGE = "chatterbot_corpus"
_SPEC = TaskSpec(suite="dialogue", task="chatterbot", observation={}, action={"text": Text()})


def chatterbot_dialogues(split: str) -> GeneratedEpisodes:
    """Return the dialogues of one split as one-step episodes without observation, with the action `text`.

    The corpus repeats more than half of its dialogues. Repeats are dropped, so no dialogue is in both splits. The order
    is that of the corpus, with its files sorted by name.

    Args:
      split: `train` or `test`; about one dialogue in twenty belongs to `test`, by the hash of its text.

    Raises:
      SourceError: The package chatterbot-corpus is not installed or has no English *.yml files, or `split` is neither
        `train` nor `test`.
    """
    spec = importlib.util.find_spec(_PACKAGE)  # finds the package's files without importing it
    if spec is None or spec.origin is None:
        raise SourceError(
            "cannot open dialogue:chatterbot: the package chatterbot-corpus is not installed. Run pip install "
            "chatterbot-corpus."
        )
    data = Path(spec.origin).parent / "data"
    every = _read_corpus(data / "english")
    texts = dict.fromkeys(every)
    selected = tuple(text for text in texts if is_in_split(split, is_held_out(text)))
    version = importlib.metadata.version(_PACKAGE)
    return GeneratedEpisodes(
        spec=_SPEC,
        split=split,
        provenance=Provenance(
            source=f"chatterbot-corpus {version}",
            licence="BSD License",  # from the package's metadata; the wheel contains no licence text
            kind="synthetic",
            collector="Gunther Cox and contributors",
        ),
        items=selected,
        make=_make_step,
        left_out=tuple(_find_left_out(data, split, every, len(texts), len(selected))),
    )


def _find_left_out(data: Path, split: str, every: list[str], different: int, selected: int) -> list[Omission]:
    """List the files of other languages, the repeats, and the dialogues of the other split.

    Args:
      data: Folder of the corpus, with a folder for each language.
      split: Name of the split that is read.
      every: All English dialogues.
      different: Number of different ones.
      selected: Number of these in the split.
    """
    english = data / "english"
    found = find_files(data, lambda file: file.parent == english and file.suffix == ".yml")
    omissions = [*found.left_out, *unread_files(data, found.others, "a dialogue is read from english/*.yml alone")]
    if repeats := len(every) - different:
        omissions.append(Omission(f"{english}: repeats", f"{repeats} of {len(every)} dialogues repeat an earlier one"))
    other = "train" if split == "test" else "test"
    return omissions + held_out_omission(english, "dialogues", other, different - selected, selected)


def is_held_out(text: str) -> bool:
    """Return whether a text belongs to the test split: about one text in twenty does, by its SHA-256 hash.

    The result depends on the text alone, so it stays the same when other texts are added to a dataset.
    """
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 20 == 0


def _make_step(text: str) -> tuple[dict, dict]:
    """Return observation and action of the step of a dialogue, {} and {"text": text}."""
    return {}, {"text": text}


def _read_corpus(folder: Path) -> list[str]:
    """Return all dialogues of the `*.yml` files in a folder as texts, in the order of the file names, with repeats.

    Raises:
      SourceError: The folder has no `*.yml` files.
    """
    import yaml

    files = sorted(folder.glob("*.yml"))
    if not files:
        raise SourceError(f"cannot read {folder}: it has no *.yml files. Reinstall chatterbot-corpus.")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [
        format_dialogue([str(line) for line in lines])
        for file in files
        for lines in yaml.load(file.read_text(encoding="utf-8"), loader)["conversations"]
    ]


def format_dialogue(utterances: list[str]) -> str:
    r"""Return a dialogue as one text: `["Hi", "Hello"]` becomes `"Human: Hi\nAgent: Hello"`.

    The speakers alternate, beginning with `Human`. Spaces and line breaks at both ends of an utterance are removed.
    """
    return "\n".join(f"{SPEAKERS[number % 2]}: {text.strip()}" for number, text in enumerate(utterances))
