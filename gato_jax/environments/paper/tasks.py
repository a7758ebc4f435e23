"""The paper's 604 tasks, domain by domain: the rows of its Table 1, and the tasks that it holds out (section 5.2).

The paper publishes the number of tasks of each domain and the names of a few. Lists that we chose say so, with the
reason. gato_jax.environments.paper tells which of the tasks run here, and configs/data/table_1.py makes the paper's
mixture of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from gato_jax.environments.paper import dm_lab_substitutes
from gato_jax.environments.suites import dm_control, meta_world, procgen
from gato_jax.environments.worlds import modular_bodies


@dataclasses.dataclass(frozen=True, kw_only=True)
class Domain:
    """One row of Table 1.

    Attributes:
      title: Name that the paper gives it.
      tasks: Names of its tasks, `suite/task`, or the name of the dataset for images and text.
      chosen: Reason for the choice of the tasks where the list is ours; "" where the paper determines it.
      substitutes: {name of a task: task of the registry, or source of data, that stands for it}.
      readers: {name of a dataset of images and text: source that reads it}.
      why: Reason why tasks that are neither registered nor in `substitutes` or `readers` are unavailable.
    """

    title: str
    tasks: tuple[str, ...]
    chosen: str = ""
    substitutes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    readers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    why: str = "gato_jax has no such task"


def _tasks(suite: str, names: str | Iterable[str], suffix: str = "") -> tuple[str, ...]:
    """Return the full names of tasks, given their names, or these in one text with spaces between them."""
    return tuple(f"{suite}/{name}{suffix}" for name in (names.split() if isinstance(names, str) else names))


HELD_OUT = (
    "dm_control/cartpole/swingup",
    "meta_world/assembly-v3",
    "atari/boxing",
    "dm_lab/order_of_apples_forage_simple",
)
"""Tasks of section 5.2, which are not among the 604: no agent is trained on them, in whatever spelling."""

_NOT_RELEASED = "never released"

_ATARI = (
    "alien amidar assault asterix asteroids atlantis bank_heist battle_zone beam_rider berzerk bowling breakout "
    "centipede chopper_command crazy_climber defender demon_attack double_dunk enduro fishing_derby freeway frostbite "
    "gopher gravitar hero ice_hockey jamesbond kangaroo krull kung_fu_master ms_pacman name_this_game phoenix pong "
    "qbert riverraid road_runner robotank seaquest skiing solaris space_invaders star_gunner tennis time_pilot "
    "tutankham up_n_down video_pinball wizard_of_wor yars_revenge zaxxon"
)
_ATARI_EXTENDED = (
    "alien asteroids atlantis bank_heist berzerk bowling breakout chopper_command crazy_climber defender demon_attack "
    "double_dunk fishing_derby freeway gopher gravitar hero ice_hockey ms_pacman name_this_game pong space_invaders "
    "star_gunner tennis up_n_down video_pinball yars_revenge zaxxon"
)
_BABYAI = (
    "ActionObjDoor BlockedUnlockPickup BossLevel BossLevelNoUnlock FindObjS5 GoTo GoToDoor GoToImpUnlock GoToLocal "
    "GoToObj GoToObjDoor GoToObjMaze GoToOpen GoToRedBall GoToRedBallGrey GoToRedBallNoDists GoToRedBlueBall GoToSeq "
    "KeyCorridor KeyInBox MiniBossLevel MoveTwoAcrossS8N9 OneRoomS8 Open OpenDoor OpenDoorColor OpenDoorLoc "
    "OpenDoorsOrderN4 OpenRedBlueDoors OpenRedDoor OpenTwoDoors Pickup PickupAbove PickupDist PickupLoc PutNextLocal "
    "PutNextS7N4 Synth SynthLoc SynthSeq UnblockPickup Unlock UnlockLocal UnlockPickup UnlockPickupDist "
    "UnlockToUnlock"
)
_BENCHMARKING_27 = tuple(task for task in dm_control.BENCHMARKING if task != "cartpole/swingup")  # which is held out
_BENCHMARKING_26 = tuple(task for task in _BENCHMARKING_27 if task != "pendulum/swingup")
_NOT_OF_THE_45 = ("assembly-v3", "box-close-v3", "door-lock-v3", "door-unlock-v3", "hand-insert-v3")
_META_WORLD = tuple(task for task in meta_world.TASKS if task not in _NOT_OF_THE_45)
_DM_LAB_30 = (
    "explore_goal_locations_large explore_goal_locations_small explore_object_locations_large "
    "explore_object_locations_small explore_object_rewards_few explore_object_rewards_many "
    "explore_obstructed_goals_large explore_obstructed_goals_small language_answer_quantitative_question "
    "language_execute_random_task language_select_described_object language_select_located_object "
    "lasertag_one_opponent_large lasertag_one_opponent_small lasertag_three_opponents_large "
    "lasertag_three_opponents_small natlab_fixed_large_map natlab_varying_map_randomized natlab_varying_map_regrowth "
    "psychlab_arbitrary_visuomotor_mapping psychlab_continuous_recognition psychlab_sequential_comparison "
    "psychlab_visual_search rooms_collect_good_objects_test rooms_exploit_deferred_effects_test "
    "rooms_keys_doors_puzzle rooms_select_nonmatching_object rooms_watermaze skymaze_irreversible_path_hard "
    "skymaze_irreversible_path_varied"
)
_DM_LAB_UNNAMED = " ".join(f"unnamed_{number:03}" for number in range(31, 255))

DOMAINS = {
    "dm_lab": Domain(
        title="DM Lab",
        tasks=_tasks("dm_lab", f"{_DM_LAB_30} {_DM_LAB_UNNAMED}"),
        chosen="the 254 levels are not published; 30 entries have the names of DMLab-30, the others a number",
        why="DeepMind Lab has no package for the supported versions of Python",
        substitutes=dm_lab_substitutes.SUBSTITUTES,
    ),
    "ale_atari": Domain(
        title="ALE Atari",
        tasks=_tasks("atari", _ATARI),
        chosen="51 of the usual 57, with the 23 that the paper names: boxing is held out, Surround is missing in older "
        "sets, and Montezuma's Revenge, Pitfall, Private Eye and Venture have rewards so rare that an expert without "
        "weights records next to none",
    ),
    "ale_atari_extended": Domain(
        title="ALE Atari Extended",
        tasks=_tasks("atari_extended", _ATARI_EXTENDED),
        chosen="28 of the 29 games above that have four or more pairs of mode and difficulty; the other is Tutankham",
    ),
    "sokoban": Domain(
        title="Sokoban", tasks=("sokoban/medium",), chosen="levels of our own generator, of the middle of three grades"
    ),
    "babyai": Domain(
        title="BabyAI",
        tasks=_tasks("babyai", _BABYAI, "-v0"),
        chosen="46 of the 96 levels: the 39 that JAT recorded, which cover every kind of mission, and seven more kinds "
        "of doors",
    ),
    "dm_control": Domain(
        title="DM Control Suite",
        tasks=_tasks("dm_control", (*_BENCHMARKING_27, "dog/run", "dog/stand", "dog/walk")),
        chosen="the 28 tasks for benchmarks without cartpole/swingup, which is held out, and three of the largest "
        "body: Table 1 has 57 tokens per step, the 27 have 28, and with these three the mean is 51",
    ),
    "dm_control_pixels": Domain(
        title="DM Control Suite Pixels",
        tasks=_tasks("dm_control_pixels", dm_control.BENCHMARKING),
        chosen="the suite has 28 tasks for benchmarks",
    ),
    "dm_control_random_small": Domain(
        title="DM Control Suite Random Small",
        tasks=_tasks("dm_control_random_small", _BENCHMARKING_26),
        chosen="the 28 tasks for benchmarks without cartpole/swingup, which is held out, and pendulum/swingup: Table 1 "
        "has 29.5 tokens per step, and without these two the mean is 29",
    ),
    "dm_control_random_large": Domain(
        title="DM Control Suite Random Large",
        tasks=_tasks("dm_control_random_large", _BENCHMARKING_26),
        chosen="the tasks of Random Small",
    ),
    "meta_world": Domain(
        title="Meta-World",
        tasks=_tasks("meta_world", _META_WORLD),
        chosen="the 45 training tasks of ML45 with bin-picking instead of assembly, which is held out",
    ),
    "procgen": Domain(
        title="Procgen Benchmark",
        tasks=_tasks("procgen", procgen.TASKS),
    ),
    "rgb_stacking_simulator": Domain(
        title="RGB Stacking simulator",
        tasks=("rgb_stacking/skill_generalisation",),
        chosen="the paper's data are of training objects only; the scene is our own build of the one that was released",
    ),
    "rgb_stacking_real": Domain(
        title="RGB Stacking real robot",
        tasks=("rgb_stacking_real/stack",),
        why=f"it is a robot in DeepMind's laboratory, and its data were {_NOT_RELEASED}",
    ),
    "modular_rl": Domain(
        title="Modular RL",
        tasks=_tasks("modular_rl", modular_bodies.bodies()),
        chosen="the 38 bodies that the authors of Modular RL released, built by our own code",
    ),
    "manipulation_playground": Domain(
        title="DM Manipulation Playground",
        tasks=_tasks("manipulation", "lift_large_box stack_2_bricks place_cradle place_brick", "_features"),
        chosen=f"tasks of dm_control's Jaco arm in place of box, stack banana, insertion and slide, {_NOT_RELEASED}",
    ),
    "playroom": Domain(
        title="Playroom",
        tasks=("playroom/playroom",),
        why=f"{_NOT_RELEASED}, and the paper does not describe it",
    ),
    "massive_text": Domain(
        title="MassiveText", tasks=("massive_text",), substitutes={"massive_text": "tfds_text:c4/en"}
    ),
    "m3w": Domain(
        title="M3W", tasks=("m3w",), why=f"{_NOT_RELEASED}; image_text:DIR reads pages of your own with images"
    ),
    "align": Domain(title="ALIGN", tasks=("align",), why=f"{_NOT_RELEASED}; image_text:DIR reads pairs of your own"),
    "ms_coco_captions": Domain(
        title="MS-COCO Captions",
        tasks=("ms_coco_captions",),
        readers={"ms_coco_captions": "tfds_text:coco_captions/2014"},
    ),
    "conceptual_captions": Domain(
        title="Conceptual Captions",
        tasks=("conceptual_captions",),
        readers={"conceptual_captions": "image_text:DIR"},
    ),
    "ltip": Domain(title="LTIP", tasks=("ltip",), why=f"{_NOT_RELEASED}; image_text:DIR reads pairs of your own"),
    "okvqa": Domain(title="OKVQA", tasks=("okvqa",), readers={"okvqa": "vqa:DIR"}),
    "vqa_v2": Domain(title="VQAv2", tasks=("vqa_v2",), readers={"vqa_v2": "vqa:DIR"}),
}
"""{key of a domain: its row of Table 1}, in the order of the table: 16 of control, then eight of images and text."""
