"""Instructions of tasks that come without: what the name of a task asks for, in several phrasings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from gato_jax.sources.instructions.templates import Template
from gato_jax.sources.instructions.words import DETERMINERS, PREPOSITIONS, VERB_FORMS

# What the rule would not say, or not say well: by suite/task, by suite/domain, by suite/*, by */task.
_SAID = {
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
# What a word after the verb says of the way: button-press-topdown.
_MANNERS = {
    "topdown": "from above", "wall": "past the {obstacle=wall}", "side": "sideways", "back": "back",
}  # fmt: skip
# How a verb at the beginning may be said otherwise.
_SYNONYMS = {
    "close the": ("shut the",), "fetch the": ("bring back the",), "go to": ("move to",),
    "pick up the": ("grasp the", "take the"), "place the": ("put the",), "press the": ("push down on the",),
    "put the": ("place the",), "reach the": ("move to the", "go to the"), "turn the": ("rotate the",),
}  # fmt: skip
_FRAMES = ("{}", "please {}", "try to {}", "{} now", "go ahead and {}", "make sure to {}")
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_VARIANT = re.compile(r"([-_]v\d+|_sparse|_easy|_hard|_pure_state)+$")
_ADVERBS = frozenset("left right forward forwards backward backwards fast slowly straight".split())


def instructions_for(
    name: str, metadata: Mapping[str, Any] | None = None, *, count: int = 4, seed: int = 0
) -> list[str]:
    """At most `count` imperative phrasings of what a task asks for, the plainest first.

    Args:
      name: `suite/task`; Meta-World, DM Control and a few others are known, any other is read word by word.
      metadata: of an episode; they take the place of the things that the name is known to be about.
      count: there are six of any task, and more where the verb has synonyms.
      seed: of the order of those behind the first.

    Raises:
      SourceError: the metadata are no words.
    """
    plain = template_of(name).fill(metadata or {})
    clauses = [plain]
    for beginning, others in _SYNONYMS.items():
        if plain.startswith(f"{beginning} "):
            clauses += [other + plain.removeprefix(beginning) for other in others]
    first, *others = dict.fromkeys(frame.format(clause) for frame in _FRAMES for clause in clauses)
    order = np.random.default_rng((seed, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])))
    return [first, *(others[number] for number in order.permutation(len(others)))][:count]


def template_of(name: str) -> Template:
    """What the task asks for, in the words of its name, with the things that metadata may replace as slots."""
    suite, _, task = name.partition("/")
    task = _VARIANT.sub("", task)
    *_, last = task.split("/")
    known = (f"{suite}/{task}", f"{suite}/{task.split('/')[0]}", f"{suite}/*", f"*/{last}", f"*/{last.lower()}")
    words = [part.lower() for part in _PARTS.findall(last)]
    for key in known:
        if key in _SAID:
            return Template(_SAID[key].replace("{object}", f"{{object={' '.join(words)}}}"))
    return Template(_by_rule(words) or f"complete the {' '.join(words)} task")


def _by_rule(words: list[str]) -> str | None:
    """`drawer open` and `open drawer` as `open the drawer`; None where there is no verb."""
    at = next((number for number, word in enumerate(words) if VERB_FORMS.get(word) == "base"), None)
    if at is None:
        return None
    if at == 0:
        return _with_articles(words)
    manners = [_MANNERS.get(word, word) for word in words[at + 1 :]]
    return " ".join([words[at], f"the {{object={' '.join(words[:at])}}}", *manners])


def _with_articles(words: list[str]) -> str:
    """`put red cup in bowl` with the article that each thing lacks; the first of them is the object."""
    said, things = [], 0
    while words:
        word, *words = words
        opens = word in PREPOSITIONS or VERB_FORMS.get(word) == "base"
        said.append(word)
        noun: list[str] = []
        while opens and words and words[0] not in PREPOSITIONS | DETERMINERS | {"and", "then"}:
            noun.append(words.pop(0))
        if noun and (len(noun) > 1 or noun[0] not in _ADVERBS):
            said.append(f"the {{object={' '.join(noun)}}}" if not things else f"the {' '.join(noun)}")
            things += 1
        else:
            said += noun
    return " ".join(said)
