"""The verbs on a run and a dataset in a bucket."""

import json

import pytest

from gato_jax.runtime.paths import as_path
from tests.integration.conftest import DATASET, TASK, gato, tiny
from tests.runtime.made_bucket import upload_folder

pytestmark = pytest.mark.usefixtures("shared_programs")


@pytest.fixture
def run(trained, bucket, own_cache):
    """The address of a copy of the trained run with its data."""
    run = upload_folder(trained, f"{bucket}/run")
    upload_folder(trained / "data" / DATASET, f"{run}/data/{DATASET}")
    return run


@pytest.mark.slow
def test_a_run_is_evaluated_and_reported(run):
    said = gato("evaluate", f"--workdir={run}", f"--tasks={TASK}", "--episodes=1")
    assert said.status == 0, said.err
    assert json.loads((run / "results.json").read_text())["tasks"][TASK]["agent"] is not None
    said = gato("report", f"--workdir={run}")
    assert said.status == 0 and said.out.strip() == f"{run}/report.html", said.err
    assert TASK in as_path(said.out.strip()).read_text()


def test_its_data_are_trained_on_and_looked_at(run, own_cache):
    said = gato("train", *tiny(run), "--config.steps=20")
    assert said.status == 0 and f"run in {run}" in said.out, said.err
    assert (own_cache / "buckets" / "gs" / "made" / "run" / "data" / DATASET / "1.0.0").is_dir()
    said = gato("data_report", f"--data={run}/data/{DATASET}/1.0.0", f"--output={run}/data.html")
    assert said.status == 0 and (run / "data.html").exists(), said.err


@pytest.mark.parametrize(
    "command, said",
    [
        (
            ["collect", f"--tasks={TASK}", "--episodes=1", "--output=gs://made/data"],
            "--output is gs://made/data, expected",
        ),
        (
            ["instructions", "--data=gs://made/data", "--output=gs://made/review.json"],
            "--output is gs://made/review.json",
        ),
        (
            ["train_image_tokenizer", "--data=gs://made/data", "--output=gs://made/vq"],
            "--output is gs://made/vq, expected",
        ),
        (["train", *tiny("s3://made/run")], "--workdir is s3://made/run, expected a folder or an address gs://"),
        (["report", "--workdir=ftp://made/run"], "ftp://made/run: scheme is ftp://, expected one of gs://"),
        (["report", "--workdir=gs://made/none"], "gs://made/none, expected the folder of a run. It does not exist"),
    ],
)
def test_what_cannot_be_is_one_line(command, said, bucket):
    assert said in gato(*command).complaint()
