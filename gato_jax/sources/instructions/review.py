"""The review file, in which a person accepts, edits or rejects instructions. Writing it again keeps their edits."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from gato_jax.episodes import SpecError, TaskSpec
from gato_jax.episodes.dataclass_reader import DataclassReader, to_json
from gato_jax.runtime.atomic_writes import atomic_file
from gato_jax.runtime.paths import as_path
from gato_jax.sources.instructions.phrasings import INSTRUCTION_KEY, spec_with_instruction
from gato_jax.sources.reader import EpisodeReader, SourceError

HOW_TO_EDIT = (
    "Set each status to accept or reject. You may edit the instructions: several instructions of an entry are "
    "phrasings with the same meaning, which its episodes use in rotation. An entry with edited instructions counts as "
    "accepted. The conversion leaves out the episodes of rejected entries. Your edits are kept when this file is "
    "written again. Do not change group and proposed."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """Episodes that share an instruction, and its phrasings.

    Attributes:
      group: Name of the entry, unique in the review.
      episodes: Numbers of the episodes as text, for example `0-24, 30`, or "" for none.
      status: Decision of a person: `unreviewed`, `accept` or `reject`.
      instructions: Phrasings of the instruction, possibly edited by a person.
      comment: Remark of a person.
      proposed: The phrasings before any edit.

    Raises:
      SpecError: A text in `instructions` or in `proposed` is blank or occurs twice, `instructions` is empty although
        `status` is not `reject`, or `episodes` has another form.
    """

    group: str
    episodes: str
    status: Literal["unreviewed", "accept", "reject"] = "unreviewed"
    instructions: tuple[str, ...]
    comment: str = ""
    proposed: tuple[str, ...] = ()

    def __post_init__(self):
        label = f"group {self.group!r}"
        for name in ("instructions", "proposed"):
            texts = getattr(self, name)
            if not all(text.strip() for text in texts):
                raise SpecError(f"{label}: {name} is {texts!r:.60}, expected a list of texts, none of them empty")
            if len(set(texts)) < len(texts):
                raise SpecError(f"{label}: {name} contains a text twice, expected distinct texts. Remove one.")
        if not self.instructions and self.status != "reject":
            raise SpecError(
                f"{label}: instructions is empty, expected one or more. Write one, or set status to reject."
            )
        _parse_numbers(self.episodes, label)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of the episodes, in the order of `episodes`."""
        return _parse_numbers(self.episodes, self.group)

    @property
    def edited(self) -> bool:
        """True if the status is not `unreviewed`, `instructions` differs from `proposed`, or there is a comment."""
        return self.status != "unreviewed" or self.instructions != self.proposed or bool(self.comment)

    @property
    def decision(self) -> str:
        """The decision that applies: `status`, but `accept` if it is `unreviewed` and the instructions are edited."""
        return "accept" if self.status == "unreviewed" and self.instructions != self.proposed else self.status


