import dataclasses

import pytest

from gato_jax.planning import PlanError, describe_plan, make_plan, parse_topology
from gato_jax.planning.budgets import pool_budgets
from gato_jax.planning.remedies import remedies
from gato_jax.training import ConfigError, MeshConfig
from tests.planning.made_plan import LARGE, computed, config

H100 = parse_topology("h100:8")


def test_figures_of_a_plan():
    plan, executable = make_plan(LARGE, H100, tokens=10**12)
    assert executable is None and plan.estimated and plan.compile_seconds is None
    assert (plan.batch, plan.devices, plan.mesh) == (512, 8, {"data": 8, "fsdp": 1, "tensor": 1})
    assert plan.flops_per_token == 6 * plan.parameters + 12 * 6 * 4096 * 1024
    assert plan.tokens_per_second_at_mfu["50"] == pytest.approx(0.5 * 8 * 989e12 / plan.flops_per_token)
    assert plan.days["40"] == pytest.approx(10**12 / plan.tokens_per_second_at_mfu["40"] / 86400)
    assert not plan.fits and plan.hbm_bytes_per_device > plan.hbm_limit == H100.chip.hbm_limit
    assert plan.expected_tokens_per_second == pytest.approx(512 * 1024 / plan.roofline.seconds)
    # Faster than at 40% MFU and slower than all FLOPs at the rate of a plain product.
    fastest = 8 * H100.chip.product_flops / (plan.step_flops.total / 512 / 1024)
    assert plan.tokens_per_second_at_mfu["40"] < plan.expected_tokens_per_second < fastest


def test_tokens_are_those_of_the_steps_unless_they_are_named():
    assert make_plan(config(), H100).plan.tokens == 100 * 8 * 128
    with pytest.raises(PlanError, match="--tokens is 0, expected a positive number"):
        make_plan(config(), H100, tokens=0)


def test_a_slow_wire_is_what_one_waits_for():
    """A small step on two machines takes as long as its gradients need on the network."""
    plan, _ = make_plan(config(batch_size=16), parse_topology("h100:16"))
    seconds = plan.collectives.bytes / 50e9
    assert plan.expected_tokens_per_second == pytest.approx(16 * 128 / seconds)


def test_remedies_do_what_they_say():
    plan, _ = make_plan(LARGE, H100)
    assert plan.remedies == ("--config.compute.remat=dots", "--config.compute.accumulate=4", "--config.batch_size=128")
    for changed in (
        computed(LARGE, remat="dots"),
        computed(LARGE, accumulate=4),
        dataclasses.replace(LARGE, batch_size=128),
    ):
        assert make_plan(changed, H100).plan.fits


def test_a_remedy_is_scaled_to_what_is_known():
    """If a compiler needs twice the estimate, the estimate of a remedy is doubled, too."""
    estimated, limit = make_plan(LARGE, H100).plan.hbm_bytes_per_device, H100.chip.hbm_limit
    assert remedies(LARGE, H100, None, needed=2 * estimated, limit=limit) == [
        "--config.compute.accumulate=16", "--config.batch_size=64"
    ]  # fmt: skip


def test_where_no_key_does_alone_several_do_or_a_larger_slice():
    v5e = parse_topology("v5e:2x4")
    several = remedies(LARGE, v5e, None, needed=150 * 2**30, limit=v5e.chip.hbm_limit)
    assert several == ["--config.compute.remat=full --config.compute.accumulate=16 --config.mesh.fsdp=2"]
    alone, small = parse_topology("v5e:1x1"), dataclasses.replace(LARGE, batch_size=1)
    assert remedies(small, alone, None, needed=20 * 2**30, limit=alone.chip.hbm_limit) == [
        "a larger slice than --topology=v5e:1x1, with --config.mesh.fsdp over it"
    ]


def test_budgets_are_the_configs_or_every_position():
    by_hand = pool_budgets(config(target_budget=None), 4, None)
    assert (by_hand.rows, by_hand.patches, by_hand.patches_from) == (2, 16, "config")
    assert (by_hand.targets, by_hand.targets_from) == (2 * 128, "worst case")
    assert any("every position of a row" in note for note in make_plan(LARGE, H100).plan.notes)
    assert not any("every position of a row" in note for note in make_plan(config(), H100).plan.notes)


def test_one_row_a_device_is_noted():
    assert any("pooling saves nothing" in note for note in make_plan(config(), H100).plan.notes)
    assert not any("pooling saves nothing" in note for note in make_plan(config(batch_size=16), H100).plan.notes)


def test_the_loaders_ram():
    """A position has 4 + 4 + 1 + 4 + 4 bytes on devices and 1 + 8 + 4 on the host; a patch 768 + 20; a row 8."""
    host = make_plan(config(batch_size=32), parse_topology("h100:16")).plan.host
    assert host.hosts == 2 and host.batch == (32 * 128 * (17 + 13) + 16 * 16 * (768 + 20) + 32 * 8) // 2
    assert host.batches == 4 and host.loader == 4 * host.batch and host.row_index is None


@pytest.mark.parametrize(
    "changes, error, said",
    [
        ({"mesh": MeshConfig(data=3, fsdp=2)}, ConfigError, r"is \[3, 2, 1\], expected a product of 8, the devices"),
        ({"batch_size": 12}, PlanError, "batch_size is 12, expected a multiple of 8"),
        ({"batch_size": 4}, PlanError, "batch_size is 4, expected a multiple of 8"),
    ],
)
def test_what_cannot_be_planned_says_why(changes, error, said):
    with pytest.raises(error, match=said):
        make_plan(config(**changes), H100)


def test_a_person_reads_what_matters():
    text = describe_plan(make_plan(LARGE, H100).plan, H100)
    for words in (
        "1,250.8 M parameters",
        "8 x NVIDIA H100 80GB HBM3 on 1 host, mesh data 8 x fsdp 1 x tensor 1",
        "64 rows per device with room for 65,536 patches (worst case)",
        "does not fit (estimated)",
        "7.81 GFLOP per token by 6N + 12LDT",
        "at 40 / 50 / 60% MFU",
        "ms a step, most of it products (in ms: products",
        "to 52.4 M tokens",
        "fits with    --config.compute.remat=dots",
    ):
        assert words in text
