"""Checks of a dataset's instructions: mixed styles, typing errors, duplicates, contradictions with metadata."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from gato_jax.sources.instructions.contradictions import find_contradictions, named_nouns
from gato_jax.sources.instructions.words import DETERMINERS, PRONOUNS, VERB_FORMS, split_words

Style = Literal["imperative", "declarative", "gerund", "question"]
Problem = Literal[
    "mixed style", "mixed case", "mixed punctuation", "empty", "too long", "stray spaces", "duplicate", "contradiction"
]
MAX_WORDS = 40

_QUESTION_WORDS = frozenset(
    "who what where when why which how can could will would shall should is are does did".split()
)
_ADVERBS = frozenset("please now then first next just finally".split())  # may precede the verb of an imperative
_ACTORS = frozenset(("robot", "arm", "agent", "gripper", "person", "human", "someone"))
_FINITE = frozenset("is are was were has have had will must should can may".split())
_NOT_GERUNDS = frozenset("bring swing string ring king thing spring sling fling cling sting wing ceiling".split())


class Finding(NamedTuple):
    """One problem of one instruction.

    Attributes:
      instruction: The instruction.
      episodes: Numbers of the episodes with the problem.
      problem: Kind of the problem, such as "mixed style" or "duplicate".
      evidence: The reason, in words.
    """

    instruction: str
    episodes: tuple[int, ...]
    problem: Problem
    evidence: str


def group_by_instruction(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return {instruction: numbers of its episodes, from 0}, given the instruction of each episode in order."""
    groups = defaultdict(list)
    for number, text in enumerate(texts):
        groups[text].append(number)
    return {text: tuple(numbers) for text, numbers in groups.items()}


def find_problems(
    instructions: Mapping[str, Sequence[int]], metadata: Mapping[int, Mapping[str, Any]] | None = None
) -> list[Finding]:
    """Check the instructions of a dataset and return the problems.

    Mixed style, case and punctuation are found by majority: instructions that differ from those of most episodes are
    reported. Duplicates are instructions that differ only in case, punctuation or spaces; an instruction that many
    episodes share is not a duplicate. More than 40 words are too long; leading, trailing and double spaces are stray.

    Args:
      instructions: {instruction: numbers of its episodes}, from `group_by_instruction` or
        `Review.episodes_by_instruction`.
      metadata: {episode number: metadata}, to find contradictions. The keys object, target, reference, tool, obstacle,
        their attributes, relation, direction, side and gripper are used where they exist; see `find_contradictions`.

    Raises:
      SourceError: A value of the metadata is not text.
    """
    groups = {text: tuple(episodes) for text, episodes in instructions.items()}
    findings = [
        *_typing_errors(groups),
        *_mixed(groups, "mixed style", classify_style),
        *_mixed(groups, "mixed case", _case),
        *_mixed(groups, "mixed punctuation", _ending),
        *_duplicates(groups),
    ]
    return findings if metadata is None else [*findings, *_contradictions(groups, metadata)]


def classify_style(instruction: str) -> Style | None:
    """Return the grammatical style of an instruction, or None if no rule applies.

    The rules use the first words, a table of verbs and word endings, not a grammar. Fragments (`the red cup`),
    infinitives, verbs that are not in the table and languages other than English have no style. Any first word that
    ends in -ing counts as a gerund, apart from a few exceptions. Adverbs and `please` at the beginning are skipped.
    """
    words = split_words(instruction)
    while words and (words[0] in _ADVERBS or words[0].endswith("ly")):
        words = words[1:]
    if not words:
        return None
    first, *others = words
    form = VERB_FORMS.get(first)
    if instruction.rstrip().endswith("?") or first in _QUESTION_WORDS:
        return "question"
    if form == "base":
        return "imperative"
    if form == "gerund" or (first.endswith("ing") and first not in _NOT_GERUNDS):
        return "gerund"
    if form in ("third", "past"):
        return "declarative"
    if first in DETERMINERS | PRONOUNS | _ACTORS:
        finite = {word for word in others if word in _FINITE or VERB_FORMS.get(word) in ("third", "past")}
        return "declarative" if finite or (first in PRONOUNS and others and VERB_FORMS.get(others[0])) else None
    return None


