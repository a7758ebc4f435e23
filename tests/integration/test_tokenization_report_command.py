"""`gato tokenization_report`, on a made dataset."""

import json

import pytest

from gato_jax.episodes import write_dataset
from tests.integration.conftest import gato
from tests.tokenization.made_tasks import CONTROL, random_episode


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    episodes = [random_episode(CONTROL, seed=seed, steps=10) for seed in range(3)]
    return write_dataset(tmp_path_factory.mktemp("data"), CONTROL, {"train": episodes})


def report(data, folder, *flags):
    return gato("tokenization_report", f"--data={data}", f"--output={folder / 'page.html'}", *flags)


def test_it_writes_the_page_and_the_numbers_and_prints_a_table(data, tmp_path):
    said = report(data, tmp_path, f"--json={tmp_path / 'numbers.json'}")
    assert said.status == 0, said.err
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert (numbers["dataset"], numbers["episodes"], numbers["steps"]) == ("made/control", 3, 30)
    assert len(numbers["settings"]) == len(numbers["article_settings"]) == 18
    assert "made/control" in (tmp_path / "page.html").read_text()
    assert "the paper's" in said.out and said.out.endswith(f"report: {tmp_path / 'page.html'}\n")


def test_the_flags_choose_the_grid_the_context_and_the_episodes(data, tmp_path):
    flags = ("--mu=10", "--m=1,4", "--bins=64,128", "--patch=4", "--context=80", "--episodes=2")
    assert report(data, tmp_path, *flags, f"--json={tmp_path / 'numbers.json'}").status == 0
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    settings = [(s["mu"], s["m"], s["bins"], s["patch"]) for s in numbers["settings"]]
    assert settings == [(10, 1, 64, 4), (10, 1, 128, 4), (10, 4, 64, 4), (10, 4, 128, 4)]
    assert (numbers["episodes"], numbers["available"], numbers["context"]) == (2, 3, 80)
    assert numbers["settings"][0]["context_share"] == pytest.approx(8 / 80)


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--mu=0", "mu is 0.0, expected a positive number"),
        ("--mu=nan", "mu is nan"),
        ("--mu=ten", "--mu is ten, expected numbers separated by commas"),
        ("--mu=", "mu has no value"),
        ("--bins=1", "bins is 1, expected a whole number in [2, 65536]"),
        ("--bins=1024.5", "--bins is 1024.5, expected whole numbers separated by commas"),
        ("--patch=0", "patch is 0, expected a positive whole number"),
        ("--episodes=0", "episodes"),
        ("--output=", "--output is missing"),
        ("--output=.", "--output is ., a folder, expected a file"),
        ("--output=pyproject.toml/page.html", "pyproject.toml is a file, expected a folder. Name another folder"),
    ],
)
def test_a_bad_flag_is_one_line(data, tmp_path, flag, said):
    assert said in report(data, tmp_path, flag).complaint()
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_one_line(tmp_path):
    assert f"{tmp_path / 'nothing'}: no dataset" in report(tmp_path / "nothing", tmp_path).complaint()
