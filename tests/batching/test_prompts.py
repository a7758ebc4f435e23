"""Prompts of a mixture: how many rows have them, which episodes they show, and what they leave to the piece."""

import dataclasses

import numpy as np
import pytest

from gato_jax.batching import (
    count_prompts,
    describe_prompts,
    write_records,
)
from gato_jax.batching.schedule import PromptedRows
from gato_jax.tokenization import Tokenization
from tests.batching.test_mixture import mixture
from tests.tokenization.made_tasks import CONTROL, random_episode


@pytest.mark.parametrize("sampling", [{"window": 1, "prompt_steps": 1}, {"window": 3}, {"window": "tokens"}])
def test_a_quarter_of_the_rows_have_prompts_however_many_pieces_they_hold(records, sampling):
    for context, rows in ((32, 128), (160, 64)):  # few pieces in a row, and many
        made = mixture(records, ["control"], context=context, batch_size=8, **sampling)
        plans = [made.plan(row) for row in range(rows)]
        assert [sum(plan.has_prompt for plan in plans[at : at + 64]) for at in range(0, rows, 64)] == [16] * (
            rows // 64
        )
        assert all(plan.has_prompt == plan.prompted for plan in plans)
        in_batches = {sum(plan.has_prompt for plan in plans[at : at + 8]) for at in range(0, rows, 8)}
        assert len(in_batches) > 2  # at random places, not every fourth row
    counts = count_prompts(made, 64)["control"]
    assert (counts.rows, counts.chosen, counts.prompted) == (64, 16, 16)
    assert next(describe_prompts(made, 64)).startswith("prompts: 25.0% of the first 64 rows have one, 25.0% was wanted")


def test_the_share_of_prompts_is_kept_for_shares_that_do_not_divide_the_block():
    for share in (0.0, 0.1, 1 / 3, 0.999, 1.0):
        rows = PromptedRows(share, (0,))
        assert abs(sum(row in rows for row in range(6400)) - 6400 * share) <= 0.5


def test_text_and_captions_take_no_prompts(records):
    made = mixture(records, ["caption", "dialogue", "grid"], prompt_share=1.0)
    for row in range(24):
        plan = made.plan(row)
        assert plan.has_prompt == (made.names[plan.dataset] == "grid")
    assert "2 datasets of text take none" in next(describe_prompts(made, 8))


def test_prompts_that_are_missing_are_counted_by_reason(records, tmp_path):
    tight = mixture(records, ["control"], context=15, window=1, prompt_share=1.0)
    counts = count_prompts(tight, 40)["control"]
    assert (counts.chosen, counts.prompted, counts.no_room, counts.no_other_episode) == (40, 0, 40, 0)
    line, of_control = describe_prompts(tight, 40)
    assert line == "prompts: 0.0% of the first 40 rows have one, 100.0% was wanted; 40 did not fit into the row"
    assert of_control.startswith("  control: 0 of 40 rows that should have prompts have one")
    one = write_records(tmp_path / "one", CONTROL, [random_episode(CONTROL, 0, 4)], "one", Tokenization())
    alone = mixture({"one": one}, ["one"], context=15, window=1, prompt_share=1.0)
    assert (counts := count_prompts(alone, 40)["one"]).no_other_episode == 40 and not counts.no_room


def test_a_window_that_fills_the_row_is_shortened_for_its_prompt(records):
    made = mixture(records, ["control"], context=24, window=7, prompt_share=1.0)
    for row in range(50):
        prompt, piece = made.plan(row).segments[0]
        assert prompt.prompt and prompt.keep >= 8 and piece.keep >= 8 and prompt.keep + piece.keep <= 24


