"""Keys of the actions of games: buttons that are pressed together, such as `UPRIGHTFIRE` or `TURN_LEFT+ATTACK`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

ARROWS = ("ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight")
_IDLE = frozenset({"noop", "nop", "-", ""})
_JOYSTICK = re.compile(r"(UP|DOWN)?(LEFT|RIGHT)?(FIRE)?")  # ALE's names, such as DOWNLEFTFIRE

# Keys in the order in which they are tried for a button; a suite's own names come after those of the arrows.
_WANTED = {
    "up": ("ArrowUp",), "forward": ("ArrowUp",), "move_forward": ("ArrowUp",),
    "down": ("ArrowDown",), "back": ("ArrowDown",), "move_back": ("ArrowDown",), "move_backward": ("ArrowDown",),
    "left": ("ArrowLeft",), "turn_left": ("ArrowLeft",), "right": ("ArrowRight",), "turn_right": ("ArrowRight",),
    "move_left": ("ArrowLeft", "a"), "move_right": ("ArrowRight", "d"),
    "fire": (" ",), "attack": (" ",), "toggle": (" ",), "use": (" ",), "jump": (" ",),
    "pickup": ("p",), "drop": ("d",), "done": ("Enter",), "end_episode": ("Enter",), "select_next_weapon": ("n",),
}  # fmt: skip
_SPARE = "1234567890abcdefghijklmnopqrstuvwxyz"


def split_buttons(name: str) -> frozenset[str]:
    """Return the buttons that an action presses together, in lower case; none for an action that does nothing."""
    if name.lower() in _IDLE:
        return frozenset()
    if match := _JOYSTICK.fullmatch(name):
        return frozenset(part.lower() for part in match.groups() if part)
    return frozenset(part.lower() for part in name.split("+"))


def assign_keys(buttons: Iterable[str]) -> dict[str, str]:
    """Return {button: key} with another key for each button, as `KeyboardEvent.key` names it; letters in lower case.

    A button has the key that games use for it, else its own name if that is a key, else a letter of its name.
    """
    ordered = sorted(dict.fromkeys(buttons), key=lambda button: button.startswith("move_"))  # turns have the arrows
    keys: dict[str, str] = {}
    for button in [*(b for b in ordered if b in _WANTED), *(b for b in ordered if b not in _WANTED)]:
        wished = (*_WANTED.get(button, ()), *(letter for letter in button if letter in _SPARE), *_SPARE)
        keys[button] = next(key for key in wished if key not in keys.values())
    return keys


class Buttons:
    """The buttons of one discrete action, whose values each press some of them together.

    Attributes:
      keys: {key: its button}, in the order of the values.
      idle: The value that presses nothing; None if there is none.
    """

    def __init__(self, names: Sequence[str]):
        """Assign keys to the values of an action, which have these names.

        More than 36 buttons leave those without a key out.
        """
        combinations = [split_buttons(name) for name in names]
        buttons = list(dict.fromkeys(button for one in combinations for button in sorted(one)))[: len(_SPARE)]
        self.keys = {key: button for button, key in assign_keys(buttons).items()}
        self._values: dict[frozenset[str], int] = {}
        for value, combination in enumerate(combinations):
            self._values.setdefault(combination, value)
        self.idle = self._values.get(frozenset())

    def value(self, held: Sequence[str]) -> int | None:
        """Return the value whose buttons are those of the held keys.

        If there is none, it is one with as many of these buttons as possible, with those that were pressed last first;
        None if there is no such value.

        Args:
          held: The keys that are held, in the order in which they were pressed.
        """
        pressed = [self.keys[key] for key in held if key in self.keys]
        while pressed:
            fitting = [one for one in self._values if one <= set(pressed) and pressed[-1] in one]
            if fitting:
                return self._values[max(fitting, key=len)]
            pressed.pop()  # no value has this button together with others that are held
        return self.idle
