"""What a run may learn from: every refused dataset is named, with its licence and what to do."""

import dataclasses
import re

import pytest

from gato_jax.batching import DatasetConfig, Mixture, write_records
from gato_jax.batching.admission import AdmissionConfig, AdmissionError, require_admissible, share_of
from gato_jax.episodes import Provenance
from gato_jax.tokenization import Tokenization
from gato_jax.training import ConfigError, TrainConfig
from tests.tokenization.made_tasks import CAPTION, CONTROL, GRID, random_episode
from tests.training.test_config import config

FROM = [
    (CONTROL, [("CC-BY-NC-4.0", "real"), ("MIT", "real"), ("MIT", "simulated"), ("MIT", "simulated")]),
    (GRID, [("from the shop", "simulated")]),
    (CAPTION, [("Apache-2.0 AND Unicode-3.0", "synthetic")]),
]


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    """Weights 1, 1 and 2: half of the rows are synthetic, 3/8 simulated, 1/8 real."""
    datasets, made = {}, {}
    for spec, origins in FROM:
        episodes = [
            dataclasses.replace(
                random_episode(spec, seed, 3), provenance=Provenance(source="made", licence=licence, kind=kind)
            )
            for seed, (licence, kind) in enumerate(origins)
        ]
        folder = tmp_path_factory.mktemp("records") / spec.task
        made[spec.name] = write_records(folder, spec, episodes, "data", Tokenization())
        datasets[spec.name] = DatasetConfig(source=f"tokens:{folder}", weight=2.0 if spec is CAPTION else 1.0)
    return Mixture(datasets=datasets, records=made, batch_size=4, context=64, seed=0)


def refusal(mixture, **rules):
    with pytest.raises(AdmissionError) as raised:
        require_admissible(mixture, AdmissionConfig(**rules))
    return str(raised.value)


def test_without_rules_everything_is_admitted(mixture):
    require_admissible(mixture, AdmissionConfig())


def test_every_dataset_that_may_not_be_sold_is_named_and_no_other(mixture):
    said = refusal(mixture, commercial_only=True)
    assert "made/control: licence 'CC-BY-NC-4.0' (1 of 4 episodes) forbids commercial use" in said
    assert "made/grid: licence 'from the shop' is not known to permit commercial use" in said
    assert "made/caption" not in said and "'MIT'" not in said
    assert said.endswith("leave them out, or widen config.admission")


def test_only_licences_that_are_allowed_are_admitted(mixture):
    everything = ("CC-BY-NC-4.0", "MIT", "From the shop", "Apache-2.0", "Unicode-3.0")
    require_admissible(mixture, AdmissionConfig(allowed_licences=everything))
    said = refusal(mixture, allowed_licences=("MIT", "Apache-2.0"))
    assert re.findall(r"made/\w+", said) == ["made/control", "made/grid", "made/caption"]
    assert "is not among allowed_licences (MIT, Apache-2.0)" in said
    assert "is not among allowed_licences (none)" in refusal(mixture, allowed_licences=())


def test_shares_are_of_rows_by_weight_and_episodes(mixture):
    shares = {kind: share_of(mixture, kind) for kind in ("synthetic", "simulated", "real")}
    assert shares == pytest.approx({"synthetic": 0.5, "simulated": 0.25 * 0.5 + 0.25, "real": 0.25 * 0.5})


def test_a_share_beyond_its_bound_names_the_datasets_it_comes_from(mixture):
    require_admissible(mixture, AdmissionConfig(synthetic_share_at_most=0.5, simulated_share_at_most=0.375))
    assert "50.0% of the rows are synthetic (made/caption 50.0%), synthetic_share_at_most is 40.0%; lower" in refusal(
        mixture, synthetic_share_at_most=0.4
    )
    both = refusal(mixture, synthetic_share_at_most=0.0, simulated_share_at_most=0.0, commercial_only=True)
    assert "37.5% of the rows are simulated (made/control 12.5%, made/grid 25.0%)" in both
    assert "are synthetic" in both and "refused by licence" in both


@pytest.mark.parametrize(
    "admission, said",
    [
        ({"commercial": True}, "config.admission has the unknown key 'commercial'. Did you mean 'commercial_only'?"),
        ({"commercial_only": 1}, "config.admission.commercial_only is 1, expected bool."),
        ({"allowed_licences": "MIT"}, "config.admission.allowed_licences is 'MIT', expected a list of str or None."),
        ({"allowed_licences": [1]}, "config.admission.allowed_licences[0] is 1, expected str."),
        ({"synthetic_share_at_most": 1.5}, "synthetic_share_at_most is 1.5, expected a number in [0, 1]"),
        ({"simulated_share_at_most": -1}, "simulated_share_at_most is -1.0, expected a number in [0, 1]"),
    ],
)
def test_a_wrong_rule_is_named(admission, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        TrainConfig.from_mapping(config(admission=admission))


def test_rules_come_from_the_config():
    made = TrainConfig.from_mapping(config(admission={"allowed_licences": ["MIT"], "synthetic_share_at_most": 0}))
    assert made.admission == AdmissionConfig(allowed_licences=("MIT",), synthetic_share_at_most=0.0)
    assert TrainConfig.from_mapping(config()).admission == AdmissionConfig()
