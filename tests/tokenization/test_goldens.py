"""One timestep of each kind of task, position by position, as committed in goldens/.

`WRITE_GOLDENS=1 pytest tests/tokenization/test_goldens.py` writes them anew; read the difference before committing.
"""

import os
import pathlib

import numpy as np
import pytest

from gato_jax.tokenization import ImageCodec, Layout, Tokenization
from tests.tokenization.made_tasks import CAPTION, CONTROL, DIALOGUE, GAME, GRID, ROBOT, episode_of

GOLDENS = pathlib.Path(__file__).parent / "goldens"
HEADER = "index kind                       id local loss         range  patch: rows, columns\n"


def gradient(height: int, width: int) -> np.ndarray:
    return np.broadcast_to(np.arange(width, dtype=np.uint8)[None, :, None], (1, height, width, 3))


STEPS = [
    (
        CONTROL,
        {"position": np.array([[0.0, 1.0, -1.0]]), "velocity": np.array([[0.1, -300.0]])},
        {"action": np.array([[-1.0, 0.5]])},
    ),
    (
        GRID,
        {
            "image": np.array([[[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 0]]]]),
            "direction": np.array([3]),
            "mission": np.array(["go to the red ball"], object),
        },
        {"action": np.array([2])},
    ),
    (GAME, {"image": gradient(80, 64)}, {"action": np.array([17])}),
    (
        ROBOT,
        {
            "camera/front": gradient(32, 32),
            "camera/wrist": gradient(32, 16),
            "instruction": np.array(["stack red on blue"], object),
            "joints": np.array([[0.25, -2.0, 3.14159]]),
        },
        {"arm": np.array([[-0.5, 0.0, 0.4999]]), "gripper": np.array([1])},
    ),
    (CAPTION, {"image": gradient(32, 32)}, {"caption": np.array(["a red maple leaf"], object)}),
    (DIALOGUE, {}, {"text": np.array(["How are you?\nFine, thanks."], object)}),
]


def table(spec, observation, action) -> str:
    """One line for each position."""
    layout = Layout(spec, Tokenization())
    (step,) = layout.encode(episode_of(spec, observation, action))
    kinds = []
    for key, codec in layout.observation_codecs.items():
        size = len(codec.intervals) if isinstance(codec, ImageCodec) else len(codec.encode(observation[key][0]))
        kinds += [key] * size
    kinds += [] if layout.pure_text else ["separator"]
    for key, codec in layout.action_codecs.items():
        kinds += [f"action {key}"] * len(codec.encode(action[key][0]))
    intervals = {int(slot): interval for slot, interval in zip(step.patch_slots, step.patch_intervals, strict=True)}
    lines = [HEADER]
    for i, kind in enumerate(kinds):
        low, high = step.action_range[i]
        loss, valid = "loss" if step.loss_mask[i] else "-", f"[{low}, {high})" if high else "-"
        line = f"{i:5} {kind:20} {step.token_ids[i]:8} {step.local_position[i]:5} {loss:>4} {valid:>13}"
        if i in intervals:
            row, row_end, column, column_end = intervals[i]
            line += f"  [{row}, {row_end}) [{column}, {column_end})"
        lines.append(line + "\n")
    assert len(kinds) == len(step)
    return "".join(lines)


@pytest.mark.parametrize("spec, observation, action", STEPS, ids=[spec.task for spec, _, _ in STEPS])
def test_a_timestep_is_laid_out_as_committed(spec, observation, action):
    path = GOLDENS / f"{spec.task}.txt"
    found = table(spec, observation, action)
    if os.environ.get("WRITE_GOLDENS"):
        path.write_text(found)
        pytest.skip(f"wrote {path.name}")
    assert found == path.read_text()
