"""Tokenized timesteps on disk: what is written comes back, and what is damaged says so."""

import dataclasses
import json
import math
import os
import random
import shutil

import numpy as np
import pytest

from gato_jax.batching import RecordsError, TokenRecords, record_files, record_index, record_writer, write_records
from gato_jax.batching.records import write_meta
from gato_jax.tokenization import ContractError, Layout, Tokenization, TokenizationError, Vocabulary
from gato_jax.tokenization.fields import PER_PATCH, PER_TOKEN
from gato_jax.tokenization.sequence import concatenate
from tests.tokenization.made_shades import Shades
from tests.tokenization.made_tasks import ALL, CONTROL, GAME, random_episode

PAPER = Tokenization()
FILE = "steps-00000.array_record"


def write(folder, fingerprint="one", tokenization=PAPER, seed=0, lengths=(2, 3, 4)):
    episodes = [random_episode(CONTROL, seed + i, steps) for i, steps in enumerate(lengths)]
    return write_records(folder / "records", CONTROL, episodes, fingerprint, tokenization)


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.task)
def test_every_timestep_comes_back(records, spec):
    read = TokenRecords.open(records[spec.task].directory)
    episodes = [random_episode(spec, seed, int(steps)) for seed, steps in enumerate(read.index.episode_steps)]
    expected = [step for episode in episodes for step in Layout(spec, PAPER).encode_timesteps(episode)]
    np.testing.assert_array_equal(read.index.first_step, [0, 3, 4, 11])
    np.testing.assert_array_equal(read.index.step_tokens, [len(step) for step in expected])
    np.testing.assert_array_equal(read.index.step_patches, [len(step.patches) for step in expected])
    np.testing.assert_array_equal(read.index.step_targets, [step.loss_mask.sum() for step in expected])
    windows = [(start, stop) for start in range(3, 11) for stop in range(start + 1, 11)][
        ::-1
    ]  # within an episode or over
    for (start, stop), tokens in zip(windows, read.read(windows), strict=True):
        assert_same(tokens, concatenate(expected[start:stop]))
    for step, wanted in zip(read.timesteps(4, 11), expected[4:11], strict=True):
        assert_same(step, wanted)
    assert read.spec == spec


def assert_same(found, wanted):
    for name in (*PER_TOKEN, *PER_PATCH):
        one, other = getattr(found, name), getattr(wanted, name)
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


def test_an_episode_is_many_chunks_and_no_window_sees_where_one_ends(tmp_path):
    episodes = [random_episode(GAME, seed, steps) for seed, steps in enumerate((90, 1, 70))]
    made = write_records(tmp_path / "records", GAME, episodes, "long", PAPER)
    assert len(made.index.chunk_first) > 6 and {0, 90, 91} <= set(made.index.chunk_first)
    expected = [step for episode in episodes for step in Layout(GAME, PAPER).encode_timesteps(episode)]
    for start in range(0, 90, 7):
        for stop in range(start + 1, 91, 5):
            (tokens,) = made.read([(start, stop)])
            assert_same(tokens, concatenate(expected[start:stop]))


def test_what_an_interrupted_run_left_is_no_obstacle(tmp_path):
    (tmp_path / "records.partial").mkdir()
    (tmp_path / "records.partial" / "steps.array_record").write_bytes(b"half")
    folder = tmp_path / "records"
    folder.mkdir()
    (folder / "meta.json").write_text('{"schema": 2, "finger')
    assert len(write(tmp_path).timesteps(0, 9)) == 9


def test_missing_records_are_named(tmp_path):
    with pytest.raises(RecordsError, match=f"no token records of this version in {tmp_path}; tokenize"):
        TokenRecords.open(tmp_path)


def test_records_of_another_schema_are_refused(tmp_path):
    meta = write(tmp_path).directory / "meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "schema": 1}))
    with pytest.raises(RecordsError, match="of this version"):
        TokenRecords.open(meta.parent)