def test_half_of_the_prompts_are_from_an_episodes_end(records):
    # Windows of one step in a wide row: there is always room, so nothing but the share decides.
    made = mixture(records, ["control"], context=2000, window=1, prompt_steps=1)
    segments = [segment for row in range(60) for segment in made.plan(row).segments[:100]]
    prompts = [(segment[0], segment[-1]) for segment in segments if len(segment) == 2]
    data = records["control"]
    ends = data.index.first_step + data.index.episode_steps
    # The rest are drawn uniformly, so some of them end the episode too: one in its number of steps.
    by_chance = np.mean([0.5 / data.index.episode_steps[prompt.episode] for prompt, _ in prompts])
    from_end = np.mean([prompt.stop == ends[prompt.episode] for prompt, _ in prompts])
    assert abs(from_end - 0.5 - by_chance) < 0.04
    assert all(prompt.prompt and prompt.episode != piece.episode for prompt, piece in prompts)


@pytest.mark.parametrize("predict", [False, True])
def test_prompts_are_in_the_loss_only_where_the_option_says_so(records, predict):
    made = mixture(records, prompt_share=1.0, predict_prompts=predict)
    tokens = [made.build(row)[1] for row in range(40)]
    prompts = sum(int(t.prompt_mask.sum()) for t in tokens)
    targets = sum(int((t.loss_mask & t.prompt_mask).sum()) for t in tokens)
    assert prompts > 0 and (targets > 0) == predict


def test_a_prompt_and_its_piece_share_a_segment_and_rows_hold_several(records):
    _, tokens = mixture(records, ["control"], prompt_share=1.0, prompt_steps=1, window=1).build(0)
    assert tokens.segment_ids[0] == 1 and (np.diff(tokens.segment_ids) >= 0).all() and tokens.segment_ids.max() > 2
    first = tokens.segment_ids == 1
    np.testing.assert_array_equal(tokens.prompt_mask[first], [True] * 8 + [False] * 8)


@pytest.mark.parametrize("window", ["tokens", "timesteps"])
def test_before_a_piece_that_fills_the_row_a_prompt_takes_half_of_it_at_most(records, window):
    made = mixture(records, ["control"], context=64, prompt_share=1.0, window=window)
    seen = [segment for row in range(200) for segment in made.plan(row).segments[:1]]
    steps = [(prompt.stop - prompt.start, piece.stop - piece.start) for prompt, piece in seen]
    assert max(prompt for prompt, _ in steps) == 4 and max(piece for _, piece in steps) >= 6  # of 8 tokens each


def test_what_a_cut_piece_would_follow_from_is_no_prompts_end(records):
    made = mixture(records, ["control"], context=64, prompt_share=1.0, window="tokens")
    checked = 0
    for row in range(200):
        plan, tokens = made.build(row)
        prompt, piece = plan.segments[0]
        if piece.skip >= 6:  # it begins with an action token
            assert not tokens.loss_mask[prompt.keep] and tokens.segment_ids[prompt.keep] == 1
            checked += 1
    assert checked > 20


def test_prompts_are_whole_timesteps_and_absent_where_none_fits(records):
    data = records["control"]
    for context, prompted in ((15, False), (16, True)):
        made = mixture(records, ["control"], context=context, prompt_share=1.0, window=1)
        segments = [segment for row in range(50) for segment in made.plan(row).segments]
        assert all((len(segment) == 2) == prompted for segment in segments)
        for piece in (piece for segment in segments for piece in segment):
            assert piece.keep == data.index.step_tokens[piece.start : piece.stop].sum()


def test_prompts_are_of_the_same_agent(tmp_path):
    agents = ["expert", "novice", "expert", "expert", "novice", "alone"]
    episodes = [random_episode(CONTROL, seed, 4) for seed in range(len(agents))]
    acted = [
        dataclasses.replace(episode, provenance=dataclasses.replace(episode.provenance, agent=agent))
        for episode, agent in zip(episodes, agents, strict=True)
    ]
    made = write_records(tmp_path / "agents", CONTROL, acted, "agents", Tokenization())
    assert list(made.provenance_counts.values()) == [3, 2, 1]
    of_agents = mixture({"agents": made}, ["agents"], batch_size=4, window=1, prompt_share=1.0)
    pairs = set()
    for row in range(80):
        for segment in of_agents.plan(row).segments:
            if len(segment) == 2:
                pairs.add((segment[0].episode, segment[1].episode))
    assert pairs == {(0, 2), (0, 3), (2, 0), (2, 3), (3, 0), (3, 2), (1, 4), (4, 1)}
