"""An export is whole or not there, says what it holds, is kept when asked for again, and replaces nothing unasked."""

import dataclasses
import json
import os

import numpy as np
import pyarrow.parquet as pq
import pytest

from gato_jax.batching import Export, ExportError, TokenRecords, read_contract, read_rows, write_records
from gato_jax.runtime import FolderInUseError, writer_lock
from gato_jax.tokenization import Contract, Layout, Tokenization, Vocabulary, measure_action_limits
from gato_jax.tokenization.sequence import concatenate
from tests.episodes.unchecked import unchecked
from tests.tokenization.made_shades import Shades
from tests.tokenization.made_tasks import ALL, CONTROL, GAME, random_episode

PAPER = Tokenization()
FORMATS = ("array_record", "parquet")


def job(spec=CONTROL, **fields):
    given = {"spec": spec, "split": "train", "fingerprint": "data", "tokenization": PAPER, "format": "parquet"}
    return Export(**{**given, **fields})


def episodes_of(spec=CONTROL, lengths=(3, 1, 7)):
    return [random_episode(spec, seed, steps) for seed, steps in enumerate(lengths)]


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.task)
def test_both_formats_hold_the_same_tokens(spec, tmp_path):
    rows = job(spec).write(tmp_path / "rows", episodes_of(spec))
    records = job(spec, format="array_record").write(tmp_path / "records", episodes_of(spec))
    opened = TokenRecords.open(tmp_path / "records")
    assert records == (11, opened.index.step_tokens.sum()) and records.tokens == rows.tokens
    one, other = (
        concatenate(list(read_rows(tmp_path / "rows"))),
        concatenate([*opened.timesteps(0, 3), *opened.timesteps(3, 11)]),
    )
    for field in dataclasses.fields(one):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["records", "rows"]


def test_targets_that_are_not_the_tokens_themselves_come_back(tmp_path):
    settings = Tokenization(vocabulary=Vocabulary(image_codes=256), image_tokenizer="shades", image_ahead=2)
    layout, episodes = Layout(GAME, settings, image_tokenizer=Shades()), episodes_of(GAME)
    job(GAME, tokenization=settings, image_tokenizer=Shades(), context=20).write(tmp_path / "rows", episodes)
    found, wanted = concatenate(list(read_rows(tmp_path / "rows"))), concatenate([layout.encode(e) for e in episodes])
    for field in dataclasses.fields(wanted):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(wanted, field.name))
    assert (found.target_ids != found.token_ids).any() and not len(found.patches)


@pytest.mark.parametrize("format", FORMATS)
def test_it_says_what_it_holds(format, tmp_path):
    made = job(GAME, format=format).write(tmp_path / "out", episodes_of(GAME))
    about, contract = json.loads((tmp_path / "out" / "contract.json").read_text()), Contract.of(PAPER, [GAME])
    assert Contract.from_json(about["contract"]) == contract
    assert (about["contract_fingerprint"], about["dataset_fingerprint"]) == (contract.fingerprint, "data")
    assert about["provenance"]["licence"] == "Apache-2.0" and about["provenance"]["source"] == "made for tests"
    assert (about["rows"], about["tokens"], about["steps"], about["episodes"]) == (*made, 11, 3)
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert about["files"].keys() | {"contract.json"} == names | ({"README.md"} & names)


def test_parquet_metadata_and_readme_say_it_too(tmp_path):
    job(GAME, context=64).write(tmp_path / "out", episodes_of(GAME))
    [file] = (tmp_path / "out").glob("*.parquet")
    said = {
        key.decode().removeprefix("gato_jax."): json.loads(value)
        for key, value in pq.read_metadata(file).metadata.items()
        if key.startswith(b"gato_jax.")
    }
    about = json.loads((tmp_path / "out" / "contract.json").read_text())
    assert said == {key: about[key] for key in said} and said["patch_shape"] == [16, 16, 3]
    wanted = {
        "contract",
        "contract_fingerprint",
        "dataset_fingerprint",
        "provenance",
        "patch_shape",
        "context",
        "split",
    }
    assert wanted <= said.keys()
    card = (tmp_path / "out" / "README.md").read_text()
    for text in ("made/game", "Apache-2.0", "made for tests", "64 tokens", "| patch_slots |", "reshape(-1, 16, 16, 3)"):
        assert text in card
    assert "$" not in card and said["contract_fingerprint"] in card


