"""Tokenized timesteps on disk: what is written comes back, and what is damaged says so."""

import json

import numpy as np
import pytest

from gato_jax.batching import RecordsError, TokenRecords, write_records
from gato_jax.tokenization import Layout, Tokenization
from gato_jax.tokenization.sequence import PER_PATCH, PER_TOKEN
from tests.tokenization.made_tasks import ALL, CONTROL, GAME, random_episode

PAPER = Tokenization()


def write(folder, fingerprint="one", tokenization=PAPER, seed=0):
    episodes = [random_episode(CONTROL, seed + i, steps=2 + i) for i in range(3)]
    return write_records(folder / "records", CONTROL, episodes, fingerprint, tokenization)


def written_at(records):
    return (records.directory / "meta.json").stat().st_mtime_ns


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.task)
def test_every_timestep_comes_back(records, spec):
    read = TokenRecords.open(records[spec.task].directory)
    episodes = [random_episode(spec, seed, int(steps)) for seed, steps in enumerate(read.episode_steps)]
    expected = [step for episode in episodes for step in Layout(spec, PAPER).encode_timesteps(episode)]
    np.testing.assert_array_equal(read.first_step, [0, 3, 4, 11])
    np.testing.assert_array_equal(read.step_tokens, [len(step) for step in expected])
    np.testing.assert_array_equal(read.step_patches, [len(step.patches) for step in expected])
    np.testing.assert_array_equal(read.step_targets, [step.loss_mask.sum() for step in expected])
    backwards = list(range(len(expected)))[::-1]
    for index, step in zip(backwards, read.read(backwards), strict=True):
        for name in (*PER_TOKEN, *PER_PATCH):
            found, wanted = getattr(step, name), getattr(expected[index], name)
            np.testing.assert_array_equal(found, wanted)
            assert found.dtype == wanted.dtype
    assert read.spec == spec


def test_they_are_kept_when_nothing_changed(tmp_path):
    first = write(tmp_path)
    before = written_at(first)
    assert written_at(write(tmp_path)) == before


@pytest.mark.parametrize("change", [{"fingerprint": "two", "seed": 9}, {"tokenization": Tokenization(mu=50.0)}])
def test_they_are_written_anew_when_data_or_tokenization_changed(tmp_path, change):
    first = write(tmp_path).read([0])[0]
    again = write(tmp_path, **change).read([0])[0]
    assert (first.token_ids != again.token_ids).any()


def test_what_an_interrupted_run_left_is_no_obstacle(tmp_path):
    (tmp_path / "records.partial").mkdir()
    (tmp_path / "records.partial" / "steps.array_record").write_bytes(b"half")
    folder = tmp_path / "records"
    folder.mkdir()
    (folder / "meta.json").write_text('{"schema": 2, "finger')
    assert len(write(tmp_path).read(range(9))) == 9


def test_missing_records_are_named(tmp_path):
    with pytest.raises(RecordsError, match=f"no token records of this version in {tmp_path}; tokenize"):
        TokenRecords.open(tmp_path)


def test_records_of_another_schema_are_refused(tmp_path):
    meta = write(tmp_path).directory / "meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "schema": 1}))
    with pytest.raises(RecordsError, match="of this version"):
        TokenRecords.open(meta.parent)


@pytest.mark.parametrize("name", ["index.npz", "steps.array_record"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_file_is_named(tmp_path, name, damage):
    path = write(tmp_path).directory / name
    if damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.unlink()
    with pytest.raises(RecordsError, match=rf"{path.parent}.* delete .* folder to tokenize again"):
        records = TokenRecords.open(path.parent)
        records.read(range(len(records.step_tokens)))


def test_an_index_of_other_data_is_refused(tmp_path):
    directory = write(tmp_path).directory
    index = dict(np.load(directory / "index.npz"))
    np.savez(directory / "index.npz", **{**index, "step_tokens": index["step_tokens"][:-1]})
    with pytest.raises(RecordsError, match="9 records instead of 8"):
        TokenRecords.open(directory)


def test_no_episodes_are_an_error(tmp_path):
    with pytest.raises(RecordsError, match="made/game: no episodes"):
        write_records(tmp_path / "records", GAME, [], "none", PAPER)


def test_an_episode_without_an_action_is_an_error(tmp_path):
    episode = random_episode(GAME, 0, steps=1, final_observation=True)
    with pytest.raises(RecordsError, match="made/game: episode 0 holds no action"):
        write_records(tmp_path / "records", GAME, [episode], "none", PAPER)
