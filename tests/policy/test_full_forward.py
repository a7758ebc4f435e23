"""The logits of the compiled `act` are those of a reference model over whole sequences under the same banded mask.

The actions of given episodes are forced: the range of valid ids of each action token holds its id alone.
"""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from gato_jax.policy import Decoding, MixedPolicy, Prompt, Temperature
from gato_jax.tokenization.sequence import concatenate
from tests.model import reference
from tests.policy.made_agent import made_agent, steps_of
from tests.tokenization.made_tasks import CONTROL, GRID, random_episode

LOGITS = []
STEPS = 16
CONTEXT = 41  # a prompt of two timesteps of CONTROL and a window of three
WINDOW = 24


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watched(Temperature):
    """Sampling that notes the logits of each token in LOGITS."""

    def keep(self, logits, valid):
        jax.debug.callback(lambda found: LOGITS.append(np.array(found)), logits, ordered=True)
        return valid


def forced(policy, steps):
    """Return {row: logits (A, V)} of the action tokens of given timesteps {row: tokens}, decoded in these rows."""
    counts = {row: int((step.action_range[:, 1] > 0).sum()) for row, step in steps.items()}
    for row, step in steps.items():
        ids = step.token_ids[-counts[row] :]
        policy._table.ranges[row] = np.stack([ids, ids + 1], axis=1)
    policy._padded.clear()
    LOGITS.clear()
    chosen = policy.decode({row: step.slice(0, len(step) - counts[row]) for row, step in steps.items()})
    jax.effects_barrier()
    for row, step in steps.items():
        np.testing.assert_array_equal(chosen[row, : counts[row]], step.token_ids[-counts[row] :])
    return {row: np.stack([found[row] for found in LOGITS[:count]]) for row, count in counts.items()}


def windows(prompt, lengths, context):
    """Return, for each token of a prompt and of timesteps, the keys that it sees: pairs (index, distance)."""
    seen = [[(j, i - j) for j in range(i + 1)] for i in range(prompt)]
    for step in range(len(lengths)):
        first = next(s for s in range(step + 1) if prompt + sum(lengths[s : step + 1]) <= context)
        begin, dropped = prompt + sum(lengths[:first]), sum(lengths[:first])
        for i in range(prompt + sum(lengths[:step]), prompt + sum(lengths[: step + 1])):
            pinned = [(j, i - dropped - j) for j in range(prompt)]
            seen.append(pinned + [(j, i - j) for j in range(begin, i + 1)])
    return seen


class Reference:
    """The reference model with the params of an agent, over whole sequences without images."""

    def __init__(self, agent, policy):
        self.params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), nnx.to_pure_dict(agent.params))
        self.context = policy.context
        self.head = self.params["embedding"]["tokens"][np.asarray(policy.network.head_ids)]

    def __call__(self, steps, prompt):
        """Return the logits (A, V) of the action tokens of each timestep of an episode, after a prompt or None."""
        sequence = concatenate([*([prompt] if prompt else []), *steps])
        table = self.params["embedding"]
        x = table["tokens"][sequence.token_ids] + table["local"][sequence.local_position]
        lengths, before = [len(step) for step in steps], len(prompt) if prompt else 0
        x = reference.blocks(self.params, x, windows(before, lengths, self.context))
        logits = reference.layer_norm(self.params["norm"], x) @ self.head.T
        ends = before + np.cumsum(lengths)
        counts = [int((step.action_range[:, 1] > 0).sum()) for step in steps]
        return [logits[end - count - 1 : end - 1] for end, count in zip(ends, counts, strict=True)]


@pytest.mark.parametrize("prompted", [False, True], ids=["unprompted", "prompted"])
@pytest.mark.parametrize("position", ["relative_xl", "rope"])
def test_decoding_by_the_ring_is_the_full_forward_under_the_same_banded_mask(position, prompted):
    """Three rows of two tasks: one is idle at times, one begins anew, and of three only two have prompts."""
    agent = made_agent(context=CONTEXT, position=position, head_size=16)
    agent.params["embedding"]["tokens"][...] *= 50.0
    policy = MixedPolicy(agent, 3, sampling=Watched(), decoding=Decoding(dtype="float32"))
    whole = Reference(agent, policy)
    prompts = {
        (0, 0): Prompt.of(agent, random_episode(CONTROL, 90, 7)),
        (2, 6): Prompt.of(agent, random_episode(CONTROL, 91, 7), steps=1),
    }
    prompts = prompts if prompted else {}
    episodes = {
        (0, 0): steps_of(CONTROL, 1, STEPS), (1, 0): steps_of(GRID, 2, STEPS // 2),
        (2, 0): steps_of(CONTROL, 3, 6), (2, 6): steps_of(CONTROL, 4, STEPS - 6),
    }  # fmt: skip
    playing, done, found = {}, {}, {start: [] for start in episodes}
    for time in range(STEPS):
        for row, begin in episodes:
            if begin == time:
                policy.reset(row, GRID.name if row == 1 else CONTROL.name, 0, prompt=prompts.get((row, begin)))
                playing[row], done[row] = (row, begin), 0
        active = [row for row in playing if row != 1 or time % 2 == 0]
        steps = {row: episodes[playing[row]][done[row]] for row in active}
        for row, logits in forced(policy, steps).items():
            found[playing[row]].append(logits)
            done[row] += 1
    assert sum(map(len, episodes[0, 0])) >= CONTEXT + 3 * WINDOW
    for start, steps in episodes.items():
        prompt = prompts.get(start)
        for logits, expected in zip(found[start], whole(steps, prompt and prompt.tokens), strict=True):
            np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