@pytest.mark.parametrize(
    ("licences", "stated"),
    [
        (("MIT", "MIT"), "license: mit"),
        (("Apache License 2.0", "GPL-3.0-or-later"), "license: [apache-2.0, gpl-3.0]"),
        (("MIT", "C-UDA WITH a twist"), 'license: other\nlicense_name: "MIT; C-UDA WITH a twist"'),
        (("MIT", ""), 'license: other\nlicense_name: "MIT; not stated"'),
        (("", ""), "license: unknown"),
    ],
)
def test_a_card_states_the_licences_of_all_episodes_in_the_names_of_the_hub(licences, stated, tmp_path):
    episodes = [
        dataclasses.replace(episode, provenance=dataclasses.replace(episode.provenance, licence=licence))
        for episode, licence in zip(episodes_of(), licences, strict=False)
    ]
    job().write(tmp_path / "out", episodes)
    assert f'tokenized"\n{stated}\nconfigs:' in (tmp_path / "out" / "README.md").read_text()
    about = json.loads((tmp_path / "out" / "contract.json").read_text())
    assert sum(origin["episodes"] for origin in about["provenances"]) == len(episodes) == about["episodes"]
    assert [origin["licence"] for origin in about["provenances"]] == list(dict.fromkeys(licences))


def test_scaled_by_the_data_the_limits_are_in_the_contract(tmp_path):
    scaled, episodes = Tokenization(actions="rt_2"), episodes_of(CONTROL, (20, 30))
    limits = {CONTROL.name: measure_action_limits(CONTROL, episodes)}
    contract = Contract.of(scaled, [CONTROL], limits)
    made = job(tokenization=scaled).write(tmp_path / "rows", episodes)
    assert read_contract(tmp_path / "rows") == contract
    layout = Layout(CONTROL, scaled, action_limits=limits[CONTROL.name])
    wanted = concatenate([layout.encode(episode) for episode in episodes])
    np.testing.assert_array_equal(concatenate(list(read_rows(tmp_path / "rows"))).token_ids, wanted.token_ids)
    job(tokenization=scaled, format="array_record").write(tmp_path / "records", episodes)
    assert TokenRecords.open(tmp_path / "records").contract == contract
    assert job(tokenization=scaled).write(tmp_path / "rows", []) == made  # kept


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_export_is_kept(format, tmp_path):
    made = job(format=format).write(tmp_path / "out", episodes_of())
    before = contents(tmp_path / "out")
    assert job(format=format).write(tmp_path / "out", []) == made  # no episode is read
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize(
    "change, said",
    [
        ({"fingerprint": "new"}, "dataset_fingerprint: 'new' here, 'data' in contract.json"),
        ({"context": 64}, "context: 64 here, 1024 in contract.json"),
        ({"format": "array_record"}, "format: 'array_record' here, 'parquet' in contract.json"),
        ({"split": "test"}, "split: 'test' here, 'train' in contract.json"),
        ({"tokenization": Tokenization(mu=50.0)}, "contract.tokenization.mu: 50.0 here, 100.0 in contract.json"),
    ],
)
def test_another_export_is_replaced_only_when_asked_to(change, said, tmp_path):
    out = tmp_path / "out"
    job().write(out, episodes_of())
    before = contents(out)
    with pytest.raises(
        ExportError, match=rf"{out} holds another export:\n  {said}\n(.*\n)*name another folder.*--overwrite"
    ):
        job(**change).write(out, episodes_of())
    assert contents(out) == before
    job(**change).write(out, episodes_of(), overwrite=True)
    job(**change).write(tmp_path / "wanted", episodes_of())
    assert contents(out).keys() == contents(tmp_path / "wanted").keys()
    assert json.loads(contents(out)["contract.json"])["contract"] == job(**change)._identity["contract"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_export_is_never_replaced(overwrite, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("kept")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "contract.json").write_text('{"contract": ')
    (tmp_path / "file").write_text("kept")
    write_records(tmp_path / "records", CONTROL, episodes_of(), "data", PAPER)  # of a run
    for name in ("mine", "torn", "file", "records"):
        with pytest.raises(ExportError, match=f"{tmp_path / name} is there and is no export, so it is not replaced"):
            job().write(tmp_path / name, episodes_of(), overwrite=overwrite)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == (tmp_path / "file").read_text() == "kept"
    (tmp_path / "empty").mkdir()
    assert job().write(tmp_path / "empty", episodes_of()).rows == 3


@pytest.mark.parametrize("damage", [{"contract": 5}, {"files": []}, {"rows": None}, {"tokens": "many"}])
def test_a_damaged_contract_file_is_no_export(damage, tmp_path):
    job().write(tmp_path / "out", episodes_of())
    file = tmp_path / "out" / "contract.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **damage}))
    with pytest.raises(ExportError, match=f"{tmp_path / 'out'} is there and is no export"):
        job().write(tmp_path / "out", episodes_of())


def test_below_a_file_there_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("kept")
    for folder in (tmp_path / "file" / "out", tmp_path / "file" / "a" / "out"):
        with pytest.raises(
            ExportError, match=f"{tmp_path}/file is a file, so {folder} cannot be .*; name another fold"
        ):
            job().write(folder, episodes_of())


def test_a_damaged_export_says_so_and_is_made_again(tmp_path):
    made = job().write(tmp_path / "out", episodes_of())
    [file] = (tmp_path / "out").glob("*.parquet")
    os.truncate(file, 10)
    with pytest.raises(ExportError, match="holds a damaged export; .*--overwrite"):
        job().write(tmp_path / "out", episodes_of())
    assert job().write(tmp_path / "out", episodes_of(), overwrite=True) == made
    assert len(list(read_rows(tmp_path / "out"))) == made.rows


@pytest.mark.parametrize("format", FORMATS)
def test_an_error_leaves_what_was_there(format, tmp_path):
    class Breaks(list):
        def __getitem__(self, index):
            return self.broken() if index == len(self) - 1 else super().__getitem__(index)

        def __iter__(self):
            return (self[index] for index in range(len(self)))

        def broken(self):
            raise KeyboardInterrupt

    for present in (False, True):
        if present:
            job(format=format).write(tmp_path / "out", episodes_of())
        before = contents(tmp_path / "out") if present else None
        with pytest.raises(KeyboardInterrupt):
            job(format=format, fingerprint="new").write(tmp_path / "out", Breaks(episodes_of()), overwrite=True)
        assert [file.name for file in tmp_path.iterdir()] == ["out"] * present
        assert not present or contents(tmp_path / "out") == before


@pytest.mark.parametrize("format", FORMATS)
def test_what_a_killed_export_left_is_no_obstacle(format, tmp_path):
    left = tmp_path / "out.partial" / "content" / "records.partial"
    left.mkdir(parents=True)
    (left / "steps.array_record").write_bytes(b"half")
    job(format=format).write(tmp_path / "out", episodes_of())
    assert [file.name for file in tmp_path.iterdir()] == ["out"] and "records.partial" not in contents(tmp_path / "out")


def test_two_processes_do_not_write_one_export(tmp_path):
    partial = tmp_path / "out.partial"
    with writer_lock(partial), pytest.raises(FolderInUseError, match=f"{partial}: process .* is writing there"):
        job().write(tmp_path / "out", episodes_of())
    assert job().write(tmp_path / "out", episodes_of()).rows == 3


@pytest.mark.parametrize("format", FORMATS)
def test_what_cannot_be_exported_is_named(format, tmp_path):
    with pytest.raises(ValueError, match="made/control: no episodes to"):
        job(format=format).write(tmp_path / "out", [])
    placeholder = random_episode(CONTROL, 0, steps=1, final_observation=True)
    with pytest.raises(ValueError, match="made/control: episode 1 holds no action that was taken; filter it out"):
        job(format=format).write(tmp_path / "out", [random_episode(CONTROL, 0, 2), placeholder])
    assert not list(tmp_path.iterdir())


def test_what_no_export_can_be_is_named():
    with pytest.raises(ExportError, match="context is 0, expected a positive number"):
        job(context=0)
    with pytest.raises(ExportError, match="format is 'csv', expected array_record or parquet"):
        unchecked(Export, **{**vars(job()), "format": "csv"})
