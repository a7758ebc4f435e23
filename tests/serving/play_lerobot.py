"""A simulated robot for LeRobot's own commands; run in an environment of LeRobot that has its policy `gato`.

    python play_lerobot.py eval|record FILE FLAGS

runs `lerobot-eval` or `lerobot-record` with flags, and writes what the robot saw and executed to FILE.npz, in the
order of the steps.
"""

# pyright: reportMissingImports=false
# The environment in which the linters run has no lerobot.

import dataclasses
import sys

import gymnasium
import numpy as np
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig
from lerobot.robots import Robot, RobotConfig
from lerobot.scripts import lerobot_eval, lerobot_record

TEXT, STEPS = "lift the cube", 6
SEEN: dict[int, list] = {}


def sense(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return angles and a picture."""
    return rng.normal(size=3).astype(np.float32), rng.integers(256, size=(48, 64, 3), dtype=np.uint8)


@EnvConfig.register_subclass("made")
@dataclasses.dataclass
class MadeEnv(EnvConfig):
    task: str | None = "robot"
    fps: int = 20
    features: dict[str, PolicyFeature] = dataclasses.field(
        default_factory=lambda: {
            "action": PolicyFeature(type=FeatureType.ACTION, shape=(2,)),
            "agent_pos": PolicyFeature(type=FeatureType.STATE, shape=(3,)),
            "pixels/front": PolicyFeature(type=FeatureType.VISUAL, shape=(48, 64, 3)),
        }
    )
    features_map: dict[str, str] = dataclasses.field(
        default_factory=lambda: {
            "action": "action",
            "agent_pos": "observation.state",
            "pixels/front": "observation.images.front",
        }
    )
    package_name = "gym_made"

    @property
    def gym_kwargs(self):
        return {}


class Simulated(gymnasium.Env):
    """Noise, which does not depend on the actions."""

    metadata = {"render_fps": 20, "render_modes": ["rgb_array"]}
    observation_space = gymnasium.spaces.Dict(
        {
            "agent_pos": gymnasium.spaces.Box(-9, 9, (3,), np.float32),
            "pixels": gymnasium.spaces.Dict({"front": gymnasium.spaces.Box(0, 255, (48, 64, 3), np.uint8)}),
        }
    )
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    task = task_description = TEXT

    def __init__(self):
        self.steps = SEEN.setdefault(len(SEEN), [])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self._look(), {}

    def _look(self):
        self.now = sense(self.np_random)
        return {"agent_pos": self.now[0], "pixels": {"front": self.now[1]}}

    def step(self, action):
        self.steps.append((*self.now, action))
        self.count += 1
        return self._look(), 0.0, self.count == STEPS, False, {"is_success": self.count == STEPS}

    def render(self):
        return self.now[1]


gymnasium.register("gym_made/robot", Simulated, max_episode_steps=STEPS)


@RobotConfig.register_subclass("made")
@dataclasses.dataclass(kw_only=True)
class MadeRobotConfig(RobotConfig):
    pass


class MadeRobot(Robot):
    config_class, name = MadeRobotConfig, "made"
    cameras: dict = {}
    observation_features = {"a.pos": float, "b.pos": float, "c.pos": float, "front": (48, 64, 3)}
    action_features = {"x.pos": float, "y.pos": float}
    is_connected, is_calibrated = False, True

    def connect(self, calibrate=True):
        self.rng, self.steps = np.random.default_rng(0), SEEN.setdefault(0, [])

    def get_observation(self):
        self.now = sense(self.rng)
        return {**dict(zip(("a.pos", "b.pos", "c.pos"), self.now[0].tolist(), strict=True)), "front": self.now[1]}

    def send_action(self, action):
        self.steps.append((*self.now, np.float32([action["x.pos"], action["y.pos"]])))
        return action

    def disconnect(self):
        pass

    calibrate = configure = disconnect


if __name__ == "__main__":
    command, file = sys.argv[1:3]
    sys.argv[1:3] = []
    {"eval": lerobot_eval, "record": lerobot_record}[command].main()
    names = ("joints", "front", "action")
    columns = {number: zip(*steps, strict=True) for number, steps in SEEN.items()}
    np.savez(
        file, **{f"{n}_{name}": np.stack(c) for n, cs in columns.items() for name, c in zip(names, cs, strict=True)}
    )
