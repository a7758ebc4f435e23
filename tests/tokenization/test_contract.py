"""What a checkpoint assumes about tokens: the same contract has the same fingerprint, and a difference is shown."""

import dataclasses
import json

import pytest

from gato_jax.episodes import Continuous
from gato_jax.tokenization import Contract, ContractError, Tokenization, Vocabulary
from tests.tokenization.made_tasks import ALL, CONTROL, GRID

PAPER = Tokenization()


def test_the_order_of_tasks_does_not_matter():
    assert Contract.of(PAPER, ALL).fingerprint == Contract.of(PAPER, reversed(ALL)).fingerprint


def test_it_comes_back_from_json():
    contract = Contract.of(PAPER, ALL)
    back = Contract.from_json(json.loads(json.dumps(contract.to_json())))
    assert back == contract and back.fingerprint == contract.fingerprint


@pytest.mark.parametrize(
    "setting",
    [
        {"mu": 101.0},
        {"m": 255.0},
        {"patch": 8},
        {"local_positions": 256},
        {"predict_text_observations": False},
        {"vocabulary": Vocabulary(text=31_999)},
        {"vocabulary": Vocabulary(bins=512)},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_the_fingerprint_changes_with_any_setting(setting):
    other = dataclasses.replace(PAPER, **setting)
    assert Contract.of(other, [CONTROL]).fingerprint != Contract.of(PAPER, [CONTROL]).fingerprint


def test_every_setting_is_in_the_test_above():
    names = {"mu", "m", "patch", "local_positions", "predict_text_observations", "vocabulary"}
    assert {field.name for field in dataclasses.fields(Tokenization)} == names


def test_the_fingerprint_changes_with_a_task():
    wider = dataclasses.replace(CONTROL, action={"action": Continuous(shape=(2,), low=-2.0, high=2.0)})
    prints = {Contract.of(PAPER, specs).fingerprint for specs in ([CONTROL], [wider], [CONTROL, GRID])}
    assert len(prints) == 3


def test_a_difference_is_shown_line_by_line():
    mine, theirs = Contract.of(PAPER, [CONTROL]), Contract.of(Tokenization(mu=50.0), [CONTROL, GRID])
    mine.require_equal(mine, "itself")
    with pytest.raises(ContractError) as error:
        mine.require_equal(theirs, "the checkpoint")
    first, *lines = str(error.value).splitlines()
    assert first == "the tokenization of the checkpoint differs:"
    assert "  tokenization.mu: 100.0 here, 50.0 in the checkpoint" in lines
    assert any(line.startswith("  tasks.made/grid.action.action.kind: None here, 'discrete'") for line in lines)
