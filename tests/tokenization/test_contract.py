"""Tests of contracts: equal ones have equal fingerprints, and differences are shown."""

import copy
import dataclasses
import json

import pytest

from gato_jax.episodes import Continuous, Image, TaskSpec, Text
from gato_jax.tokenization import Contract, ContractError, Limits, Tokenization, Vocabulary
from gato_jax.tokenization.contract import _require_equal
from tests.tokenization.made_tasks import ALL, CAPTION, CONTROL, DIALOGUE, GAME, GRID
from tests.tokenization.random_tasks import random_task

PAPER = Tokenization()
CODES = {"image_tokenizer": "0123456789abcdef", "vocabulary": Vocabulary(image_codes=64)}
MEASURED = {"made/control": {"action": Limits((-0.5, -1.5), (0.25, 1.0))}}
RT_2 = Tokenization(actions="rt_2")


def through_json(contract: Contract) -> Contract:
    return Contract.from_json(json.loads(json.dumps(contract.to_json(), allow_nan=False)))


def test_the_order_of_tasks_does_not_matter():
    assert Contract.of(PAPER, ALL).fingerprint == Contract.of(PAPER, reversed(ALL)).fingerprint


@pytest.mark.parametrize(
    "contract",
    [
        Contract.of(PAPER, ALL),
        Contract.of(PAPER, []),
        Contract.of(RT_2, [CONTROL, GAME], MEASURED),
        Contract.of(Tokenization(**CODES, image_ahead=5), ALL),
        Contract.of(
            Tokenization(observations="linear", mu=3.5, patch=8), [random_task(seed).spec for seed in range(40)]
        ),
    ],
)
def test_it_comes_back_from_json(contract):
    back = through_json(contract)
    assert back == contract and back.fingerprint == contract.fingerprint
    contract.require_equal(back, "the file")


