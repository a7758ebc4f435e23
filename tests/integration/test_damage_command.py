"""A flipped bit in the newest checkpoint is one line in every verb that reads it, and training goes on before it."""

import shutil

import pytest

from tests.checkpoints.made_checkpoint import flip, largest_file
from tests.integration.conftest import TASK, gato, train

pytestmark = pytest.mark.usefixtures("shared_programs")


@pytest.fixture(scope="module")
def damaged(trained, tmp_path_factory):
    """A copy of the run of twenty steps, with a flipped bit in the params of its newest checkpoint."""
    run = shutil.copytree(trained, tmp_path_factory.mktemp("damaged") / "run", symlinks=True)
    flip(largest_file(run / "checkpoints" / "20" / "params"), 4321)
    return run


@pytest.mark.parametrize(
    "words",
    [
        "export --format=safetensors --workdir={run} --output={tmp}/agent.safetensors",
        "evaluate --workdir={run} --episodes=1",
        f"collect --policy={{run}} --tasks={TASK} --episodes=1 --output={{tmp}}/data",
        "finetune --from={run} --config=configs/finetune.py --workdir={tmp}/tuned",
    ],
    ids=lambda words: words.partition(" ")[0],
)
def test_a_damaged_agent_is_refused(damaged, tmp_path, words):
    said = gato(*(word.format(run=damaged, tmp=tmp_path) for word in words.split())).complaint()
    assert f"checkpoint {damaged}/checkpoints/20 cannot be restored: params/" in said
    assert f"The checkpoint before it, {damaged}/checkpoints/16, is undamaged: train with --on_damage=previous" in said
    assert not list(tmp_path.rglob("*.safetensors"))


def test_training_refuses_a_damaged_checkpoint_or_goes_back(damaged):
    said = train(damaged).complaint()
    assert f"checkpoint {damaged}/checkpoints/20 cannot be restored: params/" in said
    assert train(damaged, "--on_damage=previous", "--stop_after=16").status == 0
    assert sorted(path.name for path in (damaged / "checkpoints").iterdir()) == ["16", "20.damaged"]
