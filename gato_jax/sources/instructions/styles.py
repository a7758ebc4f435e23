"""What is wrong with the instructions of a dataset: styles that are mixed, slips, contradictions with metadata."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from gato_jax.sources.instructions.contradictions import contradictions, nouns_of
from gato_jax.sources.instructions.words import DETERMINERS, PRONOUNS, VERB_FORMS, words_of

Style = Literal["imperative", "declarative", "gerund", "question"]
Problem = Literal[
    "mixed style", "mixed case", "mixed punctuation", "empty", "too long", "stray spaces", "duplicate", "contradiction"
]
LONGEST = 40  # words

_ASKING = frozenset("who what where when why which how can could will would shall should is are does did".split())
_BEFORE_VERBS = frozenset("please now then first next just finally".split())
_ACTORS = frozenset(("robot", "arm", "agent", "gripper", "person", "human", "someone"))
_FINITE = frozenset("is are was were has have had will must should can may".split())
_NO_GERUNDS = frozenset("bring swing string ring king thing spring sling fling cling sting wing ceiling".split())


class Finding(NamedTuple):
    """What is wrong with one instruction."""

    instruction: str
    episodes: tuple[int, ...]
    problem: Problem
    evidence: str


def grouped(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """{instruction: the numbers of the episodes that have it}, from the instruction of each episode."""
    groups = defaultdict(list)
    for number, text in enumerate(texts):
        groups[text].append(number)
    return {text: tuple(numbers) for text, numbers in groups.items()}


def check(
    instructions: Mapping[str, Sequence[int]], metadata: Mapping[int, Mapping[str, Any]] | None = None
) -> list[Finding]:
    """What is wrong with the instructions of one dataset.

    What is mixed is found by majority, counted in episodes: those that are not as most are, are reported. Duplicates
    are instructions that differ in case, punctuation or spaces alone; the same one in many episodes is none.

    Args:
      instructions: {instruction: the episodes that have it}, as `grouped` gives it.
      metadata: {episode: its metadata}, with whichever of object, target, reference, tool, obstacle and their
        attributes, relation, direction, side and gripper they hold; see `contradictions`.

    Raises:
      SourceError: a value of the metadata is no words.
    """
    said = {text: tuple(episodes) for text, episodes in instructions.items()}
    findings = [
        *_faults(said),
        *_mixed(said, "mixed style", style_of),
        *_mixed(said, "mixed case", _case),
        *_mixed(said, "mixed punctuation", _ending),
        *_duplicates(said),
    ]
    return findings if metadata is None else [*findings, *_contradictions(said, metadata)]


def style_of(instruction: str) -> Style | None:
    """The grammatical style, None where no rule knows it.

    The rules look at the first words, at a table of verbs and at endings. They know no grammar: a fragment (`the red
    cup`), an infinitive, a verb that is not in the table, and any other language than English have no style. A gerund
    is known by its ending alone.
    """
    words = words_of(instruction)
    while words and (words[0] in _BEFORE_VERBS or words[0].endswith("ly")):
        words = words[1:]
    if not words:
        return None
    first, *others = words
    form = VERB_FORMS.get(first)
    if instruction.rstrip().endswith("?") or first in _ASKING:
        return "question"
    if form == "base":
        return "imperative"
    if form == "gerund" or (first.endswith("ing") and first not in _NO_GERUNDS):
        return "gerund"
    if form in ("third", "past"):
        return "declarative"
    if first in DETERMINERS | PRONOUNS | _ACTORS:
        finite = {word for word in others if word in _FINITE or VERB_FORMS.get(word) in ("third", "past")}
        return "declarative" if finite or (first in PRONOUNS and others and VERB_FORMS.get(others[0])) else None
    return None


def _case(text: str) -> str | None:
    letters = [letter for letter in text if letter.isalpha()]
    if not letters:
        return None
    if len(letters) > 1 and all(letter.isupper() for letter in letters):
        return "in capitals"
    return "with a capital first" if letters[0].isupper() else "in lower case"


def _ending(text: str) -> str | None:
    last = text.strip()[-1:]
    if not last or last == "?":  # a question is a matter of style
        return None
    return "without punctuation at the end" if last.isalnum() else f"with {last!r} at the end"


def _faults(said: Mapping[str, tuple[int, ...]]) -> list[Finding]:
    findings = []
    for text, episodes in said.items():
        if not (words := text.split()):
            findings.append(Finding(text, episodes, "empty", "it has no words"))
        elif len(words) > LONGEST:
            findings.append(Finding(text, episodes, "too long", f"{len(words)} words, more than {LONGEST}"))
        if words and text != " ".join(words):
            findings.append(Finding(text, episodes, "stray spaces", f"as words alone it is {' '.join(words)!r:.80}"))
    return findings


def _mixed(
    said: Mapping[str, tuple[int, ...]], problem: Problem, kind_of: Callable[[str], Hashable | None]
) -> list[Finding]:
    """Those that are not of the kind that most episodes have; of those that have none, nothing is said."""
    kinds = {text: kind for text in said if (kind := kind_of(text)) is not None}
    episodes = Counter[Hashable]()
    for text, kind in kinds.items():
        episodes[kind] += len(said[text])
    if len(episodes) < 2:
        return []
    (most, count), total = episodes.most_common(1)[0], episodes.total()
    return [
        Finding(text, said[text], problem, f"{kind}, where {count} of {total} episodes are {most}")
        for text, kind in kinds.items()
        if kind != most
    ]


def _duplicates(said: Mapping[str, tuple[int, ...]]) -> list[Finding]:
    alike = defaultdict(list)
    for text in said:
        alike[" ".join(re.findall(r"\w+", text.lower()))].append(text)
    return [
        Finding(text, said[text], "duplicate", f"but for case, punctuation or spaces the same as {first!r:.80}")
        for key, (first, *others) in alike.items()
        if key
        for text in others
    ]


def _contradictions(said: Mapping[str, tuple[int, ...]], metadata: Mapping[int, Mapping[str, Any]]) -> list[Finding]:
    """One for each instruction and contradiction, with the episodes that it is of."""
    nouns = frozenset().union(*map(nouns_of, metadata.values()))
    found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for text, episodes in said.items():
        for episode in episodes:
            for evidence in contradictions(text, metadata.get(episode, {}), nouns):
                found[text, evidence].append(episode)
    return [Finding(text, tuple(episodes), "contradiction", evidence) for (text, evidence), episodes in found.items()]