# Each setting once, beside the settings that it needs to be there.
SETTINGS = {
    "vocabulary": ({}, {"vocabulary": Vocabulary(text=33_000)}),
    "observations": ({}, {"observations": "linear"}),
    "mu": ({}, {"mu": 101.0}),
    "m": ({}, {"m": 255.0}),
    "actions": ({}, {"actions": "rt_1"}),
    "patch": ({}, {"patch": 8}),
    "image_tokenizer": (CODES, {**CODES, "image_tokenizer": "fedcba9876543210"}),
    "image_ahead": (CODES, {**CODES, "image_ahead": 0}),
    "local_positions": ({}, {"local_positions": 256}),
    "predict_text_observations": ({}, {"predict_text_observations": False}),
    "task_text_first": ({}, {"task_text_first": True}),
    "vocabulary.text": ({}, {"vocabulary": Vocabulary(text=31_999)}),
    "vocabulary.bins": ({}, {"vocabulary": Vocabulary(bins=512)}),
    "vocabulary.image_codes": (CODES, {**CODES, "vocabulary": Vocabulary(image_codes=65)}),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_fingerprint_changes_with_any_setting(setting):
    mine, theirs = (Contract.of(Tokenization(**fields), [CONTROL]) for fields in SETTINGS[setting])
    assert mine.fingerprint != theirs.fingerprint
    with pytest.raises(ContractError, match=rf"(?m)^  tokenization\.{setting}.* here, .* in the checkpoint$"):
        mine.require_equal(theirs, "the checkpoint")


def test_every_setting_is_in_the_test_above():
    names = {field.name for field in dataclasses.fields(Tokenization)}
    names |= {f"vocabulary.{field.name}" for field in dataclasses.fields(Vocabulary)}
    assert names == SETTINGS.keys()


def test_whole_numbers_and_floats_are_one_setting():
    """A file written by hand may hold 100 for 100.0."""
    fields = Contract.of(PAPER, [CONTROL]).to_json()
    fields["tokenization"] |= {"mu": 100.0, "m": 256.0}
    assert Contract.from_json(fields).fingerprint == Contract.of(PAPER, [CONTROL]).fingerprint


def test_the_fingerprint_changes_with_a_task():
    wider = dataclasses.replace(CONTROL, action={"action": Continuous(shape=(2,), low=-2.0, high=2.0)})
    renamed = dataclasses.replace(CONTROL, task="other")
    prints = {Contract.of(PAPER, specs).fingerprint for specs in ([CONTROL], [wider], [renamed], [CONTROL, GRID], [])}
    assert len(prints) == 5


def test_the_fingerprint_changes_with_the_fit_of_an_image():
    prints = set()
    for fit in ("resize", "pad", "crop"):
        spec = TaskSpec(
            suite="m", task="t", observation={"x": Image(height=20, width=20, fit=fit)}, action={"a": Text()}
        )
        prints.add(Contract.of(PAPER, [spec]).fingerprint)
    assert len(prints) == 3


def test_the_fingerprint_changes_with_measured_limits():
    nearly = {"made/control": {"action": Limits((-0.5, -1.5), (0.25, 1.0000001))}}
    contracts = [Contract.of(RT_2, [CONTROL], limits) for limits in (None, MEASURED, nearly)]
    assert len({contract.fingerprint for contract in contracts}) == 3
    with pytest.raises(ContractError, match=r"action_limits\.made/control\.action\.high: \[0\.25, 1\.0\] here"):
        contracts[1].require_equal(contracts[2], "the checkpoint")


def test_layouts_scale_by_the_measured_limits():
    contract = through_json(Contract.of(RT_2, [CONTROL, GAME], MEASURED))
    tokens = contract.layout("made/control").encode_action({"action": [-0.5, 1.0]})
    assert tokens.token_ids.tolist() == [31_999, 31_744]
    assert contract.layout("made/game").encode_action({"action": 3}).token_ids.tolist() == [3]
    with pytest.raises(KeyError):
        contract.layout("made/grid")


def test_a_difference_is_shown_line_by_line():
    mine, theirs = Contract.of(PAPER, [CONTROL]), Contract.of(Tokenization(mu=50.0), [CONTROL, GRID])
    mine.require_equal(mine, "itself")
    with pytest.raises(ContractError) as error:
        mine.require_equal(theirs, "the checkpoint")
    first, *lines = str(error.value).splitlines()
    assert first == "the tokenization of the checkpoint differs:"
    assert lines[0] == "  tokenization.mu: 100.0 here, 50.0 in the checkpoint"  # settings come before tasks
    assert any(line.startswith("  tasks.made/grid.action.action.kind: missing here, 'discrete'") for line in lines)


def test_of_many_differences_twelve_are_shown():
    mine, theirs = Contract.of(PAPER, [DIALOGUE]), Contract.of(PAPER, ALL)
    with pytest.raises(ContractError) as error:
        mine.require_equal(theirs, "the checkpoint")
    *lines, last = str(error.value).splitlines()
    assert len(lines) == 13 and last.startswith("  and ") and last.endswith(" more")


def changed(path: str, value) -> dict:
    """Return the JSON of a contract with another value, or without one, at the path `a|b`."""
    fields = copy.deepcopy(Contract.of(RT_2, [CONTROL, CAPTION], MEASURED).to_json())
    *folders, leaf = path.split("|")
    part = fields
    for folder in folders:
        part = part[folder]
    if value is None:
        del part[leaf]
    else:
        part[leaf] = value
    return fields


@pytest.mark.parametrize(
    "path, value, said",
    [
        ("text_model", "0" * 16, r"text_model: '[0-9a-f]{16}' here, '0{16}' in old\.json"),
        ("vocabulary|separator", [0, 1], r"vocabulary\.separator: \[33024, 33025\] here, \[0, 1\] in old\.json"),
        ("vocabulary|continuous", None, r"vocabulary\.continuous: \[32000, 33024\] here, missing in old\.json"),
        ("vocabulary|padding", [40_000, 40_001], r"vocabulary\.padding: missing here, \[40000, 40001\] in old\.json"),
        ("vocabulary", None, r"vocabulary\.\w+: .* here, missing in old\.json"),
        ("text_model", None, r"text_model: .* here, missing in old\.json"),
        ("tokenization|image_ahead", None, r"tokenization\.image_ahead: None here, missing in old\.json"),
        ("vocabulary|extra", {}, r"vocabulary\.extra: missing here, \{\} in old\.json"),
        ("format", 1, r"format: missing here, 1 in old\.json"),
        (
            "action_limits",
            None,
            r"the contract in old\.json is of another version \(KeyError: 'action_limits'\); make it",
        ),
        (
            "action_limits|made/control|action|low",
            None,
            r"old\.json is of another .*action_limits.made/control.action lacks the key 'low'",
        ),
        ("tasks", None, r"old\.json is of another version \(KeyError: 'tasks'\)"),
        ("tasks|made/control|suite", None, r"old\.json is of another version \(SpecError: .*lacks the key 'suite'"),
        ("tasks|made/control|colour", "red", r"old\.json is of another version \(SpecError: .*unknown key 'colour'"),
        ("tasks|made/control|suite", "other", r"tasks\.made/control\.action\.action\.kind: missing here"),
        (
            "tokenization|temperature",
            1.0,
            r"old\.json is of another version \(ContractError: tokenization has the unknown key 'temperature'",
        ),
        (
            "tokenization|mu",
            -1.0,
            r"old\.json is of another version \(ContractError: .*tokenization\.mu is .*, expected a positive number",
        ),
        ("tokenization|actions", "rt_9", r"old\.json is of another version \("),
        (
            "tokenization|vocabulary|image_codes",
            64,
            r"old\.json is of another version \(ContractError: .*vocabulary\.image_codes",
        ),
        (
            "tokenization|vocabulary|text",
            31_999,
            r"old\.json is of another version \(ContractError: .*rt_2 uses the last",
        ),
        (
            "tokenization|vocabulary|bins",
            512,
            r"vocabulary\.continuous: \[32000, 32512\] here, \[32000, 33024\] in old",
        ),
    ],
)
def test_a_file_of_another_version_is_refused_with_what_differs(path, value, said):
    with pytest.raises(ContractError, match=said):
        Contract.from_json(changed(path, value), "old.json")


@pytest.mark.parametrize("fields", [{}, {"tasks": []}, {"tasks": {"a/b": 3}}])
def test_what_is_no_contract_at_all_is_refused(fields):
    with pytest.raises(ContractError, match="the contract in old.json is of another version"):
        Contract.from_json(fields, "old.json")


def test_an_empty_section_is_not_a_missing_one():
    contract = Contract.of(PAPER, [])
    fields = contract.to_json()
    assert fields["action_limits"] == fields["tasks"] == {} and Contract.from_json(fields) == contract
    with pytest.raises(ContractError, match=r"(?m)^  action_limits: missing here, \{\} in the file$"):
        _require_equal({}, {"action_limits": {}}, "the file")
    with pytest.raises(ContractError, match=r"(?m)^  action_limits: \{\} here, missing in the file\n  .*high: missing"):
        contract.require_equal(Contract.of(RT_2, [], MEASURED), "the file")
