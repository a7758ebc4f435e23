"""The config of README.md is one that can be written word for word, and changed as it says."""

import re
import sys

import pytest

from gato_jax.cli import main
from gato_jax.training import TrainConfig, open_run_mixture
from tests.integration.conftest import ROOT

README = (ROOT / "README.md").read_text()
(RECIPE,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_recipe_for_an_own_config_works_word_for_word(workdir, monkeypatch):
    file = workdir / "my_config.py"
    file.write_text(RECIPE)
    changes = re.search(r"leaves out: `(--config\.steps=.*?)`", README, re.DOTALL)
    assert changes is not None
    words = changes[1].split()
    assert "--config.mesh.data=2" in words and "--config.optimizer.clip_norm=None" in words
    read = []

    def stop(config, folder):
        read.append(open_run_mixture(config, folder) and config)
        raise KeyboardInterrupt

    monkeypatch.setattr("gato_jax.planning.require_memory", lambda config, mixture=None: None)
    monkeypatch.setattr("gato_jax.training.open_run_mixture", stop)
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])
    with pytest.raises(SystemExit) as ended:
        main(["gato", "train", f"--config={file}", f"--workdir={workdir}", *words])
    assert ended.value.code == 130
    (config,) = read
    assert isinstance(config, TrainConfig) and (config.steps, config.mesh.data) == (5000, 2)
    assert config.optimizer.clip_norm is None and config.datasets["local"].weight == 0.2
