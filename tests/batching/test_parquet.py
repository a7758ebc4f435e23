"""Parquet rows: every acting step once and in order, lossless, in files that others open, with their contract."""

import itertools
import json
import os
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from gato_jax.batching import ExportError, parquet, read_contract, read_rows, tokens_of_row
from gato_jax.tokenization import Contract, ContractError, Layout, Tokenization, TokenizationError
from gato_jax.tokenization.fields import PER_PATCH, PER_TOKEN
from gato_jax.tokenization.sequence import concatenate
from tests.tokenization.made_tasks import ALL, CONTROL, DIALOGUE, GAME, ROBOT, random_episode

PAPER = Tokenization()
CONTEXT = 96
LENGTHS = (3, 1, 7, 5)


def episodes_of(spec, lengths=LENGTHS):
    return [random_episode(spec, seed, steps) for seed, steps in enumerate(lengths)]


def write(folder, spec, episodes, context=CONTEXT, **options):
    contract = Contract.of(PAPER, [spec])
    patch_shape = [16, 16, 3] if spec in (GAME, ROBOT) or spec.task == "caption" else [0, 0, 0]
    rows = parquet.pack_rows(Layout(spec, PAPER), episodes, context)
    return parquet.write_rows(
        folder, "train", rows, {"contract": contract.to_json(), "patch_shape": patch_shape}, **options
    )


def assert_equal(one, other):
    for name in (*PER_TOKEN, *PER_PATCH):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        assert getattr(one, name).dtype == getattr(other, name).dtype, name


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.task)
def test_every_acting_step_is_there_once_and_in_order(spec, tmp_path):
    episodes = [random_episode(spec, seed, steps, final_observation=steps > 1) for seed, steps in enumerate(LENGTHS)]
    written = write(tmp_path, spec, episodes)
    found = list(read_rows(tmp_path))
    wanted = [Layout(spec, PAPER).encode(episode) for episode in episodes]
    assert_equal(concatenate(found), concatenate(wanted))
    assert written.rows == len(found) and written.tokens == sum(map(len, wanted))
    table = pq.read_table(written.files).select(["episode", "first_step", "steps"]).to_pylist()
    for episode, rows in itertools.groupby(table, key=lambda row: row["episode"]):
        first = 0
        for row in rows:
            assert row["first_step"] == first and row["steps"] > 0
            first += row["steps"]
        assert first == episodes[episode].acting_steps
    assert [row["episode"] for row in table] == sorted(row["episode"] for row in table)


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.task)
def test_a_row_holds_as_many_timesteps_as_fit(spec, tmp_path):
    written = write(tmp_path, spec, episodes_of(spec))
    rows, columns = list(read_rows(tmp_path)), pq.read_table(written.files).to_pylist()
    layout, episodes = Layout(spec, PAPER), episodes_of(spec)
    for tokens, row in zip(rows, columns, strict=True):
        steps = layout.encode_timesteps(episodes[row["episode"]])
        next_step = row["first_step"] + row["steps"]
        assert_equal(tokens, concatenate(steps[row["first_step"] : next_step]))
        assert len(tokens) <= CONTEXT
        assert next_step == len(steps) or len(tokens) + len(steps[next_step]) > CONTEXT


def test_a_timestep_beyond_the_context_is_named(tmp_path):
    with pytest.raises(
        ExportError, match=r"made/game: episode 0, step 0 has 22 tokens, which exceeds context 21; raise"
    ):
        write(tmp_path, GAME, episodes_of(GAME), context=21)
    assert write(tmp_path, GAME, episodes_of(GAME), context=22).rows == sum(LENGTHS)


def test_a_value_without_a_token_is_named_with_its_episode_and_step(tmp_path):
    episodes = episodes_of(CONTROL)
    episodes[2].action["action"][4] = np.inf
    with pytest.raises(TokenizationError, match="^made/control, episode 2, step 4, action 'action': value inf"):
        write(tmp_path, CONTROL, episodes)


def test_files_are_bounded_and_named_with_their_total(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 1)  # a row each
    one = write(tmp_path, ROBOT, episodes_of(ROBOT), file_bytes=1 << 30)
    whole = list(read_rows(tmp_path))
    assert [file.name for file in one.files] == ["train-00000-of-00001.parquet"]
    assert pq.ParquetFile(one.files[0]).num_row_groups == one.rows
    one.files[0].unlink()
    many = write(tmp_path, ROBOT, episodes_of(ROBOT), file_bytes=1)
    assert [file.name for file in many.files] == [
        f"train-{number:05d}-of-{one.rows:05d}.parquet" for number in range(one.rows)
    ]
    for found, wanted in zip(read_rows(tmp_path), whole, strict=True):
        assert_equal(found, wanted)


