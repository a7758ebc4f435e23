"""The file in which a person accepts, edits or rejects instructions; written again, it keeps what they did."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gato_jax.episodes import SpecError, TaskSpec
from gato_jax.episodes.strict_json import construct, many, plain, read_fields
from gato_jax.sources.instructions.phrasings import INSTRUCTION, instructed_spec
from gato_jax.sources.reader import EpisodeReader, SourceError

HOW_TO_EDIT = (
    "Set each status to accept or reject. Edit instructions freely: several are phrasings that mean the same, dealt "
    "out to the episodes in turn; an entry whose instructions were edited counts as accepted. Episodes of a rejected "
    "entry are left out of the conversion. What you write stays when this file is written again; leave group and "
    "proposed."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """Episodes that are about the same, and what they are told.

    Attributes:
      group: what they have in common; the entry's name.
      episodes: their numbers, `0-24, 30`.
      status: what a person decided: `accept` or `reject`; `unreviewed` before.
      instructions: phrasings, as a person may have edited them.
      comment: a person's.
      proposed: the phrasings before anyone edited them.
    """

    group: str
    episodes: str
    status: str = "unreviewed"
    instructions: tuple[str, ...]
    comment: str = ""
    proposed: tuple[str, ...] = ()

    def __post_init__(self):
        where = f"group {self.group!r}"
        for name in ("group", "episodes", "comment"):
            if not isinstance(value := getattr(self, name), str):
                raise SpecError(f"{where}: {name} is {value!r:.60}, needs text")
        if self.status not in ("unreviewed", "accept", "reject"):
            raise SpecError(f"{where}: status is {self.status!r}, needs unreviewed, accept or reject")
        for name in ("instructions", "proposed"):
            texts = getattr(self, name)
            if not isinstance(texts, tuple) or not all(isinstance(text, str) and text.strip() for text in texts):
                raise SpecError(f"{where}: {name} is {texts!r:.60}, needs a list of texts, none of them empty")
            if len(set(texts)) < len(texts):
                raise SpecError(f"{where}: {name} has a text twice; leave one out")
        if not self.instructions and self.status != "reject":
            raise SpecError(f"{where}: it has no instructions; write one, or set its status to reject")
        _numbers(self.episodes, where)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of its episodes, in order."""
        return _numbers(self.episodes, self.group)

    @property
    def edited(self) -> bool:
        """Whether a person has left anything in it."""
        return self.status != "unreviewed" or self.instructions != self.proposed or bool(self.comment)

    @property
    def decision(self) -> str:
        """What is done with it, `accept`, `reject` or `unreviewed`: edited instructions are accepted ones."""
        return "accept" if self.status == "unreviewed" and self.instructions != self.proposed else self.status


