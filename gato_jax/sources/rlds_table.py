"""The RLDS datasets of others that are known by name: what their fields mean, which RLDS itself does not say."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from gato_jax.episodes import Camera, Continuous, Embodiment, Gripper, Image, Modality, Provenance, TaskSpec, Text


@dataclasses.dataclass(frozen=True, kw_only=True)
class RldsTable:
    """One dataset of others.

    Attributes:
      suite, task: the name of its task here.
      images: {our observation key: the field of a step}; resized by area averaging to the size the reader is asked for.
      observation, action: {our key: (the field of a step, its modality)}.
      control_rate_hz, robot, gripper: of the real equipment.
      provenance: of the real recordings. A `provenance.json` beside the files says otherwise for any other.
    """

    suite: str
    task: str
    images: Mapping[str, str]
    observation: Mapping[str, tuple[str, Modality]]
    action: Mapping[str, tuple[str, Modality]]
    control_rate_hz: float
    robot: str
    gripper: Gripper
    provenance: Provenance

    def spec(self, image_size: tuple[int, int], control_rate_hz: float, equipment: str) -> TaskSpec:
        """The task with images of (height, width), at the rate and on the equipment of these recordings."""
        height, width = image_size
        images = {key: Image(height=height, width=width) for key in self.images}
        return TaskSpec(
            suite=self.suite,
            task=self.task,
            observation=images | {key: modality for key, (_, modality) in self.observation.items()},
            action={key: modality for key, (_, modality) in self.action.items()},
            control_rate_hz=control_rate_hz,
            embodiment=Embodiment(
                robot=equipment, gripper=self.gripper, cameras=tuple(Camera(key=key) for key in images)
            ),
        )


# BridgeData V2 as its own laboratory publishes it in RLDS (rail.eecs.berkeley.edu/datasets/bridge_release/data/tfds),
# which Open X-Embodiment includes. Of its four cameras the first two are used: image_0 looks over the shoulder in every
# episode, image_1 from another side in many and is black where there is none.
#
# State: position of the end effector (metres), roll, pitch, yaw (radians), opening of the gripper in [0, 1].
# Action, at each step of 0.2 s: the change of that position and of those angles, and the gripper's command, 0 closed
# and 1 open. The limits: the 1% and 99% quantiles of the published action statistics are within 0.042 m and 0.208 rad;
# the extremes, 0.4 m and 6.3 rad, are no motion of the arm in 0.2 s and so no limits to scale by. What lies outside is
# clipped when it becomes a token.
BRIDGE = RldsTable(
    suite="open_x",
    task="bridge_dataset",
    images={"image_0": "observation/image_0", "image_1": "observation/image_1"},
    observation={
        "instruction": ("language_instruction", Text()),
        "state": ("observation/state", Continuous(shape=(7,))),
    },
    action={
        "action": (
            "action",
            Continuous(shape=(7,), low=(-0.05,) * 3 + (-0.25,) * 3 + (0.0,), high=(0.05,) * 3 + (0.25,) * 3 + (1.0,)),
        )
    },
    control_rate_hz=5.0,
    robot="WidowX 250",
    gripper=Gripper(kind="continuous", action="action", elements=(6,)),
    provenance=Provenance(
        source="BridgeData V2, bridge_dataset 1.0.0",
        licence="CC-BY-4.0",
        kind="real",
        collector="RAIL, UC Berkeley, and partners",
        equipment="WidowX 250",
        agent="teleoperation and scripted policies",
    ),
)

RLDS_DATASETS: dict[str, RldsTable] = {"bridge_dataset": BRIDGE}
