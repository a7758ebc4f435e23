"""A run says what memory its step needs, and refuses what a device does not have, before anything is allocated."""

import dataclasses
import logging

import pytest

from gato_jax.planning import MemoryNeedError, require_memory, start_up
from gato_jax.training import ConfigError, TrainConfig
from tests.planning.tiny_config import get_config


@pytest.fixture
def config() -> TrainConfig:
    return TrainConfig.from_mapping(get_config())


@pytest.mark.parametrize("batch_size", [10**6, 10**8])
def test_a_batch_that_no_machine_holds_is_refused_with_a_remedy(config, batch_size):
    with pytest.raises(MemoryNeedError, match=r"needs about [\d,.]+ GiB .*, a device has .* GiB. Set --config.*=\d+"):
        require_memory(dataclasses.replace(config, batch_size=batch_size))


def test_what_is_within_the_error_of_the_estimate_is_a_warning(config, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    needed = start_up._estimate(config, None)
    for share, said in ((0.9, "it may not fit"), (None, "is not known")):
        monkeypatch.setattr(
            start_up, "device_memory", lambda share=share: None if share is None else int(needed * share)
        )
        require_memory(config)
        assert said in caplog.messages[-1]
    monkeypatch.setattr(start_up, "device_memory", lambda: needed // 2)
    with pytest.raises(MemoryNeedError):
        require_memory(config)


def test_a_batch_that_does_not_divide_over_the_devices_is_refused(config):
    with pytest.raises(ConfigError, match="config.batch_size is 12, expected a multiple of 8"):
        require_memory(dataclasses.replace(config, batch_size=12))


def test_devices_of_a_cpu_share_the_memory_of_the_machine():
    assert start_up.device_memory() == start_up.host_memory() // 8