@dataclasses.dataclass(frozen=True, kw_only=True)
class Review:
    """The reviewed instructions of one split of a dataset.

    Attributes:
      task: Name of the task.
      split: Name of the split.
      data: Fingerprint of the data whose episodes are numbered.
      entries: The entries. No episode is in two of them.
      observation: Observation key of the instruction.

    Raises:
      SpecError: Two entries have the same group or an episode in common.
    """

    task: str
    split: str
    data: str
    entries: tuple[Entry, ...]
    observation: str = INSTRUCTION_KEY

    def __post_init__(self):
        groups = Counter(entry.group for entry in self.entries)
        if repeated := [group for group, count in groups.items() if count > 1]:
            raise SpecError(f"{self.task}: group {repeated[0]!r} occurs twice, expected once. Rename one.")
        owner: dict[int, str] = {}
        for entry in self.entries:
            if taken := [number for number in entry.numbers if number in owner]:
                raise SpecError(
                    f"{self.task}: episode {taken[0]} is in the groups {owner[taken[0]]!r} and {entry.group!r}, "
                    "expected one group. Take it out of one."
                )
            owner |= dict.fromkeys(entry.numbers, entry.group)

    @classmethod
    def read(cls, file: str | Path) -> Review:
        """Read a review file, the JSON that `write` writes.

        Raises:
          SourceError: The file does not exist or is not a valid review. The message names the file and the field.
        """
        try:
            fields = json.loads(as_path(file).read_text())
            if isinstance(fields, Mapping):
                fields = {name: value for name, value in fields.items() if name != "how_to_edit"}
            return DataclassReader(error=SourceError).read(cls, fields, str(file))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise SourceError(
                f"cannot read {file}: it holds no review in JSON ({error}). Repair it, or write a new review elsewhere."
            ) from None

    def write(self, file: str | Path) -> Review:
        """Write the review to a JSON file, keeping the edits of a review that is already there; see `with_edits_of`.

        Returns:
          The review that was written.

        Raises:
          SourceError: The existing file is not a review, or a review of another task, split or observation. The file is
            not changed.
        """
        path = Path(file)
        review = self.with_edits_of(Review.read(path)) if path.exists() else self
        text = json.dumps({"how_to_edit": HOW_TO_EDIT, **to_json(dataclasses.asdict(review))}, indent=2)
        with atomic_file(path) as partial:
            partial.write_text(f"{text}\n")
        return review

    def with_edits_of(self, edited: Review) -> Review:
        """Return a copy of this review, with the edited entries of an older review in place of its own.

        Entries with the same `group` correspond; `Entry.edited` tells which are edited. An edited entry keeps its
        episodes, and gains those of its group here that no edited entry has. An entry of this review that is not
        replaced loses the episodes of edited entries, and is left out if it has no others. If the two reviews are of
        different data, the old episode numbers are void: an edited entry then has only the episodes of its group here,
        and no episodes if the group no longer exists.

        Args:
          edited: The older review.

        Raises:
          SourceError: The older review is of another task, split or observation.
        """
        for name in ("task", "split", "observation"):
            if (own := getattr(self, name)) != (other := getattr(edited, name)):
                raise SourceError(
                    f"cannot merge reviews: {name} of the existing review is {other!r}, expected {own!r}. Name another "
                    "file."
                )
        same_data = self.data == edited.data
        edited_entries = {entry.group: entry for entry in edited.entries if entry.edited}
        claimed = {number for entry in edited_entries.values() for number in entry.numbers} if same_data else set()
        entries = []
        for proposal in self.entries:
            unclaimed = [number for number in proposal.numbers if number not in claimed]
            if (entry := edited_entries.pop(proposal.group, None)) is not None:
                numbers = sorted([*unclaimed, *(entry.numbers if same_data else ())])
                entries.append(dataclasses.replace(entry, episodes=ranges(numbers)))
            elif unclaimed:
                entries.append(dataclasses.replace(proposal, episodes=ranges(unclaimed)))
        for entry in edited_entries.values():
            entries.append(entry if same_data else dataclasses.replace(entry, episodes=""))
        return dataclasses.replace(self, entries=tuple(entries))

    @property
    def fingerprint(self) -> str:
        """Digest of the whole review as 16 hexadecimal digits, by which an interrupted conversion notices a change."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self)).encode()).hexdigest()[:16]

    @property
    def phrasings(self) -> tuple[tuple[str, ...], ...]:
        """The `instructions` of each entry that has episodes and is not rejected; unreviewed entries are included."""
        return tuple(entry.instructions for entry in self.entries if entry.decision != "reject" and entry.episodes)

    @property
    def unreviewed(self) -> tuple[Entry, ...]:
        """Entries with episodes whose `decision` is `unreviewed`, in order. A comment alone is no decision."""
        return tuple(entry for entry in self.entries if entry.decision == "unreviewed" and entry.episodes)

    @property
    def episodes_by_instruction(self) -> dict[str, tuple[int, ...]]:
        """Mapping from each instruction of an entry that is not rejected to the numbers of the entry's episodes.

        The mapping is an argument of `find_problems`. An instruction of several entries has the episodes of all of
        them. Entries without episodes are left out.
        """
        found: dict[str, tuple[int, ...]] = {}
        for entry in self.entries:
            if entry.decision != "reject" and entry.episodes:
                found |= {text: found.get(text, ()) + entry.numbers for text in entry.instructions}
        return found

    def require_data(self, reader: EpisodeReader):
        """Raise SourceError if the review was written from other data than this reader's.

        Raises:
          SourceError: Task, split or fingerprint of the data differ, so the episode numbers of the review do not apply.
        """
        own = (self.task, self.split, self.data)
        if own != (other := (reader.spec.name, reader.split, reader.fingerprint)):
            raise SourceError(
                f"cannot apply the review: it is of {' '.join(own)} (task, split, fingerprint), expected "
                f"{' '.join(other)}. Write the review again from these data; its edits are kept."
            )

    def spec(self, spec: TaskSpec) -> TaskSpec:
        """Return a copy of the task with the instruction as an observation.

        If the review has a single entry with episodes that is not rejected, its phrasings become the `instructions` of
        the task; otherwise `instructions` is None.

        Args:
          spec: The task as recorded.

        Raises:
          SourceError: `spec` is of another task than the review, or observes `observation` already and not as text.
        """
        if spec.name != self.task:
            raise SourceError(
                f"cannot apply the review: it is of {self.task}, expected {spec.name}. Name the review of that task."
            )
        return spec_with_instruction(spec, self.observation, self.phrasings[0] if len(self.phrasings) == 1 else None)


def ranges(numbers: Iterable[int]) -> str:
    """Return ascending numbers as text with ranges, for example `0-24, 30`; "" for no numbers."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _parse_numbers(episodes: Any, label: str) -> tuple[int, ...]:
    """Parse the text that `ranges` returns; `label` begins the message of the SpecError for any other text.

    Numbers stay in the order of the text, which need not ascend. A blank text gives an empty tuple, and so does a range
    that descends.
    """
    found: list[int] = []
    for part in episodes.split(",") if episodes.strip() else ():
        if (run := re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)) is None:
            raise SpecError(f"{label}: episodes is {episodes!r:.60}, expected numbers and ranges such as 0-24, 30")
        found += range(int(run[1]), int(run[2] or run[1]) + 1)
    return tuple(found)
