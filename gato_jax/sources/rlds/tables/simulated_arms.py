"""Simulated Franka Pandas as TFDS prepares them: robomimic and robosuite.

The features are those of TFDS's builders. Actions are the inputs of robosuite's operational-space controller,
normalised to [-1, 1]. The last step of an episode holds the final observation without an action.
"""

from __future__ import annotations

from collections.abc import Iterator

from gato_jax.episodes import Camera, Embodiment, Gripper, Provenance
from gato_jax.sources.fields import Fields
from gato_jax.sources.rlds.tables.entry import RldsEntry, box, images, vector

_ACTION_MEANING = "normalised change of position and of axis-angle; gripper 1 closed, -1 open; one arm after the other"
_ROBOT = {"eef_pos": 3, "eef_quat": 4, "gripper_qpos": 2, "joint_pos": 7, "joint_vel": 7}
_SOURCES = {
    "ph": ("lift can square transport tool_hang", "one proficient person, teleoperation"),
    "mh": ("lift can square transport", "six people, teleoperation"),
    "mg": ("lift can", "soft actor-critic in training"),
}
_OBJECT = {"lift": 10, "can": 14, "square": 14, "transport": 41, "tool_hang": 44}
_TWO_CAMERAS = ("agentview_image", "robot0_eye_in_hand_image")
_CAMERAS = {
    "tool_hang": ("sideview_image", "robot0_eye_in_hand_image"),
    "transport": (
        "shouldercamera0_image",
        "shouldercamera1_image",
        "robot0_eye_in_hand_image",
        "robot1_eye_in_hand_image",
    ),
}


def _entry(suite: str, task: str, state: dict[str, int], cameras: tuple[str, ...], provenance: Provenance, arms: int):
    """Return name and entry of one dataset.

    Args:
      suite: Name of the dataset in TFDS.
      task: Name of its configuration.
      state: {observation key: size of the vector}.
      cameras: Observation keys of the images.
      provenance: Provenance of the recordings.
      arms: Number of arms, 1 or 2; an arm takes seven numbers of the action.
    """
    gripper = Gripper(kind="continuous", action="action", elements=(6,)) if arms == 1 else None
    fields = Fields(
        suite=suite,
        task=task,
        observation={
            **images({key: f"observation/{key}" for key in cameras}),
            **{key: (f"observation/{key}", vector(size)) for key, size in state.items()},
        },
        action={"action": ("action", box((7 * arms, -1.0, 1.0)))},
        provenance=provenance,
        control_rate_hz=20.0,
        embodiment=Embodiment(
            robot="simulated Franka Panda" if arms == 1 else "two simulated Franka Pandas",
            gripper=gripper,
            cameras=tuple(Camera(key=key) for key in cameras),
        ),
        reward="reward",
    )
    return f"{suite}/{task}", RldsEntry(fields=fields, action_meaning=_ACTION_MEANING, final_observation=True)


def _robomimic() -> Iterator[tuple[str, RldsEntry]]:
    """Yield (`SUITE/TASK`, entry) of robomimic, for each task with images, and with the state of objects instead."""
    for source, (tasks, agent) in _SOURCES.items():
        for task in tasks.split():
            arms = 2 if task == "transport" else 1
            state = {f"robot{arm}_{key}": size for arm in range(arms) for key, size in _ROBOT.items()}
            for kind in ("image", "low_dim"):
                cameras = _CAMERAS.get(task, _TWO_CAMERAS) if kind == "image" else ()
                provenance = Provenance(
                    source=f"robomimic, {task}/{source}",
                    licence="MIT",
                    kind="simulated",
                    collector="ARISE Initiative",
                    equipment="robosuite",
                    agent=agent,
                )
                objects = {"object": _OBJECT[task]} if kind == "low_dim" else {}  # images show the objects
                yield _entry(
                    f"robomimic_{source}", f"{task}_{source}_{kind}", objects | state, cameras, provenance, arms
                )


def _robosuite() -> Iterator[tuple[str, RldsEntry]]:
    """Yield (`SUITE/TASK`, entry) of robosuite's `robosuite_panda_pick_place_can`."""
    agents = {
        "human_dc29b40a": "one person with a gamepad",
        "human_images_dc29b40a": "one person with a gamepad",
        "synthetic_stochastic_sac_afe13968": "a stochastic soft actor-critic",
    }
    for task, agent in agents.items():
        seen = ("birdview_image", "robot0_eye_in_hand_image") if "images" in task else ()
        provenance = Provenance(
            source=f"robosuite_panda_pick_place_can, {task}",
            licence="unknown",
            kind="simulated",
            collector="Google",
            equipment="robosuite",
            agent=agent,
        )
        state = {"object-state": 14, "robot0_proprio-state": 32}
        yield _entry("robosuite_panda_pick_place_can", task, state, seen, provenance, 1)


SIMULATED_ARMS: dict[str, RldsEntry] = dict((*_robomimic(), *_robosuite()))
