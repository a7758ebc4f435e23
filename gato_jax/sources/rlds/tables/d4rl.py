"""D4RL as TFDS prepares it: Gym's MuJoCo tasks, AntMaze and the Adroit hand.

The features are those of TFDS's builders. All actions are normalised to [-1, 1]. If an episode ended in a terminal
state, or the dataset has next observations, the builder has appended a step with an observation, which is zero if D4RL
did not record it, and with an action and a discount of zero. In all other episodes the last step has a valid action,
and a discount of one.
"""

from __future__ import annotations

from collections.abc import Iterator

from gato_jax.episodes import Provenance
from gato_jax.sources.fields import Fields
from gato_jax.sources.rlds.tables.entry import RldsEntry, box, vector

# {robot: (size of the observation, size of the action, control rate of the environment in Hz)}.
_MUJOCO = {"ant": (111, 8, 20.0), "halfcheetah": (17, 6, 20.0), "hopper": (11, 3, 125.0), "walker2d": (17, 6, 125.0)}
_MUJOCO_LEVELS = {
    "v0": "expert medium medium-expert mixed random",
    "v1": "expert medium medium-expert medium-replay full-replay random",
    "v2": "expert full-replay medium medium-expert medium-replay random",
}
_ADROIT = {"door": (39, 28), "hammer": (46, 26), "pen": (45, 24), "relocate": (39, 30)}
_MAZES = "umaze umaze-diverse medium-play medium-diverse large-diverse large-play"


def _entry(suite: str, task: str, sizes: tuple[int, int], rate: float, meaning: str) -> tuple[str, RldsEntry]:
    """Return the name `SUITE/TASK` and the entry of one dataset.

    Args:
      suite: Name of the dataset in TFDS.
      task: Name of its configuration.
      sizes: Sizes of the vectors of observation and action.
      rate: Control rate in Hz.
      meaning: Meaning of the numbers of an action, in words.
    """
    observation, action = sizes
    fields = Fields(
        suite=suite,
        task=task,
        observation={"observation": ("observation", vector(observation))},
        action={"action": ("action", box((action, -1.0, 1.0)))},
        provenance=Provenance(
            source=f"D4RL, {suite}/{task}",
            licence="CC-BY-4.0",  # licence of the datasets; the code of D4RL has Apache-2.0
            kind="simulated",
            collector="UC Berkeley and Google",
            equipment="MuJoCo",
            agent=task,
        ),
        control_rate_hz=rate,
        reward="reward",
    )
    return f"{suite}/{task}", RldsEntry(
        fields=fields, action_meaning=meaning, final_observation=True, final_if_discount_is_zero=True
    )


def _entries() -> Iterator[tuple[str, RldsEntry]]:
    """Yield (`SUITE/TASK`, entry) of all datasets of D4RL."""
    for robot, (observation, action, rate) in _MUJOCO.items():
        for version, levels in _MUJOCO_LEVELS.items():
            for level in levels.split():
                sizes = observation, action
                yield _entry(f"d4rl_mujoco_{robot}", f"{version}-{level}", sizes, rate, "normalised joint torques")
    for maze in _MAZES.split():
        for version in ("v0", "v2"):
            yield _entry("d4rl_antmaze", f"{maze}-{version}", (29, 8), 10.0, "normalised joint torques")
    for task, sizes in _ADROIT.items():
        for version in ("v0", "v1"):
            for level in ("human", "cloned", "expert"):
                meaning = "normalised targets of the joints of hand and arm"
                yield _entry(f"d4rl_adroit_{task}", f"{version}-{level}", sizes, 100.0, meaning)


D4RL: dict[str, RldsEntry] = dict(_entries())