@pytest.mark.parametrize("name", ["index_step_tokens.npy", "index_first_step.npy", "steps-00000.array_record"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_file_is_named(tmp_path, name, damage):
    path = write(tmp_path).directory / name
    if damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.unlink()
    with pytest.raises(RecordsError, match=rf"{path.parent}.* delete .* to tokenize again"):
        records = TokenRecords.open(path.parent)
        records.read([(0, records.steps)])


def test_records_of_other_data_than_the_index_are_refused(tmp_path):
    directory, other = write(tmp_path).directory, write(tmp_path / "other", lengths=(2, 3)).directory
    shutil.copy(other / FILE, directory)
    with pytest.raises(RecordsError, match=f"{FILE} cannot be read .2 records, 3 in the index.; delete the folder"):
        TokenRecords.open(directory).read([(0, 1)])


@pytest.mark.parametrize(
    "meta",
    [
        [], 5, None, {"schema": 3}, {"layout": ["token_ids int32"]}, {"provenances": []}, {"provenances": 5},
        {"provenances": [{"colour": "red"}]}, {"contract": 5}, {"contract": None}, {"fingerprint": 5},
    ],
)  # fmt: skip
def test_a_damaged_meta_is_named_and_no_obstacle(tmp_path, meta):
    path = write(tmp_path).directory / "meta.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({**whole, **meta} if isinstance(meta, dict) and "schema" not in meta else meta))
    with pytest.raises(RecordsError, match=f"no token records of this version in {path.parent}; tokenize the dataset"):
        TokenRecords.open(path.parent)
    assert len(write(tmp_path).timesteps(0, 9)) == 9


@pytest.mark.parametrize("byte", [0, 70, 140])
def test_a_flipped_byte_of_the_index_is_found(tmp_path, byte):
    path = write(tmp_path).directory / "index_step_targets.npy"
    flip(path, byte, unnoticed=False)
    with pytest.raises(RecordsError, match=f"{path}: its checksum is .*; delete the folder {path.parent}"):
        TokenRecords.open(path.parent)


def flip(path, byte, mask=1, *, unnoticed):
    """Change a bit; unnoticed: the file keeps its time, as on a disk that decays."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[byte] ^= mask
    path.write_bytes(content)
    if unnoticed:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_checksums_are_not_computed_again_where_size_and_time_are_the_same(tmp_path, monkeypatch):
    directory = write(tmp_path).directory
    copied = shutil.copytree(directory, tmp_path / "copied", copy_function=shutil.copy)  # another time
    computed = []

    def count(path):
        computed.append(path)
        return compute(path)

    compute = record_files.compute_checksum
    monkeypatch.setattr(record_files, "compute_checksum", count)
    TokenRecords.open(directory)
    assert not computed
    assert len(TokenRecords.open(copied).timesteps(0, 9)) == 9 and len(computed) == 8
    TokenRecords.open(directory).verify()
    assert len(computed) == 16


def content_of(records):
    """All that training reads of token records: the descriptions and the index, then the tokens."""
    index = {name: np.array(getattr(records.index, name)) for name in record_index.DTYPES}
    rest = (records.contract, records.fingerprint, records.provenances, records.maxima, records.shards)
    ends = index["first_step"] + index["episode_steps"]
    return rest, index, records.read(list(zip(index["first_step"].tolist(), ends.tolist(), strict=True)))


def assert_refused_or_harmless(directory, count, seed):
    """Flip single bits of all files in turn, as on a disk that decays: no time of a file changes."""
    rest, index, sequences = content_of(TokenRecords.open(directory, verify_index=True))
    rng, refused = random.Random(seed), 0
    for path in (sorted(directory.iterdir()) * count)[:count]:
        content, before = path.read_bytes(), path.stat()
        flip(path, rng.randrange(len(content)), 1 << rng.randrange(8), unnoticed=True)
        try:
            found, found_index, found_sequences = content_of(TokenRecords.open(directory, verify_index=True))
        except (RecordsError, ContractError) as error:
            refused += 1
            assert str(directory) in str(error) and "again" in str(error)
        else:
            assert found == rest
            for name in index:
                np.testing.assert_array_equal(found_index[name], index[name])
            for one, other in zip(found_sequences, sequences, strict=True):
                assert_same(one, other)
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert refused > count * 0.8


def test_a_flipped_bit_is_refused_by_name_or_harmless(tmp_path):
    assert_refused_or_harmless(write(tmp_path, lengths=(9, 14, 40)).directory, count=40, seed=1)


@pytest.mark.slow
def test_each_of_200_flipped_bits_is_refused_by_name_or_harmless(records):
    for number, made in enumerate(records.values()):
        assert_refused_or_harmless(made.directory, count=math.ceil(200 / len(records)), seed=number)


def test_a_damaged_part_of_an_unfinished_index_is_made_again(tmp_path, monkeypatch, caplog):
    episodes = [random_episode(CONTROL, seed, 4) for seed in range(4)]
    arguments = (tmp_path / "records", CONTROL, episodes, "data", PAPER)

    def dies(*rest):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(record_writer, "_write_index", dies)
        with pytest.raises(KeyboardInterrupt):
            write_records(*arguments, resume=True)
    (part,) = tmp_path.rglob("*.npz")
    flip(part, part.stat().st_size // 2, unnoticed=True)
    assert write_records(*arguments, resume=True).steps == 16
    assert f"{part} is damaged" in caplog.text and "its shard is made again" in caplog.text


@pytest.mark.parametrize("name, byte", [("index_step_tokens.npy", 128), (FILE, -1)])
def test_decay_that_opening_does_not_see_is_found_when_it_is_read_or_verified(tmp_path, name, byte):
    path = write(tmp_path).directory / name
    byte = byte if byte > 0 else path.read_bytes().index(b"\x93") + 40  # within the first record
    flip(path, byte, unnoticed=True)
    records = TokenRecords.open(path.parent)
    for find in (lambda: records.timesteps(0, 2), records.verify):
        with pytest.raises(RecordsError, match=f"delete the folder {path.parent} to tokenize"):
            find()


def test_the_records_do_not_depend_on_the_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(record_writer, "SHARD_STEPS", 10)
    episodes = [random_episode(CONTROL, seed, 3 + seed % 4) for seed in range(12)]
    folders = []
    for workers in (1, 2):
        made = write_records(tmp_path / str(workers), CONTROL, episodes, "data", PAPER, workers=workers)
        folders.append({path.name: path for path in made.directory.iterdir()})
        assert len(made.shards) == 5
    assert list(folders[0]) and sorted(folders[0]) == sorted(folders[1])
    for name in folders[0]:
        if name != "meta.json":  # which has the files' times
            assert folders[0][name].read_bytes() == folders[1][name].read_bytes(), name
    metas = [json.loads(folder["meta.json"].read_text()) for folder in folders]
    for meta in metas:
        assert meta.pop("checksum")  # of the times, too
        meta["files"] = {name: {**state, "time": 0} for name, state in meta["files"].items()}
    assert metas[0] == metas[1]
    expected = [step for episode in episodes for step in Layout(CONTROL, PAPER).encode_timesteps(episode)]
    records = TokenRecords.open(tmp_path / "2")
    for step, wanted in zip(records.timesteps(0, records.steps), expected, strict=True):
        assert_same(step, wanted)


def test_an_error_in_another_process_arrives_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(record_writer, "SHARD_STEPS", 4)
    episodes = [random_episode(CONTROL, seed, 4) for seed in range(4)]
    episodes[2].observation["velocity"][1, 0] = np.nan
    with pytest.raises(TokenizationError, match="^made/control, episode 2, step 1, observation 'velocity'") as error:
        write_records(tmp_path / "records", CONTROL, episodes, "data", PAPER, workers=2)
    assert error.value.step == 1 and not list(tmp_path.iterdir())


def test_records_of_no_task_are_named(tmp_path):
    path = write(tmp_path).directory / "meta.json"
    meta = json.loads(path.read_text())
    meta.pop("checksum")
    write_meta(path.parent, {**meta, "contract": {**meta["contract"], "tasks": {}}})
    with pytest.raises(RecordsError, match=f"{path} names 0 tasks, not one; delete the folder"):
        TokenRecords.open(path.parent)


def test_no_episodes_are_an_error(tmp_path):
    with pytest.raises(RecordsError, match="made/game: no episodes"):
        write_records(tmp_path / "records", GAME, [], "none", PAPER)


def test_an_episode_without_an_action_is_an_error(tmp_path):
    episode = random_episode(GAME, 0, steps=1, final_observation=True)
    with pytest.raises(RecordsError, match="made/game: episode 0 holds no action"):
        write_records(tmp_path / "records", GAME, [episode], "none", PAPER)


def test_a_value_without_a_token_is_named_with_its_episode_and_step(tmp_path):
    bad = random_episode(CONTROL, 1, steps=3)
    bad.observation["velocity"][2, 0] = np.nan
    said = r"^made/control, episode 1, step 2, observation 'velocity': value nan at element \(0,\) is not finite"
    with pytest.raises(TokenizationError, match=said) as error:
        write_records(tmp_path / "records", CONTROL, [random_episode(CONTROL, 0, steps=2), bad], "nan", PAPER)
    assert error.value.step == 2


def test_images_are_to_be_predicted_within_some_episode(tmp_path):
    ahead = Tokenization(vocabulary=Vocabulary(image_codes=256), image_tokenizer="shades", image_ahead=3)
    short, long = ([random_episode(GAME, 0, steps=2), random_episode(GAME, 1, steps=n)] for n in (3, 4))
    said = (
        r"made/game: tokenization.image_ahead is 3, but its longest episode has 3 steps, .*; set it below 3, or leave"
    )
    with pytest.raises(RecordsError, match=said):
        write_records(tmp_path / "short", GAME, short, "short", ahead, Shades())
    assert not (tmp_path / "short").exists()
    records = write_records(tmp_path / "long", GAME, long, "long", ahead, Shades())
    assert records.index.step_targets.tolist() == [1, 1, 5, 1, 1, 1]  # the action, and of one step the codes
    without = dataclasses.replace(GAME, observation=CONTROL.observation)
    episodes = [random_episode(without, 0, steps=2)]
    write_records(tmp_path / "without", without, episodes, "without", ahead, Shades())