@dataclasses.dataclass(frozen=True, kw_only=True)
class Review:
    """The instructions of one split of a dataset, as far as a person has gone through them.

    Attributes:
      task: its name.
      data: the fingerprint of the episodes that are numbered.
      observation: the key that the instructions are written to.
    """

    task: str
    split: str
    data: str
    entries: tuple[Entry, ...]
    observation: str = INSTRUCTION

    def __post_init__(self):
        groups = Counter(entry.group for entry in self.entries)
        if twice := [group for group, count in groups.items() if count > 1]:
            raise SpecError(f"{self.task}: group {twice[0]!r} is there twice; rename one")
        owner: dict[int, str] = {}
        for entry in self.entries:
            if taken := [number for number in entry.numbers if number in owner]:
                raise SpecError(
                    f"{self.task}: episode {taken[0]} is in the groups {owner[taken[0]]!r} and {entry.group!r}; "
                    "take it out of one"
                )
            owner |= dict.fromkeys(entry.numbers, entry.group)

    @classmethod
    def read(cls, file: str | Path) -> Review:
        """The review in a file. Raises SourceError for what cannot be one, with its place."""
        try:
            fields = json.loads(Path(file).read_text())
            if isinstance(fields, Mapping):
                fields = {name: value for name, value in fields.items() if name != "how_to_edit"}
            entry = many(lambda value, where: construct(Entry, value, where))
            return cls(**read_fields(cls, fields, str(file), entries=entry))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise SourceError(f"{file}: no review in JSON ({error}); mend it, or write it again elsewhere") from None
        except SpecError as error:
            message = str(error)
            raise SourceError(message if message.startswith(str(file)) else f"{file}: {message}") from None

    def write(self, file: str | Path) -> Review:
        """Writes the file and returns what is in it: a review that is there already is merged, see `merged_into`.

        Raises:
          SourceError: what is there is no review, or one of another task, split or observation; it is left as it is.
        """
        path = Path(file)
        review = self.merged_into(Review.read(path)) if path.exists() else self
        text = json.dumps({"how_to_edit": HOW_TO_EDIT, **plain(dataclasses.asdict(review))}, indent=2)
        partial = path.with_name(f"{path.name}.partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(f"{text}\n")
        os.replace(partial, path)
        return review

    def merged_into(self, edited: Review) -> Review:
        """These proposals, with every entry in which a person has left something as that person left it.

        Such an entry keeps its episodes, and is given those of its group that no other has. Where the data are others,
        numbers mean other episodes, so it has those of its group alone, and none where its group is gone.
        """
        for name in ("task", "split", "observation"):
            if (mine := getattr(self, name)) != (other := getattr(edited, name)):
                raise SourceError(f"the review that is there has {name} {other!r}, not {mine!r}; name another file")
        same_data = self.data == edited.data
        kept = {entry.group: entry for entry in edited.entries if entry.edited}
        claimed = {number for entry in kept.values() for number in entry.numbers} if same_data else set()
        entries = []
        for proposal in self.entries:
            left = [number for number in proposal.numbers if number not in claimed]
            if (entry := kept.pop(proposal.group, None)) is not None:
                numbers = sorted([*left, *(entry.numbers if same_data else ())])
                entries.append(dataclasses.replace(entry, episodes=ranges(numbers)))
            elif left:
                entries.append(dataclasses.replace(proposal, episodes=ranges(left)))
        for entry in kept.values():
            entries.append(entry if same_data else dataclasses.replace(entry, episodes=""))
        return dataclasses.replace(self, entries=tuple(entries))

    @property
    def fingerprint(self) -> str:
        """Changes when anything in it does, as a conversion that goes on has to know."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self)).encode()).hexdigest()[:16]

    @property
    def phrasings(self) -> tuple[tuple[str, ...], ...]:
        """The instructions of each group that is not rejected and has episodes."""
        return tuple(entry.instructions for entry in self.entries if entry.decision != "reject" and entry.episodes)

    @property
    def unreviewed(self) -> tuple[Entry, ...]:
        """The entries that nobody has decided on."""
        return tuple(entry for entry in self.entries if entry.decision == "unreviewed" and entry.episodes)

    @property
    def by_text(self) -> dict[str, tuple[int, ...]]:
        """{instruction: the episodes that may be given it}, of all that is not rejected; as `check` takes it."""
        found: dict[str, tuple[int, ...]] = {}
        for entry in self.entries:
            if entry.decision != "reject" and entry.episodes:
                found |= {text: found.get(text, ()) + entry.numbers for text in entry.instructions}
        return found

    def require_data(self, reader: EpisodeReader):
        """Raises SourceError unless the numbers of the review are those of this reader's episodes."""
        mine = (self.task, self.split, self.data)
        if mine != (other := (reader.spec.name, reader.split, reader.fingerprint)):
            raise SourceError(
                f"the review is of {' '.join(mine)} (task, split, fingerprint), the data are {' '.join(other)}; write "
                "the review again from these data, its edits stay"
            )

    def spec(self, spec: TaskSpec) -> TaskSpec:
        """The task with its instruction as an observation; with its phrasings, where all episodes are about the same.

        Raises:
          SourceError: it is another task, or its observation of that name is no text.
        """
        if spec.name != self.task:
            raise SourceError(f"the review is of {self.task}, not of {spec.name}; name the review of that task")
        return instructed_spec(spec, self.observation, self.phrasings[0] if len(self.phrasings) == 1 else None)


def ranges(numbers: Iterable[int]) -> str:
    """Ascending numbers as `0-24, 30`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _numbers(episodes: Any, where: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in episodes.split(",") if episodes.strip() else ():
        if (run := re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)) is None:
            raise SpecError(f"{where}: episodes is {episodes!r:.60}, needs numbers and ranges, as 0-24, 30")
        found += range(int(run[1]), int(run[2] or run[1]) + 1)
    return tuple(found)