def _case(text: str) -> str | None:
    """Return "in capitals", "with a capital first" or "in lower case", or None if the text has no letters.

    Apart from a text all in capitals, only the first letter counts.
    """
    letters = [letter for letter in text if letter.isalpha()]
    if not letters:
        return None
    if len(letters) > 1 and all(letter.isupper() for letter in letters):
        return "in capitals"
    return "with a capital first" if letters[0].isupper() else "in lower case"


def _ending(text: str) -> str | None:
    """Return "without punctuation at the end" or, for example, "with '.' at the end"; None if empty or a question."""
    last = text.strip()[-1:]
    if not last or last == "?":  # questions are reported as a style
        return None
    return "without punctuation at the end" if last.isalnum() else f"with {last!r} at the end"


def _typing_errors(groups: Mapping[str, tuple[int, ...]]) -> list[Finding]:
    """Find instructions that have no words, more than MAX_WORDS, or leading, trailing or double spaces."""
    findings = []
    for text, episodes in groups.items():
        if not (words := text.split()):
            findings.append(Finding(text, episodes, "empty", "it has no words"))
        elif len(words) > MAX_WORDS:
            findings.append(Finding(text, episodes, "too long", f"{len(words)} words, more than {MAX_WORDS}"))
        if words and text != " ".join(words):
            findings.append(Finding(text, episodes, "stray spaces", f"without them it is {' '.join(words)!r:.80}"))
    return findings


def _mixed(
    groups: Mapping[str, tuple[int, ...]], problem: Problem, classify: Callable[[str], Hashable | None]
) -> list[Finding]:
    """Find the instructions whose class, such as their style, differs from the most frequent one among the episodes.

    Args:
      groups: {instruction: numbers of its episodes}.
      problem: Kind of the findings.
      classify: Function from an instruction to its class. Instructions of class None are ignored.
    """
    kinds = {text: kind for text in groups if (kind := classify(text)) is not None}
    episodes = Counter[Hashable]()
    for text, kind in kinds.items():
        episodes[kind] += len(groups[text])
    if len(episodes) < 2:
        return []
    (most_common, count), total = episodes.most_common(1)[0], episodes.total()
    return [
        Finding(text, groups[text], problem, f"{kind}, where {count} of {total} episodes are {most_common}")
        for text, kind in kinds.items()
        if kind != most_common
    ]


def _duplicates(groups: Mapping[str, tuple[int, ...]]) -> list[Finding]:
    """Find the instructions that differ from an earlier one only in case, punctuation or spaces.

    The earlier one is not reported. An instruction without words has no duplicates.
    """
    same_words = defaultdict(list)
    for text in groups:
        same_words[" ".join(re.findall(r"\w+", text.lower()))].append(text)
    return [
        Finding(text, groups[text], "duplicate", f"but for case, punctuation or spaces the same as {first!r:.80}")
        for words, (first, *others) in same_words.items()
        if words
        for text in others
    ]


def _contradictions(groups: Mapping[str, tuple[int, ...]], metadata: Mapping[int, Mapping[str, Any]]) -> list[Finding]:
    """Return one finding for each contradiction of an instruction, with the episodes whose metadata it contradicts.

    Args:
      groups: {instruction: numbers of its episodes}.
      metadata: {episode number: metadata}; see `find_contradictions` for what contradicts them.
    """
    nouns = frozenset().union(*map(named_nouns, metadata.values()))
    found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for text, episodes in groups.items():
        for episode in episodes:
            for evidence in find_contradictions(text, metadata.get(episode, {}), nouns):
                found[text, evidence].append(episode)
    return [Finding(text, tuple(episodes), "contradiction", evidence) for (text, evidence), episodes in found.items()]
