"""Tests of the spellings of task names that public datasets use."""

import pytest

from gato_jax.environments import spelled_task, task_names
from gato_jax.sources.rlds import RLDS_DATASETS

TASKS = (
    "dm_control/cartpole/swingup", "meta_world/assembly-v3", "atari/boxing", "dm_lab/order_of_apples_forage_simple",
)  # fmt: skip
SPELLED = {
    0: """rlu_control_suite/cartpole_swingup  cartpole-swingup  CartPole_SwingUp  dm_control__cartpole__swingup
    dmc/Cartpole.swing_up  cartpole%2Fswingup  dm_control_pixels/cartpole/swingup  swingup_cartpole  CARTPOLE/SWINGUP
    rlu_rwrl/cartpole_swingup_combined_challenge_none_1_percent  dm_control_random_small/cartpole_swingup_3""",
    1: """assembly-v2  assembly  metaworld-assembly  meta_world/assembly-v3  assembly-v2-goal-observable
    lerobot/metaworld_mt50_assembly  sawyer_assembly  MetaWorld/Assembly  mt1-assembly-v3""",
    2: """rlu_atari/Boxing_run_1  ALE/Boxing-v5  BoxingNoFrameskip-v4  atari/boxing/expert-v0  boxing  Boxing-ram-v0
    rlu_atari_checkpoints_ordered/Boxing_run_5  atari_extended/boxing_mode_2  atari__boxing  AtariBoxing
    atari_short/boxing  atari_short__boxing  atari_80x64/boxing  atari_80x64__boxing  atari_extended/boxing""",
    3: "dmlab/order_of_apples_forage_simple  rlu_dmlab_order_of_apples_forage_simple/training_0",
}
OTHERS = """cartpole/swingup_sparse  rlu_control_suite/cartpole_balance  acrobot_swingup  dm_control/pendulum/swingup
meta_world/disassemble-v3  furniture_assembly  nist_assembly_board  open_x/shadow_boxing_robot  atari/bowling
dm_lab/order_of_apples_forage_simpler_maze  kickboxing  unboxing_videos  rlu_dmlab_rooms_watermaze/training_0"""


@pytest.mark.parametrize("task, text", [(TASKS[at], text) for at, texts in SPELLED.items() for text in texts.split()])
def test_every_spelling_of_a_task_is_found(task, text):
    assert spelled_task(text, TASKS) == task


@pytest.mark.parametrize("text", OTHERS.split())
def test_other_tasks_are_not_found(text):
    assert spelled_task(text, TASKS) is None


def test_longer_names_are_other_tasks():
    assert spelled_task("metaworld/coffee-push-v2", ("meta_world/push-v3",)) is None
    assert spelled_task("metaworld/push-v2", ("meta_world/push-v3",)) == "meta_world/push-v3"
    assert spelled_task("BabyAI-GoToObj-v0", ("babyai/GoTo-v0",)) is None


@pytest.mark.parametrize("held_out", ["atari_short/boxing", "atari_80x64/boxing", "atari_extended/boxing"])
def test_a_variant_of_a_suite_has_the_spellings_of_the_suite(held_out):
    for text in ("rlu_atari/Boxing_run_1", "ALE/Boxing-v5", "atari/boxing", held_out):
        assert spelled_task(text, (held_out,)) == held_out
    assert spelled_task("atari/bowling", (held_out,)) is None


def test_of_all_registered_names_only_the_held_out_ones_are_found():
    held_out = {task.partition("/")[2] for task in TASKS[:3]}  # in every variant of their suites
    expected = {name for name in task_names() if name.partition("/")[2] in held_out}
    assert {name for name in task_names() if spelled_task(name, TASKS)} == expected > set(TASKS[:3])
    found = {name for name in RLDS_DATASETS if spelled_task(name, TASKS)}
    assert found >= {"rlu_control_suite/cartpole_swingup", "rlu_atari/Boxing_run_1"}
    assert all("cartpole_swingup" in name or "Boxing" in name for name in found)
