"""Instructions generated from the name of a task, in several phrasings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from gato_jax.sources.instructions.templates import Template
from gato_jax.sources.instructions.words import DETERMINERS, PREPOSITIONS, VERB_FORMS

# Templates of tasks for which the rule in `_instruction_from_words` gives no good sentence. Keys are suite/task,
# suite/domain, suite/* or */task.
_KNOWN_TASKS = {
    "meta_world/assembly": "put the {object=nut} on the {target=peg}",
    "meta_world/basketball": "put the {object=basketball} in the {target=hoop}",
    "meta_world/bin-picking": "move the {object=puck} to the {target=other bin}",
    "meta_world/button-press-wall": "press the {object=button} behind the {obstacle=wall}",
    "meta_world/coffee-button": "press the {object=button} of the {target=coffee machine}",
    "meta_world/coffee-pull": "pull the {object=mug} away from the {target=coffee machine}",
    "meta_world/coffee-push": "push the {object=mug} under the {target=coffee machine}",
    "meta_world/disassemble": "take the {object=nut} off the {target=peg}",
    "meta_world/hammer": "hammer the {object=nail} into the {target=wall}",
    "meta_world/hand-insert": "put the gripper into the {target=hole}",
    "meta_world/pick-out-of-hole": "pick the {object=puck} out of the {reference=hole}",
    "meta_world/pick-place": "pick up the {object=puck} and place it at the {target=goal}",
    "meta_world/pick-place-wall": "pick up the {object=puck} and put it past the {obstacle=wall} at the {target=goal}",
    "meta_world/plate-slide": "slide the {object=plate} into the {target=cabinet}",
    "meta_world/plate-slide-side": "slide the {object=plate} sideways into the {target=cabinet}",
    "meta_world/plate-slide-back": "slide the {object=plate} out of the {reference=cabinet}",
    "meta_world/plate-slide-back-side": "slide the {object=plate} sideways out of the {reference=cabinet}",
    "meta_world/push": "push the {object=puck} to the {target=goal}",
    "meta_world/push-back": "push the {object=puck} back to the {target=goal}",
    "meta_world/push-wall": "push the {object=puck} past the {obstacle=wall} to the {target=goal}",
    "meta_world/reach": "reach the {target=goal}",
    "meta_world/reach-wall": "reach the {target=goal} past the {obstacle=wall}",
    "meta_world/shelf-place": "place the {object=puck} on the {target=shelf}",
    "meta_world/soccer": "kick the {object=ball} into the {target=goal}",
    "meta_world/stick-pull": "pull the {object=box} with the {tool=stick}",
    "meta_world/stick-push": "push the {object=box} with the {tool=stick}",
    "meta_world/sweep": "sweep the {object=puck} off the {reference=table}",
    "meta_world/sweep-into": "sweep the {object=puck} into the {target=hole}",
    "dm_control/acrobot": "swing up the acrobot and balance it",
    "dm_control/ball_in_cup": "catch the {object=ball} in the {target=cup}",
    "dm_control/cartpole/balance": "balance the {object=pole} on the cart",
    "dm_control/cartpole/swingup": "swing up the {object=pole} and balance it on the cart",
    "dm_control/cartpole/two_poles": "balance the two poles on the cart",
    "dm_control/cartpole/three_poles": "balance the three poles on the cart",
    "dm_control/finger/spin": "spin the {object=body} with the finger",
    "dm_control/finger/turn": "turn the {object=body} to the {target=target} with the finger",
    "dm_control/fish/swim": "swim to the {target=target}",
    "dm_control/fish/upright": "turn upright and stay there",
    "dm_control/lqr": "bring the masses to rest at the origin",
    "dm_control/manipulator/bring_ball": "bring the {object=ball} to the {target=target}",
    "dm_control/manipulator/bring_peg": "bring the {object=peg} to the {target=target}",
    "dm_control/manipulator/insert_ball": "put the {object=ball} into the {target=basket}",
    "dm_control/manipulator/insert_peg": "put the {object=peg} into the {target=slot}",
    "dm_control/pendulum": "swing up the {object=pendulum} and hold it upright",
    "dm_control/point_mass": "move the {object=point mass} to the {target=target}",
    "dm_control/quadruped/escape": "walk out of the {reference=bowl}",
    "dm_control/reacher": "reach the {target=target}",
    "dm_control/stacker": "stack the {object=boxes} at the {target=target}",
    "dm_control/swimmer": "swim to the {target=target}",
    "atari/*": "play {object}",
    "captions/*": "describe the {object=image}",
    "procgen/*": "play {object}",
    "rgb_stacking/*": "stack the {object=red object} on the {target=blue object}",
    "sokoban/*": "push the {object=boxes} onto the {target=targets}",
    "*/fetch": "fetch the {object=ball}",
    "*/hop": "hop forward",
    "*/pick_and_place": "pick up the {object=block} and place it at the {target=target}",
    "*/push": "push the {object=block} to the {target=target}",
    "*/reach": "reach the {target=target}",
    "*/run": "run forward",
    "*/slide": "slide the {object=puck} to the {target=target}",
    "*/stand": "stand up",
    "*/trot": "trot forward",
    "*/walk": "walk forward",
}
# Meaning of words after the verb, as in button-press-topdown.
_MANNERS = {
    "topdown": "from above", "wall": "past the {obstacle=wall}", "side": "sideways", "back": "back",
}  # fmt: skip
# Alternatives for the beginning of a sentence.
_SYNONYMS = {
    "close the": ("shut the",), "fetch the": ("bring back the",), "go to": ("move to",),
    "pick up the": ("grasp the", "take the"), "place the": ("put the",), "press the": ("push down on the",),
    "put the": ("place the",), "reach the": ("move to the", "go to the"), "turn the": ("rotate the",),
}  # fmt: skip
_FRAMES = ("{}", "please {}", "try to {}", "{} now", "go ahead and {}", "make sure to {}")
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_VARIANT = re.compile(r"([-_]v\d+|_sparse|_easy|_hard|_pure_state)+$")
_ADVERBS = frozenset("left right forward forwards backward backwards fast slowly straight".split())


def generate_instructions(
    name: str, metadata: Mapping[str, Any] | None = None, *, count: int = 4, seed: int = 0
) -> list[str]:
    """Generate imperative phrasings of a task's instruction, beginning with the plain one.

    Args:
      name: Name of the task, `suite/task`. Tasks of Meta-World, DM Control and a few other suites are known; the words
        of any other name are turned into a sentence by rules.
      metadata: Metadata of an episode, which replace the default things of the sentence.
      count: Largest number of phrasings. Every task has six, such as `please open the drawer`, and more if its verb has
        synonyms.
      seed: Seed of the order of all phrasings after the first.

    Returns:
      The phrasings, all different.

    Raises:
      SourceError: A value of the metadata is not text.
    """
    plain = template_for_task(name).fill(metadata or {})
    clauses = [plain]
    for beginning, others in _SYNONYMS.items():
        if plain.startswith(f"{beginning} "):
            clauses += [other + plain.removeprefix(beginning) for other in others]
    first, *others = dict.fromkeys(frame.format(clause) for frame in _FRAMES for clause in clauses)
    order = np.random.default_rng((seed, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])))
    return [first, *(others[number] for number in order.permutation(len(others)))][:count]


def template_for_task(name: str) -> Template:
    """Return the instruction of the task `suite/task` as a template; metadata may replace the things in its slots.

    All slots have defaults. A task that is not known gets a sentence from the words of its name, such as
    `open the {object=drawer}` for `drawer-open-v2`, or `complete the WORDS task` if they contain no verb.
    """
    suite, _, task = name.partition("/")
    task = _VARIANT.sub("", task)
    *_, last = task.split("/")
    keys = (f"{suite}/{task}", f"{suite}/{task.split('/')[0]}", f"{suite}/*", f"*/{last}", f"*/{last.lower()}")
    words = [part.lower() for part in _PARTS.findall(last)]
    for key in keys:
        if key in _KNOWN_TASKS:
            return Template(_KNOWN_TASKS[key].replace("{object}", f"{{object={' '.join(words)}}}"))
    return Template(_instruction_from_words(words) or f"complete the {' '.join(words)} task")


def _instruction_from_words(words: list[str]) -> str | None:
    """Build the template `open the {object=drawer}` from `drawer open` or `open drawer`; None if there is no verb.

    `words` are in lower case. Words after the verb tell the manner: `topdown` becomes `from above`.
    """
    verb = next((number for number, word in enumerate(words) if VERB_FORMS.get(word) == "base"), None)
    if verb is None:
        return None
    if verb == 0:
        return _add_articles(words)
    manners = [_MANNERS.get(word, word) for word in words[verb + 1 :]]
    return " ".join([words[verb], f"the {{object={' '.join(words[:verb])}}}", *manners])


def _add_articles(words: list[str]) -> str:
    """Add articles to words such as `put red cup in bowl`, and turn the first noun into the slot `object`.

    Args:
      words: Words in lower case that begin with a verb. A noun is everything between a verb or preposition and the next
        preposition, determiner or conjunction. A single adverb such as `left` is no noun.

    Returns:
      A template, for example `put the {object=red cup} in the bowl`.
    """
    sentence, nouns = [], 0
    while words:
        word, *words = words
        precedes_noun = word in PREPOSITIONS or VERB_FORMS.get(word) == "base"
        sentence.append(word)
        noun: list[str] = []
        while precedes_noun and words and words[0] not in PREPOSITIONS | DETERMINERS | {"and", "then"}:
            noun.append(words.pop(0))
        if noun and (len(noun) > 1 or noun[0] not in _ADVERBS):
            sentence.append(f"the {{object={' '.join(noun)}}}" if not nouns else f"the {' '.join(noun)}")
            nouns += 1
        else:
            sentence += noun
    return " ".join(sentence)
