"""Recorder of goldens/*.npz, the first steps of one real episode of each mix of modalities, for test_goldens.py.

    python -m tests.tokenization.record_goldens

needs the simulators, and for emoji the font or npm; the test needs none of them. The recordings that are committed stay
what they are: record anew only to add a task.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import tempfile

import numpy as np

from gato_jax.episodes import Episode, Provenance, TaskSpec

GOLDENS = pathlib.Path(__file__).parent / "goldens"
STEPS = 4


def recorded_path(task: str) -> pathlib.Path:
    return GOLDENS / f"{task.replace('/', '_')}.npz"


def save(spec: TaskSpec, episode: Episode):
    """Write up to four steps, without instructions and embodiment, on which no token depends."""
    spec = dataclasses.replace(spec, instructions=None, embodiment=None)
    arrays = {}
    for side in ("observation", "action"):
        for key, values in getattr(episode, side).items():
            values = values[: min(STEPS, episode.acting_steps)]
            arrays[f"{side}/{key}"] = values.astype(np.str_) if values.dtype == object else values
    about = {"spec": spec.to_json(), "provenance": dataclasses.asdict(episode.provenance)}
    np.savez_compressed(recorded_path(spec.name), about=np.str_(json.dumps(about)), **arrays)


def load(path: pathlib.Path) -> tuple[TaskSpec, Episode]:
    """Read an episode that `save` wrote; rewards and discounts, which have no tokens, are zero."""
    with np.load(path, allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        sides = {"observation": {}, "action": {}}
        for name in file.files:
            side, _, key = name.partition("/")
            if key:
                sides[side][key] = file[name].astype(object) if file[name].dtype.kind == "U" else file[name]
    steps = len(next(iter(sides["action"].values())))
    at, zeros = np.arange(steps), np.zeros(steps, np.float32)
    spec = TaskSpec.from_json(about["spec"])
    episode = Episode(
        task=spec.name, **sides, reward=zeros, discount=zeros, is_first=at == 0, is_last=at < 0, is_terminal=at < 0,
        provenance=Provenance(**about["provenance"]),
    )  # fmt: skip
    return spec, episode


def main():
    from experiments.quickstart_jobs import emoji_folder
    from gato_jax.environments import RECORDING_SEEDS
    from gato_jax.environments import load as load_environment
    from gato_jax.environments.suites.fetch import CONTROL_RATE_HZ
    from gato_jax.experts import ExpertActor
    from gato_jax.rollouts import play
    from gato_jax.sources import chatterbot_dialogues, emoji_captions, open_rlds, write_bridge_dataset

    expert = functools.partial(ExpertActor, noise=None)
    for task in ("meta_world/button-press-v3", "babyai/GoToRedBallGrey-v0", "atari/gopher"):
        save(load_environment(task).task_spec, next(play(expert, [(task, RECORDING_SEEDS[0])])))
    with tempfile.TemporaryDirectory() as folder:
        robot = {"train": play(expert, [("fetch/pick_and_place", RECORDING_SEEDS[0])])}
        bridge = open_rlds(write_bridge_dataset(folder, robot, control_rate_hz=CONTROL_RATE_HZ))
        save(bridge.spec, bridge[0])
        captions = emoji_captions("train", folder=emoji_folder(pathlib.Path(folder)))
        maple_leaf = next(n for n, (_, name, _) in enumerate(captions.items) if name == "maple leaf")
        save(captions.spec, captions[maple_leaf])
    dialogues = chatterbot_dialogues("train")
    save(dialogues.spec, dialogues[0])
    for path in sorted(GOLDENS.glob("*.npz")):
        print(f"{path.stat().st_size:8} {path.name}")


if __name__ == "__main__":
    main()
