"""`gato export`: both formats, what they say, what is refused; how records train; what a kill leaves."""

import json
import os
import signal
import time

import numpy as np
import pytest

from gato_jax.batching import ExportError, TokenRecords, read_contract, read_rows
from gato_jax.episodes import open_dataset
from gato_jax.tokenization import Layout, Tokenization
from gato_jax.training import TrainConfig, open_run_mixture
from tests.integration.conftest import CONFIG, DATASET, TASK, finish, gato, start, train
from tests.integration.tiny_config import get_config

# Tokenizes and writes one episode, and then never again.
STUCK = """
import time
from gato_jax import cli
from gato_jax.batching import parquet
from gato_jax.tokenization import Layout
parquet.ROW_GROUP_BYTES = 1
encode, calls = Layout.encode_timesteps, []
def encode_one(self, episode, number):
    calls.append(episode)
    return encode(self, episode, number) if len(calls) == 1 else time.sleep(600)
Layout.encode_timesteps = encode_one
cli.main()
"""


@pytest.fixture(scope="module")
def dataset(collected):
    return collected[0] / "data" / DATASET / "1.0.0"


def export(dataset, output, format, *arguments):
    return gato("export", f"--data={dataset}", f"--output={output}", f"--format={format}", *arguments)


@pytest.fixture(scope="module")
def records(dataset, tmp_path_factory):
    """Token records under the tiny config's tokenization. Do not change them."""
    folder = tmp_path_factory.mktemp("exported")
    said = export(dataset, folder / "records", "array_record", f"--config={CONFIG}", f"--json={folder / 'out.json'}")
    return folder / "records", said


def test_records_are_those_of_the_config(records, dataset):
    folder, said = records
    steps, tokens = int(open_dataset(dataset).acting_lengths.sum()), TokenRecords.open(folder).tokens
    assert said.status == 0 and said.out == (
        f"{TASK}: {steps} timesteps, {tokens} tokens in {folder}; train on it as tokens:{folder}\n"
    )
    assert json.loads((folder.parent / "out.json").read_text()) == {"rows": steps, "tokens": tokens}
    assert not TokenRecords.open(folder).contract.tokenization.predict_text_observations


def test_parquet_is_in_the_papers_tokenization(dataset, tmp_path):
    said = export(dataset, tmp_path / "rows", "parquet", "--context=400", f"--json={tmp_path / 'out.json'}")
    rows, read = list(read_rows(tmp_path / "rows")), open_dataset(dataset)
    tokens = sum(map(len, rows))
    assert said.status == 0 and said.out == f"{TASK}: {len(rows)} rows, {tokens} tokens in {tmp_path / 'rows'}\n"
    assert json.loads((tmp_path / "out.json").read_text()) == {"rows": len(rows), "tokens": tokens}
    wanted = np.concatenate([Layout(read.spec, Tokenization()).encode(episode).token_ids for episode in read])
    np.testing.assert_array_equal(np.concatenate([row.token_ids for row in rows]), wanted)
    assert read_contract(tmp_path / "rows").tokenization == Tokenization() and max(map(len, rows)) <= 400


def test_asked_for_again_it_is_kept_and_another_is_refused(records, dataset):
    folder, first = records
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    again = export(f"recorded:{dataset}", folder, "array_record", f"--config={CONFIG}")
    assert again.status == 0 and again.out == first.out and not again.err
    said = export(dataset, folder, "array_record").complaint()
    assert f"{folder} holds another export: contract." in said
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before


