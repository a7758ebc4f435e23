"""`gato inspect`: the rows of a run or of any data, on a page and as JSON."""

import json

import numpy as np
import pytest

from gato_jax.training import TrainConfig, open_run_mixture
from tests.integration import tiny_config
from tests.integration.conftest import CONFIG, DATASET, TASK, gato, tiny

FIELDS = {
    "position", "id", "target_id", "kind", "side", "key", "element", "value", "local_position", "segment", "in_loss",
    "prompt", "valid", "episode", "step",
}  # fmt: skip


def inspect(folder, *arguments):
    """What was said, the page and the JSON's rows."""
    page, tokens = folder / "new" / "page.html", folder / "tokens.json"
    said = gato("inspect", *arguments, f"--output={page}", f"--json={tokens}")
    assert said.status == 0, said.err
    assert said.out == f"{page}\n"
    return page.read_text(), json.loads(tokens.read_text())["rows"]


def test_a_config_shows_the_rows_that_training_sees(workdir, tmp_path):
    page, rows = inspect(tmp_path, *tiny(workdir), "--row=157", "--rows=8", "--config.seed=3")
    assert [row["row"] for row in rows] == [157, 158, 159]  # of 20 steps of 8 rows
    config = tiny_config.get_config()
    config.seed = 3
    mixture = open_run_mixture(TrainConfig.from_mapping(config, workdir), workdir)
    for row in rows:
        _, tokens = mixture.build(row["row"])
        assert (row["dataset"], row["context"]) == ("grid", 176)
        assert all(set(token) == FIELDS for token in row["tokens"])
        np.testing.assert_array_equal([token["id"] for token in row["tokens"]], tokens.token_ids)
        np.testing.assert_array_equal([token["in_loss"] for token in row["tokens"]], tokens.loss_mask)
    assert "<small>grid</small>" in page and all(f"row {row['row']} " in page for row in rows)


@pytest.mark.parametrize("where", ["data", f"data/{DATASET}/1.0.0", f"recorded:{{run}}/data/{DATASET}/1.0.0"])
def test_data_is_a_folder_of_datasets_a_dataset_or_a_source(workdir, tmp_path, where):
    data = where.replace("{run}", str(workdir)) if ":" in where else workdir / where
    before = sorted(workdir.rglob("*"))
    _, rows = inspect(tmp_path, f"--data={data}", "--rows=2", "--context=400", "--episodes=2")
    assert [(row["row"], row["dataset"], row["context"]) for row in rows] == [(0, TASK, 400), (1, TASK, 400)]
    assert {token["episode"] for row in rows for token in row["tokens"]} <= {0, 1}
    assert sorted(workdir.rglob("*")) == before  # the tokens did not stay


def test_several_datasets_take_turns(workdir, tmp_path):
    _, rows = inspect(tmp_path, f"--data={workdir / 'data'},dialogue:chatterbot", "--rows=4", "--episodes=3")
    assert sorted(row["dataset"] for row in rows[:2]) == sorted(row["dataset"] for row in rows[2:])
    assert {row["dataset"] for row in rows} == {TASK, "dialogue/chatterbot"}
    assert any(token["kind"] == "text" for row in rows for token in row["tokens"])


@pytest.mark.parametrize(
    "words, said",
    [
        (["--data={run}/data"], "--output is missing"),
        (["--output={tmp}/p.html"], "--data is missing. Name datasets, or a run with --config and --workdir"),
        (["--output={tmp}/p.html", f"--config={CONFIG}"], "--workdir is missing"),
        (["--output={tmp}/p.html", f"--config={CONFIG}", "--workdir={tmp}/none"], "{tmp}/none, expected the folder"),
        (["--output={tmp}/p.html", "--data={run}/none"], "{run}/none: no dataset"),
        (["--output={tmp}/p.html", "--data=recoded:x"], "unknown kind 'recoded'; did you mean 'recorded'?"),
        (["--output={tmp}", "--data={run}/data"], "--output is {tmp}, a folder, expected a file. Name a file"),
        (
            [f"--output={CONFIG}/p.html", "--data={run}/data"],
            f"--output is {CONFIG}/p.html, but {CONFIG} is a file, expected a folder. Name another folder",
        ),
        (["--output={tmp}/p.html", "--data=tokens:"], "tokens: can be trained on alone"),
        (["--output={tmp}/p.html", "--data={run}/data", "--workdir={run}"], "--workdir does not apply with --data"),
        (["--output={tmp}/p.html", f"--config={CONFIG}", "--workdir={run}", "--context=9"], "--context does not apply"),
        (["--output={tmp}/p.html", f"--config={CONFIG}", "--workdir={run}", "--row=160"], "is 160, expected 0 to 159"),
        (["--output={tmp}/p.html", "--data={run}/data", "--row=-1"], "--row=-1: -1 is not a non-negative integer"),
        (["--output={tmp}/p.html", "--data={run}/data", "--rows=0"], "--rows=0: 0 is not a positive integer"),
        (["--output={tmp}/p.html", "--data={run}/data", "--context=20"], "exceeds context 20; raise context"),
        (["--output={tmp}/p.html", "--data={run}/data,{run}/data"], "is there twice"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_one_line(words, said, workdir, tmp_path_factory):
    tmp = tmp_path_factory.mktemp("output")
    filled = [word.replace("{tmp}", str(tmp)).replace("{run}", str(workdir)) for word in (*words, said)]
    complaint = gato("inspect", *filled[:-1]).complaint()
    assert complaint.startswith("gato inspect: ") and filled[-1] in complaint
    assert not list(tmp.iterdir())
