"""RL Unplugged as TFDS prepares it: Atari, DeepMind Control, locomotion, real-world RL and DeepMind Lab.

The features are those of TFDS's builders. The release names no licence for its data. The last step of an episode holds
the final observation without an action.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gato_jax.episodes import Continuous, Discrete, Image, Modality, Provenance
from gato_jax.sources.fields import Fields
from gato_jax.sources.rlds.tables.entry import Field, RldsEntry, box, vector

NamedEntries = Iterator[tuple[str, RldsEntry]]


def _entry(
    suite: str,
    task: str,
    observation: Mapping[str, Field],
    action: tuple[str, Modality],
    *,
    meaning: str,
    agent: str,
    equipment: str,
    reward: str = "reward",
    control_rate_hz: float | None = None,
    final_reward_is_void: bool = False,
) -> tuple[str, RldsEntry]:
    """Return name and entry of the dataset `suite/task`.

    Args:
      suite: Name of the dataset in TFDS.
      task: Name of its configuration.
      observation: {observation key: (path, modality)}.
      action: (path, modality) of the only action.
      meaning: Meaning of the numbers of an action, in words.
      agent: The policy that acted, in words.
      equipment: Name of the simulator.
      reward: Path of the reward.
      control_rate_hz: Control rate in Hz, or None for tasks without physical time.
      final_reward_is_void: As in RldsEntry.
    """
    fields = Fields(
        suite=suite,
        task=task,
        observation=observation,
        action={"action": action},
        provenance=Provenance(
            source=f"RL Unplugged, {suite}/{task}",
            licence="unknown",
            kind="simulated",
            collector="DeepMind and Google",
            equipment=equipment,
            agent=agent,
        ),
        control_rate_hz=control_rate_hz,
        reward=reward,
    )
    return f"{suite}/{task}", RldsEntry(
        fields=fields,
        action_meaning=meaning,
        final_observation=True,
        final_reward_is_void=final_reward_is_void,
    )


def _vectors(sizes: Mapping[str, int], folder: str = "observation") -> dict[str, Field]:
    """Return observed vectors, {key: (`FOLDER/KEY`, modality)}, given {key: size}."""
    return {key: (f"{folder}/{key}", vector(size)) for key, size in sizes.items()}


_GAMES = (
    "Alien Amidar Assault Asterix Atlantis BankHeist BattleZone BeamRider Boxing Breakout Carnival Centipede "
    "ChopperCommand CrazyClimber DemonAttack DoubleDunk Enduro FishingDerby Freeway Frostbite Gopher Gravitar Hero "
    "IceHockey Jamesbond Kangaroo Krull KungFuMaster MsPacman NameThisGame Phoenix Pong Pooyan Qbert Riverraid "
    "RoadRunner Robotank Seaquest SpaceInvaders StarGunner TimePilot UpNDown VideoPinball WizardOfWor YarsRevenge "
    "Zaxxon"
).split()


def _atari() -> NamedEntries:
    """Yield (`SUITE/TASK`, entry) of Atari.

    Frames are grey, 84 by 84 pixels, and repeated to three channels. Games with fewer than 18 actions use the first
    ones. The catalogue calls the rewards clipped to [-1, 1]; the builder stores the unclipped ones.
    """
    for suite in ("rlu_atari", "rlu_atari_checkpoints_ordered"):
        for game in _GAMES:
            for run in range(1, 6):
                yield _entry(
                    suite,
                    f"{game}_run_{run}",
                    {"image": ("grey_to_rgb(observation)", Image(height=84, width=84))},
                    ("action", Discrete(n=18)),
                    meaning="number of the game's minimal action set",
                    agent="DQN in training",
                    equipment="Arcade Learning Environment with sticky actions",
                )


# {task: (sizes of the observations, size of the action, control rate in Hz from dm_control)}.
_CONTROL_SUITE: dict[str, tuple[dict[str, int], int, float]] = {
    "cartpole_swingup": ({"position": 3, "velocity": 2}, 1, 100.0),
    "cheetah_run": ({"position": 8, "velocity": 9}, 6, 100.0),
    "finger_turn_hard": ({"position": 4, "velocity": 3, "target_position": 2, "dist_to_target": 1}, 2, 50.0),
    "fish_swim": ({"target": 3, "velocity": 13, "upright": 1, "joint_angles": 7}, 5, 25.0),
    "humanoid_run": (
        {
            "velocity": 27,
            "com_velocity": 3,
            "torso_vertical": 3,
            "extremities": 12,
            "head_height": 1,
            "joint_angles": 21,
        },
        21,
        40.0,
    ),
    **{
        f"manipulator_insert_{thing}": (
            {
                "arm_pos": 16,
                "arm_vel": 8,
                "touch": 5,
                "hand_pos": 4,
                "object_pos": 4,
                "object_vel": 3,
                "target_pos": 4,
            },
            5,
            100.0,
        )
        for thing in ("ball", "peg")
    },
    **{f"walker_{task}": ({"orientations": 14, "velocity": 9, "height": 1}, 6, 40.0) for task in ("stand", "walk")},
}
_TORQUES = "normalised torques, or targets, of dm_control's actuators"


def _control_suite() -> NamedEntries:
    """Yield (`SUITE/TASK`, entry) of DeepMind Control."""
    for task, (sizes, action, rate) in _CONTROL_SUITE.items():
        yield _entry(
            "rlu_control_suite",
            task,
            _vectors(sizes),
            ("action", box((action, -1.0, 1.0))),
            meaning=_TORQUES,
            agent="V-MPO in training" if task.startswith("manipulator") else "D4PG in training",
            equipment="MuJoCo",
            control_rate_hz=rate,
        )


_HUMANOID = {
    "joints_vel": 56,
    "sensors_velocimeter": 3,
    "sensors_gyro": 3,
    "joints_pos": 56,
    "world_zaxis": 3,
    "body_height": 1,
    "sensors_accelerometer": 3,
    "end_effectors_pos": 12,
}
_RODENT = {
    "joints_pos": 30,
    "joints_vel": 30,
    "tendons_pos": 8,
    "tendons_vel": 8,
    "appendages_pos": 15,
    "world_zaxis": 3,
    "sensors_accelerometer": 3,
    "sensors_velocimeter": 3,
    "sensors_gyro": 3,
    "sensors_touch": 4,
}
_WALKERS = {"humanoid": (_HUMANOID, 56, 1 / 0.03), "rodent": (_RODENT, 38, 50.0)}


def _locomotion() -> NamedEntries:
    """Yield (`SUITE/TASK`, entry) of the locomotion tasks of humanoid and rodent, with vectors and a camera."""
    camera = {"egocentric_camera": ("observation/walker/egocentric_camera", Image(height=64, width=64))}
    tasks = (
        "humanoid_corridor humanoid_gaps humanoid_walls rodent_bowl_escape rodent_gaps rodent_mazes rodent_two_touch"
    )
    for task in tasks.split():
        sizes, action, rate = _WALKERS[task.split("_")[0]]
        yield _entry(
            "rlu_locomotion",
            task,
            camera | _vectors(sizes, "observation/walker"),
            ("action", box((action, -1.0, 1.0))),
            meaning=_TORQUES,
            agent="policies in training, or from motion capture",
            equipment="MuJoCo",
            control_rate_hz=rate,
        )


# The builder infers its features from the data; these are the features of the domains, without the dummy observations
# of the easy challenge.
_REAL_WORLD: dict[str, tuple[dict[str, int], int, float]] = {
    "cartpole_swingup": ({"position": 3, "velocity": 2}, 1, 100.0),
    "quadruped_walk": (
        {"egocentric_state": 44, "force_torque": 24, "imu": 6, "torso_upright": 1, "torso_velocity": 3},
        12,
        50.0,
    ),
    "walker_walk": ({"orientations": 14, "velocity": 9, "height": 1}, 6, 40.0),
    "humanoid_walk": _CONTROL_SUITE["humanoid_run"],
}


def _real_world() -> NamedEntries:
    """Yield (`SUITE/TASK`, entry) of the real-world RL suite, for each task, challenge and percentage of the data."""
    for task, (sizes, action, rate) in _REAL_WORLD.items():
        for challenge in ("none", "easy"):
            for percent in (1, 5, 20, 40, 100):
                yield _entry(
                    "rlu_rwrl",
                    f"{task}_combined_challenge_{challenge}_{percent}_percent",
                    _vectors(sizes),
                    ("action", box((action, -1.0, 1.0))),
                    meaning=_TORQUES,
                    agent="a policy that was partly trained",
                    equipment="MuJoCo",
                    reward="scalar(reward)",
                    control_rate_hz=rate,
                    final_reward_is_void=True,  # the builder repeats the first reward there
                )


_LEVELS = (
    "explore_object_rewards_few",
    "explore_object_rewards_many",
    "rooms_select_nonmatching_object",
    "rooms_watermaze",
    "seekavoid_arena01",
)
_SNAPSHOTS = tuple(f"snapshot_{number}_eps_{epsilon}" for epsilon in ("0.0", "0.01", "0.25") for number in (0, 1))


def _dmlab() -> NamedEntries:
    """Yield (`SUITE/TASK`, entry) of DeepMind Lab, for each level and run."""
    for level in _LEVELS:
        runs = ("training_0", "training_1", "training_2")
        for run in runs + (_SNAPSHOTS if level == "seekavoid_arena01" else ()):
            yield _entry(
                f"rlu_dmlab_{level}",
                run,
                {
                    "pixels": ("observation/pixels", Image(height=72, width=96)),
                    "last_action": ("observation/last_action", Discrete(n=15)),
                    "last_reward": ("observation/last_reward", Continuous(shape=())),
                },
                ("action", Discrete(n=15)),
                meaning="number of one of fifteen combined motions",
                agent="R2D2 in training" if run.startswith("training") else f"R2D2, {run}",
                equipment="DeepMind Lab",
            )


RL_UNPLUGGED: dict[str, RldsEntry] = dict((*_atari(), *_control_suite(), *_locomotion(), *_real_world(), *_dmlab()))