@pytest.mark.parametrize(
    "words, said",
    [
        (["--format=parquet", "--output={tmp}/out"], "--data is missing"),
        (["--data={data}", "--output={tmp}/out"], "--format is missing"),
        (["--data={data}", "--format=parquet"], "--output is missing"),
        (["--data={data}", "--format=csv", "--output={tmp}/out"], "one of <array_record|parquet|safetensors>"),
        (["--data={data}x", "--format=parquet", "--output={tmp}/out"], "1.0.0x: no dataset; nearest in"),
        (["--data=recoded:x", "--format=parquet", "--output={tmp}/out"], "did you mean 'recorded'?"),
        (["--data={data}", "--split=test", "--format=parquet", "--output={tmp}/out"], "no split 'test'; it has train"),
        (["--data={data}", "--format=array_record", "--output={tmp}/out", "--context=9"], "expected parquet. Leave"),
        (["--data={data}", "--format=parquet", "--output={tmp}/out", "--context=9"], "tokens, which exceeds context 9"),
        (["--data={data}", "--format=parquet", f"--output={CONFIG}/x"], f"{CONFIG} is a file, so {CONFIG}/x cannot be"),
        (["--data=tokens:", "--format=parquet", "--output={tmp}/out"], "tokens: can be trained on alone"),
        (["--data={data}", "--format=parquet", "--output={data}"], "is no export, so it is not replaced; name another"),
        (
            ["--data={data}", "--format=parquet", "--output={tmp}/out", f"--config={CONFIG}",
             "--config.tokenization.bins=9"],
            "bins",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(words, said, dataset, tmp_path):
    words = [word.replace("{data}", str(dataset)).replace("{tmp}", str(tmp_path)) for word in words]
    assert said in gato("export", *words).complaint() and not list(tmp_path.iterdir())


def test_an_image_tokenizer_must_have_a_folder_of_its_own(dataset, tmp_path):
    file = tmp_path / "config.py"
    line = '    config.image_tokenizer = "{workdir}/images"\n'
    file.write_text(CONFIG.read_text().replace("    return config\n", f"{line}    return config\n"))
    out = tmp_path / "out"
    said = export(dataset, out, "parquet", f"--config={file}").complaint()
    assert "--config.image_tokenizer is {workdir}/images, but there is no workdir with --data. Name a folder" in said
    said = export(dataset, out, "parquet", f"--config={file}", f"--config.image_tokenizer={tmp_path}/none").complaint()
    assert f"no image_tokenizer.json in {tmp_path}/none" in said and not out.exists()


@pytest.mark.parametrize("format", ["array_record", "parquet"])
def test_killed_in_the_middle_nothing_is_there(format, dataset, tmp_path):
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    words = ["export", f"--data={dataset}", f"--output={out}", f"--format={format}"]
    process = start("-c", STUCK, *words)
    deadline = time.monotonic() + 120
    while not any(file.is_file() for file in partial.rglob("*")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    assert finish(process).status == -signal.SIGKILL
    assert partial.exists() and not out.exists()
    if format == "parquet":
        with pytest.raises(ExportError, match="no Parquet files"):
            next(read_rows(out))
    assert gato(*words).status == 0 and out.exists() and not partial.exists()


def mixture_of(source, workdir):
    config = get_config().to_dict()
    config["datasets"]["grid"] |= {"source": source, "window": "tokens"}
    return open_run_mixture(TrainConfig.from_mapping(config, workdir), workdir)


def test_records_train_to_the_same_rows_as_the_episodes(records, workdir):
    from_episodes = mixture_of(get_config().datasets.grid.source, workdir)
    from_records = mixture_of(f"tokens:{records[0]}", workdir)
    assert from_records.fingerprint == from_episodes.fingerprint
    assert from_records.contract == from_episodes.contract
    for row in range(24):
        (plan, one), (other_plan, other) = from_episodes.build(row), from_records.build(row)
        assert plan == other_plan
        for name, array in vars(one).items():
            np.testing.assert_array_equal(array, getattr(other, name))
    assert from_records.records["grid"].directory == records[0]  # nothing was made of the export


def test_records_of_another_tokenization_are_refused_with_the_difference(records, tmp_path):
    source = f"--config.datasets.grid.source=tokens:{records[0]}"
    said = train(tmp_path / "run", source, "--config.tokenization.predict_text_observations=True").complaint()
    assert f"the tokenization of {records[0]} differs:" in said
    assert f"tokenization.predict_text_observations: True here, False in {records[0]}" in said


@pytest.mark.parametrize("name", ["meta.json", "index_step_tokens.npy", "steps-00000.array_record"])
def test_missing_and_damaged_records_are_one_line(records, tmp_path, name):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in records[0].iterdir():
        content = file.read_bytes()
        (copy / file.name).write_bytes(content[: len(content) // 2] if file.name == name else content)
    said = train(tmp_path / "run", f"--config.datasets.grid.source=tokens:{copy}").complaint()
    assert str(copy) in said and "tokenize" in said
    missing = train(tmp_path / "run", f"--config.datasets.grid.source=tokens:{tmp_path}/none").complaint()
    assert f"no token records of this version in {tmp_path}/none; tokenize" in missing
