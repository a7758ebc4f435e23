"""Golden tables that a person can read: the mu-law, and the layout of the first steps of real episodes.

The episodes are those of record_goldens.py. `WRITE_GOLDENS=1 pytest tests/tokenization/test_goldens.py` writes the
tables anew; read the difference before committing.
"""

import math
import os
import pathlib

import numpy as np
import pytest

from gato_jax.episodes import Continuous
from gato_jax.tokenization import ContinuousCodec, Layout, Token, Tokenization, TokenSequence, describe
from tests.tokenization.record_goldens import GOLDENS, load

RECORDED = sorted(GOLDENS.glob("*.npz"))
SHOWN = (0, 1e-6, 0.001, 0.01, 0.1, 0.25, 0.5, 1, 2, 3.14159, 10, 50, 100, 255, 256, 1000, 1e30)
HEADER = (
    "index side        key              kind        element      id local loss           range  value, or patch: rows, "
    "columns, mean rgb\n"
)


def compare(path: pathlib.Path, found: str):
    if os.environ.get("WRITE_GOLDENS"):
        path.write_text(found)
        pytest.skip(f"wrote {path.name}")
    assert found == path.read_text()


def mu_law_columns(x: float, m: float) -> str:
    codec = ContinuousCodec(modality=Continuous(shape=()), companded=True, m=m)
    compressed = math.copysign(math.log(abs(x) * 100 + 1) / math.log(m * 100 + 1), x)
    token = codec.encode(np.float64(x))
    return f"{compressed:>9.5f} {int(token[0]) - 32_000:5} {int(token[0]):6} {float(codec.decode(token)):>13.6g}"


def test_the_mu_law_table_is_as_committed():
    title = f"{'':12} | paper: ln(|x| 100 + 1) / ln(256 100 + 1) | without M: ln(|x| 100 + 1) / ln(100 + 1)\n"
    names = f"{'F(x)':>9} {'bin':>5} {'id':>6} {'decoded':>13}"
    lines = [title, f"{'x':>12} |    {names} |    {names}\n"]
    for x in [*(-x for x in reversed(SHOWN[1:])), *SHOWN]:
        lines.append(f"{x:>12g} |    {mu_law_columns(x, 256.0)} |    {mu_law_columns(x, 1.0)}\n")
    compare(GOLDENS / "mu_law.txt", "".join(lines))


def test_every_mix_of_modalities_is_recorded():
    kinds = {
        frozenset(type(m).__name__ for m in {**spec.observation, "action": None}.values() if m) for spec in specs()
    }
    assert {"Continuous"} in kinds and {"Image"} in kinds and {"Discrete", "Text"} in kinds
    assert {"Image", "Text", "Continuous"} in kinds and frozenset() in kinds  # the last is pure text
    actions = {type(modality).__name__ for spec in specs() for modality in spec.action.values()}
    assert actions == {"Continuous", "Discrete", "Text"}


def specs():
    return [load(path)[0] for path in RECORDED]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_real_episode_is_laid_out_as_committed(path):
    spec, episode = load(path)
    layout = Layout(spec, Tokenization())
    first, *later = layout.encode_timesteps(episode)
    about = f"{spec.name}: {len(episode)} steps; {episode.provenance.source}; {episode.provenance.licence}\n"
    lines = [about, "\nstep 0\n", HEADER, *step_lines(first, describe(layout, first))]
    if later:
        lines.append("\nlater steps: ids, a patch as .\n")
    for number, step in enumerate(later, start=1):
        ids = [str(token) for token in step.token_ids]
        for slot in step.patch_slots:
            ids[slot] = "."
        lines.append(f"step {number}: {' '.join(ids)}\n")
    compare(path.with_suffix(".txt"), "".join(lines))


def test_an_episode_that_begins_with_the_text_of_its_task_is_laid_out_as_committed():
    spec, episode = load(GOLDENS / "babyai_GoToRedBallGrey-v0.npz")
    layout = Layout(spec, Tokenization(task_text_first=True), task_text="go to the red ball")
    first, second, *_ = layout.encode_timesteps(episode)
    lines = ["\nstep 0\n", HEADER, *step_lines(first, describe(layout, first))]
    lines += ["\nstep 1\n", HEADER, *step_lines(second, describe(layout, second))]
    compare(GOLDENS / "babyai_task_text_first.txt", "".join(lines))


def step_lines(step: TokenSequence, tokens: list[Token]) -> list[str]:
    """Return a table with one line for each position."""
    patches = {int(slot): patch for patch, slot in enumerate(step.patch_slots)}
    lines = []
    for i, token in enumerate(tokens):
        low, high = step.action_range[i]
        loss, valid = "loss" if step.loss_mask[i] else "-", f"[{low}, {high})" if high else "-"
        line = f"{i:5} {token.side:11} {token.key:16} {token.kind:11} {token.element:7} "
        line += f"{step.token_ids[i]:7} {step.local_position[i]:5} {loss:>4} {valid:>15}  "
        if i in patches:
            row, row_end, column, column_end = step.patch_intervals[patches[i]]
            mean = np.rint(step.patches[patches[i]].mean((0, 1))).astype(int).tolist()
            line += f"[{row}, {row_end}) [{column}, {column_end}) {mean}"
        elif isinstance(token.value, float):
            line += f"{token.value:.6g}"
        elif token.value is not None:
            line += str(token.value)
        lines.append(line.rstrip() + "\n")
    return lines