def test_rows_are_consumed_a_group_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 1)
    drawn, sizes = 0, []

    def episodes():
        nonlocal drawn
        for seed in range(4):
            sizes.append(sum(file.stat().st_size for file in tmp_path.glob("*.parquet")))
            yield random_episode(ROBOT, seed, 6)
            drawn += 1

    write(tmp_path, ROBOT, episodes(), file_bytes=1)
    assert drawn == 4 and sizes[0] == 0 and (np.diff(sizes) > 0).all()


def test_the_contract_is_in_every_file_and_is_checked(tmp_path):
    written = write(tmp_path, CONTROL, episodes_of(CONTROL))
    contract = Contract.of(PAPER, [CONTROL])
    assert read_contract(tmp_path) == read_contract(written.files[0]) == contract
    fields = {**contract.to_json(), "text_model": "another"}
    rows = parquet.pack_rows(Layout(CONTROL, PAPER), episodes_of(CONTROL), CONTEXT)
    parquet.write_rows(tmp_path, "train", rows, {"contract": fields, "patch_shape": [0, 0, 0]})
    with pytest.raises(ContractError, match=r"tokenization of .*train-00000-of-00001.parquet differs:\n  text_model"):
        next(read_rows(tmp_path))


def test_files_of_two_contracts_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 1)
    first, second, *_ = write(tmp_path, CONTROL, episodes_of(CONTROL, (40, 40)), file_bytes=1).files
    other = Contract.of(Tokenization(mu=50.0), [CONTROL]).to_json()
    table = pq.read_table(second)
    pq.write_table(
        table.replace_schema_metadata({"gato_jax.contract": json.dumps(other), "gato_jax.patch_shape": "[0,0,0]"}),
        second,
    )
    with pytest.raises(ContractError, match=r"tokenization.mu: 100.0 here, 50.0 in .*00001-of"):
        list(read_rows(tmp_path))
    assert len(list(read_rows(first))) == 1


def test_what_cannot_be_read_is_named(tmp_path, monkeypatch):
    with pytest.raises(ExportError, match=f"{tmp_path}: no Parquet files; export"):
        next(read_rows(tmp_path))
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 1)
    first, *_, last = write(tmp_path, CONTROL, episodes_of(CONTROL, (40, 40)), file_bytes=1).files
    last.unlink()
    with pytest.raises(ExportError, match="not those of one export"):
        next(read_rows(tmp_path))
    foreign = tmp_path / "foreign.parquet"
    pq.write_table(pq.read_table(first).replace_schema_metadata(None), foreign)
    with pytest.raises(ExportError, match="foreign.parquet: has no gato_jax.contract in its metadata"):
        next(read_rows(foreign))
    first.write_bytes(first.read_bytes()[:-20])
    with pytest.raises(ExportError, match="00000-of-.*cannot be read"):
        next(read_rows(first))


def test_without_pyarrow_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ExportError, match=r'pyarrow, which is not installed; pip install "gato_jax\[parquet\]"'):
        next(read_rows(tmp_path))


@pytest.mark.parametrize("streaming", [False, True])
def test_hugging_face_datasets_opens_them(tmp_path, monkeypatch, streaming):
    monkeypatch.setitem(os.environ, "HF_DATASETS_OFFLINE", "1")
    from datasets import load_dataset  # here, because it takes seconds

    for spec in (ROBOT, DIALOGUE):
        folder = tmp_path / spec.task
        folder.mkdir()
        written = write(folder, spec, episodes_of(spec))
        shape = (16, 16, 3) if spec is ROBOT else (0, 0, 0)
        rows = load_dataset(
            "parquet", data_files=f"{folder}/*.parquet", split="train", streaming=streaming,
            cache_dir=str(tmp_path / "cache"),
        )  # fmt: skip
        found = [tokens_of_row(row, shape) for row in rows]
        assert set(rows.column_names) == set(parquet.COLUMNS) and len(found) == written.rows
        for one, other in zip(found, read_rows(folder), strict=True):
            assert_equal(one, other)
