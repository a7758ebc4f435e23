"""Actions between requests: what a robot executes while no new action is there.

| method | a new action | no new action in a tick | no new action for `hold_s` |
|---|---|---|---|
| hold | is executed at once | the last one is repeated | the safe action |
| linear | is approached over `blend_s` | the approach goes on | the safe action is approached over `blend_s` |
| safe | is executed at once | the safe action | the safe action |
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

Action = dict[str, np.ndarray]
_ROUNDING_S = 1e-6  # of the times of ticks


@dataclasses.dataclass(frozen=True)
class Smoothing:
    """The choice of what is executed between requests. `hold` suits positions, `safe` suits velocities and torques.

    Attributes:
      method: see the table of the module. `linear` blends each number by itself, so it does not suit quaternions;
        integers change at once.
      hold_s: seconds after which the last action is too old. The method `safe` does not use it.
      blend_s: seconds over which `linear` approaches a new action; one period or less is the same as `hold`.
    """

    method: Literal["hold", "linear", "safe"]
    hold_s: float = 0.5
    blend_s: float = 0.1

    def __post_init__(self):
        if self.method not in ("hold", "linear", "safe"):
            raise ValueError(f"Smoothing.method is {self.method!r}, expected hold, linear or safe.")
        for name in ("hold_s", "blend_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"Smoothing.{name} is {getattr(self, name)}, expected a positive number of seconds.")


class Smoother:
    """The actions that a robot executes, one in each tick.

    Args:
      smoothing: the choice.
      safe_action: the safe action, which is also executed before the first action.
      period_s: seconds between two ticks.
    """

    def __init__(self, smoothing: Smoothing, safe_action: Action, period_s: float):
        self._smoothing, self._safe, self._period_s = smoothing, safe_action, period_s
        self._target, self._from, self._executed = safe_action, safe_action, safe_action
        self._since = 0.0  # when the target was set
        self._received: float | None = None  # when the last action was received; None if it is too old
        self.is_safe = True

    def execute(self, new: Action | None, now: float) -> Action:
        """Return the action of a tick.

        Args:
          new: the action that has arrived since the tick before; None for none.
          now: the time of the tick in seconds.
        """
        if new is not None:
            self._aim(new, now)
            self._received, self.is_safe = now, False
        elif self._received is not None and (
            self._smoothing.method == "safe" or now - self._received > self._smoothing.hold_s + _ROUNDING_S
        ):
            self._aim(self._safe, now)
            self._received, self.is_safe = None, True
        if self._smoothing.method == "linear":
            share = min(1.0, (now - self._since + self._period_s) / self._smoothing.blend_s)
            self._executed = {key: _blend(self._from[key], goal, share) for key, goal in self._target.items()}
        else:
            self._executed = self._target
        return self._executed

    def _aim(self, target: Action, now: float):
        self._target, self._from, self._since = target, self._executed, now


def _blend(begin: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    if end.dtype.kind != "f" or share == 1:
        return end
    return (begin + share * (end - begin)).astype(end.dtype)
