"""The row index: what a row holds depends on seed and data alone, fits its budgets, and looks like the mixture."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gato_jax.batching import (
    DatasetConfig,
    Mixture,
    MixtureError,
    write_records,
)
from gato_jax.batching.batch import collate
from gato_jax.tokenization import ContractError, Tokenization
from gato_jax.tokenization.sequence import concatenate
from gato_jax.training import ConfigError, TrainConfig
from gato_jax.training.loss import target_mask
from tests.episodes.unchecked import unchecked
from tests.tokenization.made_tasks import CONTROL, random_episode
from tests.training.test_config import config

TASKS = ("control", "grid", "game", "robot", "caption", "dialogue")


def mixture(records, tasks=TASKS, *, batch_size=8, context=96, seed=0, predict_prompts=False, **sampling):
    chosen = {task: records[task] for task in tasks}
    run = {"batch_size": batch_size, "context": context, "seed": seed, "predict_prompts": predict_prompts}
    return Mixture.uniform(chosen, **run, **sampling)


def weighted(records, weights, *, batch_size=8, seed=0):
    """A mixture of the tasks in `weights`, with those weights."""
    datasets = {task: DatasetConfig(source="tokens:made", weight=weight) for task, weight in weights.items()}
    chosen = {task: records[task] for task in weights}
    return Mixture(datasets=datasets, records=chosen, batch_size=batch_size, context=96, seed=seed)


def tokens_equal(one, two):
    return all(np.array_equal(getattr(one, f.name), getattr(two, f.name)) for f in dataclasses.fields(one))


def test_a_row_depends_on_seed_and_data_alone(records):
    one, two, other = mixture(records), mixture(records), mixture(records, seed=1)
    forwards = [one.build(row) for row in range(40)]
    for row in np.random.default_rng(0).permutation(40):
        plan, tokens = two.build(int(row))
        assert plan == forwards[row][0] and tokens_equal(tokens, forwards[row][1])
    assert [plan for plan, _ in forwards] != [other.plan(row) for row in range(40)]


def test_the_fingerprint_changes_with_everything_that_decides_a_row(records, tmp_path):
    others = [
        {"seed": 1}, {"batch_size": 4}, {"context": 128}, {"predict_prompts": True}, {"tasks": TASKS[:2]},
        {"window": 2}, {"window": "timesteps"}, {"prompt_share": 0.5}, {"prompt_steps": 3},
    ]  # fmt: skip
    prints = {mixture(records, **change).fingerprint for change in [{}, *others]}
    prints.add(weighted(records, {task: 1.0 + (task == TASKS[0]) for task in TASKS}).fingerprint)
    new_data = write_records(tmp_path / "new", CONTROL, [random_episode(CONTROL, 9, 4)], "other", Tokenization())
    prints.add(mixture({**records, "control": new_data}).fingerprint)
    assert len(prints) == len(others) + 3


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=6), st.integers(1, 40), st.integers(0, 999))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_batch_holds_the_floor_or_ceiling_of_each_share(records, weights, batch_size, seed):
    made = weighted(records, dict(zip(TASKS, weights, strict=False)), batch_size=batch_size, seed=seed)
    for step in range(5):
        counts = Counter(made.plan(step * batch_size + slot).dataset for slot in range(batch_size))
        for dataset, share in enumerate(made.shares * batch_size):
            assert np.floor(share - 1e-9) <= counts[dataset] <= np.ceil(share + 1e-9)


def test_a_window_holds_at_most_its_steps(records):
    made = mixture(records, ["control", "game"], window=2)
    pieces = [
        piece for row in range(100) for segment in made.plan(row).segments for piece in segment if not piece.prompt
    ]
    assert {piece.stop - piece.start for piece in pieces} == {1, 2}
    assert made.memory_steps == {"made/control": 2, "made/game": 2}


def test_a_window_wider_than_the_row_is_shortened(records):
    made = mixture(records, ["control"], context=20, window=7, prompt_share=0.0)
    assert {len(made.build(row)[1]) for row in range(50)} == {8, 16}


def test_windows_of_tokens_begin_and_end_anywhere_and_are_the_episodes_own_tokens(records):
    made = mixture(records, ["control"], context=20, window="tokens", prompt_share=0.0)
    data = records["control"]
    begun_inside, ended_inside = set(), set()
    for row in range(300):
        plan, tokens = made.build(row)
        first, at = plan.segments[0][0], 0
        begun_inside.add(first.skip)
        for (piece,) in plan.segments:
            whole = concatenate(data.timesteps(piece.start, piece.stop))
            part = whole.slice(piece.skip, piece.skip + piece.keep)
            np.testing.assert_array_equal(tokens.token_ids[at : at + piece.keep], part.token_ids)
            np.testing.assert_array_equal(tokens.local_position[at : at + piece.keep], part.local_position)
            assert piece.skip < data.index.step_tokens[piece.start] and (piece is first or piece.skip == 0)
            ended_inside.add((len(whole) - piece.skip - piece.keep) % 8)
            at += piece.keep
        assert len(tokens) > 20 - 8  # what is empty has no room for a timestep
    assert begun_inside == ended_inside == set(range(8))  # of the eight tokens of a timestep


def test_every_token_is_as_likely_to_begin_a_row(records):
    made = mixture(records, ["grid"], context=60, window="tokens", prompt_share=0.0)
    data, rows = records["grid"], 4000
    starts = [made.plan(row).segments[0][0] for row in range(rows)]
    at = np.array([data.index.first_token[piece.start] + piece.skip for piece in starts])
    counts, expected = np.histogram(at, 8, (0, int(data.tokens)))[0], rows / 8
    assert ((counts - expected) ** 2 / expected).sum() < 24.3  # chi-squared with 7 degrees of freedom: p = 0.001


@pytest.mark.parametrize("window", ["timesteps", 2])
def test_windows_of_timesteps_are_never_cut(records, window):
    made = mixture(records, ["control", "game"], window=window)
    pieces = [piece for row in range(100) for segment in made.plan(row).segments for piece in segment]
    assert not any(piece.skip for piece in pieces)
    for row in range(100):
        plan = made.plan(row)
        data = made.records[made.names[plan.dataset]]
        for piece in (piece for segment in plan.segments for piece in segment):
            assert piece.keep == data.index.step_tokens[piece.start : piece.stop].sum()


def test_pieces_stay_within_their_episode(records):
    made = mixture(records)
    for row in range(200):
        plan = made.plan(row)
        data = records[TASKS[plan.dataset]]
        for segment in plan.segments:
            for piece in segment:
                first = data.index.first_step[piece.episode]
                assert first <= piece.start < piece.stop <= first + data.index.episode_steps[piece.episode]


def test_text_longer_than_the_context_is_cropped(records):
    rows = [mixture(records, ["dialogue"], context=4).build(row)[1] for row in range(50)]
    assert all(len(row) <= 4 for row in rows) and max(map(len, rows)) == 4


def test_a_timestep_longer_than_the_context_is_refused(records):
    with pytest.raises(MixtureError, match="game: a timestep of 22 tokens exceeds context 21; raise context"):
        mixture(records, ["game"], context=21)


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"weight": 0.0}, "weight is 0.0, expected a positive number. Leave the dataset out"),
        ({"weight": float("nan")}, "weight is nan, expected a positive number"),
        ({"weight": 1.0, "window": 0}, "window is 0, expected 'tokens' or 'timesteps' or a positive whole"),
        (
            {"weight": 1.0, "window": "steps"},
            "window is 'steps', expected 'tokens' or 'timesteps' or a",
        ),
        ({"weight": 1.0, "prompt_share": 1.5}, r"prompt_share is 1.5, expected a number in \[0, 1\]"),
    ],
)
def test_a_dataset_that_cannot_be_sampled_is_refused(fields, said):
    with pytest.raises(MixtureError, match=f"^dataset.*{said}"):
        unchecked(DatasetConfig, source="recorded:x", **fields)
    if fields.get("window") == "steps":  # under pytest its type is checked before its value
        return
    with pytest.raises(ConfigError, match=f"^config.datasets.mine.{said}"):
        TrainConfig.from_mapping(config(datasets={"mine": {"source": "recorded:x", **fields}}))


def test_an_empty_mixture_is_refused():
    with pytest.raises(MixtureError, match="empty"):
        mixture({}, [])


def test_datasets_under_different_tokenizations_are_refused(records, tmp_path):
    other = write_records(tmp_path / "x", CONTROL, [random_episode(CONTROL, 0, 4)], "other", Tokenization(mu=50.0))
    with pytest.raises(ContractError, match="tokenization.mu: 100.0 here, 50.0 in .*/x"):
        _ = mixture({**records, "control": other}, ["grid", "control"]).contract


entries = st.fixed_dictionaries(
    {
        "weight": st.floats(0.1, 4),
        "window": st.sampled_from(["tokens", "timesteps"]) | st.integers(1, 8),
        "prompt_share": st.sampled_from([0.0, 0.25, 1.0]),
        "prompt_steps": st.integers(1, 8),
    }
)


@given(
    st.dictionaries(st.sampled_from(TASKS), entries, min_size=1, max_size=4),
    st.integers(1, 9),
    st.integers(26, 150),
    st.integers(0, 2**31),
    st.booleans(),
)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_batch_exceeds_its_budgets(records, fields, batch_size, context, seed, predict_prompts):
    run = {"batch_size": batch_size, "context": context, "seed": seed, "predict_prompts": predict_prompts}
    datasets = {task: DatasetConfig(source="tokens:made", **sampling) for task, sampling in fields.items()}
    made = Mixture(datasets=datasets, records={task: records[task] for task in fields}, **run)
    built = [made.build(row) for row in range(2 * batch_size)]
    for start in (0, batch_size):
        tokens = [tokens for _, tokens in built[start : start + batch_size]]
        assert max(map(len, tokens)) <= context
        datasets = [plan.dataset for plan, _ in built[start : start + batch_size]]
        numbers = range(start, start + batch_size)
        for pools in [pools for pools in range(1, batch_size + 1) if batch_size % pools == 0]:
            order = np.arange(batch_size).reshape(-1, pools).T.reshape(-1)
            dealt = [[values[n] for n in order] for values in (tokens, numbers, datasets)]
            budgets = made.budgets(pools)  # collate raises where the patches exceed them
            collate(*dealt, context=context, patch=16, patch_budget=budgets.patches, pools=pools)
            # Of one width for all examples: each width of a batch would be compiled.
            batch = collate(*dealt, context=150, patch=16, patch_budget=budgets.patches, pools=pools)
            assert int(np.asarray(target_mask(batch)).reshape(pools, -1).sum(axis=1).max()) <= budgets.targets


def test_the_use_of_the_patch_budget_is_that_of_the_rows(records):
    made = mixture(records, ["game"], context=30, window="tokens", batch_size=8)
    filled = [len(made.build(row)[1].patch_slots) for row in range(64)]
    budget = made.budgets().patches
    assert made.patch_use(budget) == pytest.approx(sum(filled) / (8 * budget)) and made.patch_use(budget) <= 1


def test_several_datasets_may_hold_one_task(records, tmp_path):
    more = write_records(tmp_path / "more", CONTROL, [random_episode(CONTROL, 9, 6)] * 2, "more", Tokenization())
    datasets = {
        "expert": DatasetConfig(source="tokens:expert", weight=3.0, window=2, prompt_share=1.0),
        "agent": DatasetConfig(source="tokens:agent", weight=1.0, window=4, prompt_share=1.0),
    }
    both = {"expert": records["control"], "agent": more}
    made = Mixture(datasets=datasets, records=both, batch_size=4, context=96, seed=0)
    assert made.memory_steps == {"made/control": 4} and list(made.contract.tasks) == ["made/control"]
    rows = [made.build(row) for row in range(40)]
    assert Counter(plan.dataset for plan, _ in rows) == {0: 30, 1: 10}
    for plan, tokens in rows:  # pieces and prompts are of the dataset of the row
        piece = plan.segments[0][-1]
        (whole,) = both[made.names[plan.dataset]].read([(piece.start, piece.stop)])
        at = sum(prompt.keep for prompt in plan.segments[0][:-1])
        np.testing.assert_array_equal(tokens.token_ids[at : at + piece.keep], whole.token_ids)
    wide = {**datasets, "agent": dataclasses.replace(datasets["agent"], window="tokens")}
    assert dataclasses.replace(made, datasets=wide).memory_steps == {"made/control": None}


def test_datasets_of_one_task_that_differ_in_its_spec_are_refused_with_the_difference(records, tmp_path):
    slower = dataclasses.replace(CONTROL, control_rate_hz=5.0)
    other = write_records(tmp_path / "slower", slower, [random_episode(slower, 0, 4)], "slower", Tokenization())
    said = "ours and theirs both hold made/control .*\n  control_rate_hz: 5.0 here, None in dataset ours"
    with pytest.raises(MixtureError, match=said):
        mixture({"ours": records["control"], "theirs": other}, ["ours", "theirs"])


def test_measured_action_limits_of_one_task_must_agree(tmp_path):
    settings = Tokenization(actions="rt_2")
    made = {
        name: write_records(tmp_path / name, CONTROL, [random_episode(CONTROL, seed, 6)], name, settings)
        for seed, name in enumerate(("ours", "theirs"))
    }
    with pytest.raises(MixtureError, match="theirs: the limits of the actions of made/control .*; merge the two"):
        _ = mixture(made, ["ours", "theirs"]).contract


def test_settings_and_records_have_the_same_names(records):
    datasets = {"game": DatasetConfig(source="tokens:game", weight=1.0)}
    with pytest.raises(MixtureError, match="settings of game and records of control"):
        Mixture(datasets=datasets, records={"control": records["control"]}, batch_size=4, context=96, seed=0)


def test_five_pairs_make_one_segment_that_is_padded_or_cropped(records):
    pair = records["caption"].index.step_tokens
    for context in (int(5 * pair.max()), int(3 * pair.max())):
        made = mixture(records, ["caption"], context=context, batch_size=4, window=1, prompt_share=0.0, pieces=5)
        lengths, skips = set(), set()
        for row in range(60):
            plan, tokens = made.build(row)
            (pieces,) = plan.segments
            assert set(tokens.segment_ids) == {1} and len(tokens) <= context
            if context >= 5 * pair.max():
                assert len(pieces) == 5 and len(tokens) == sum(pair[piece.start] for piece in pieces)
            lengths.add(len(tokens))
            skips.add(pieces[0].skip)
        assert context >= 5 * pair.max() or (max(lengths) == context and len(skips) > 3)
        assert made.budgets().patches >= max(len(made.build(row)[1].patch_slots) for row in range(60))


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"pieces": 5, "prompt_share": 0.0}, "window is tokens, expected a positive whole number with pieces=5"),
        ({"pieces": 0, "window": 1, "prompt_share": 0.0}, "pieces is 0, expected a positive whole number"),
        ({"pieces": 5, "window": 1}, "pieces=5 leaves no room for prompts"),
    ],
)
def test_pieces_that_cannot_be_are_refused(fields, said):
    with pytest.raises(MixtureError, match=said):
        DatasetConfig(source="recorded:x", weight=1.0, **fields)
