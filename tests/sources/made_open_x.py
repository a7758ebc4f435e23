"""Features of Open X-Embodiment's datasets from TFDS's catalogue, and small datasets with these features."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from gato_jax.episodes.tfds_writer import atomic_dataset, write_examples

# A leaf: `480x640x3 image`, `7 float32`, ` bool` and so on. _STEP holds the fields of every step.
_STEP = {"is_first": " bool", "is_last": " bool", "is_terminal": " bool", "reward": " float32"}
_PARTS = {"rotation_delta": "3 float32", "world_vector": "3 float32"}
_CLOSING = {**_PARTS, "gripper_closedness_action": "1 float32", "terminate_episode": " float32"}
_SAID = {"natural_language_embedding": "512 float32", "natural_language_instruction": " string"}
_MOBILE = {
    **_PARTS,
    "base_displacement_vector": "2 float32",
    "base_displacement_vertical_rotation": "1 float32",
    "gripper_closedness_action": "1 float32",
    "terminate_episode": "3 int32",
}


def _converted(action: int, observation: dict[str, str], **more: str) -> dict[str, Any]:
    """Return the features that the laboratories' converters write."""
    return {
        "steps": {
            "action": f"{action} float32",
            "discount": " float32",
            "language_embedding": "512 float32",
            "language_instruction": " string",
            "observation": observation,
            **more,
        },
        "episode_metadata": {"file_path": " string"},
    }


def _two_views(side: int, **state: str) -> dict[str, str]:
    return {"image": f"{side}x{side}x3 image", "wrist_image": f"{side}x{side}x3 image", **state}


_HAND = {"gripper": " bool", "hand_image": "480x640x3 image", "joint_pos": "7 float32"}
_STATES = {"state": "8 float32", "state_ee": "16 float32", "state_gripper": "1 float32", "state_joint": "7 float32"}

FEATURES: dict[str, dict[str, Any]] = {
    "bridge": {
        "steps": {
            "action": {**_PARTS, "open_gripper": " bool", "terminate_episode": " float32"},
            "observation": {"image": "480x640x3 image", **_SAID, "state": "7 float32"},
        }
    },
    "fractal20220817_data": {
        "aspects": {"success": " bool"},
        "steps": {
            "action": _MOBILE,
            "observation": {
                "base_pose_tool_reached": "7 float32",
                "gripper_closed": "1 float32",
                "image": "256x320x3 image",
                "workspace_bounds": "3x3 float32",
                **_SAID,
            },
        },
    },
    "kuka": {
        "steps": {
            "action": _MOBILE,
            "observation": {
                "clip_function_input/base_pose_tool_reached": "7 float32 zlib",
                "clip_function_input/workspace_bounds": "3x3 float32 zlib",
                "gripper_closed": "1 float32 zlib",
                "image": "512x640x3 image",
                **_SAID,
            },
        },
        "success": " bool",
    },
    "taco_play": {
        "steps": {
            "action": {
                "actions": "7 float32",
                "rel_actions_gripper": "7 float32",
                "rel_actions_world": "7 float32",
                "terminate_episode": " float32",
            },
            "observation": {
                "depth_gripper": "84x84 float32",
                "rgb_gripper": "84x84x3 image",
                "rgb_static": "150x200x3 image",
                "robot_obs": "15 float32",
                "structured_language_instruction": " string",
                **_SAID,
            },
        }
    },
    "jaco_play": {
        "steps": {
            "action": {
                "gripper_closedness_action": "1 float32",
                "terminate_episode": "3 int32",
                "world_vector": "3 float32",
            },
            "observation": {
                "end_effector_cartesian_pos": "7 float32",
                "end_effector_cartesian_velocity": "6 float32",
                "image": "224x224x3 image",
                "image_wrist": "224x224x3 image",
                "joint_pos": "8 float32",
                **_SAID,
            },
        }
    },
    "berkeley_cable_routing": {
        "steps": {
            "action": {**_PARTS, "terminate_episode": " float32"},
            "observation": {
                **{f"{view}image": "128x128x3 image" for view in ("", "top_", "wrist225_", "wrist45_")},
                "robot_state": "7 float32",
                **_SAID,
            },
        }
    },
    "roboturk": {"steps": {"action": _CLOSING, "observation": {"front_rgb": "480x640x3 image", **_SAID}}},
    "viola": {
        "steps": {
            "action": {**_CLOSING, "gripper_closedness_action": " float32"},
            "observation": {
                "agentview_rgb": "224x224x3 image",
                "ee_states": "16 float32",
                "eye_in_hand_rgb": "224x224x3 image",
                "gripper_states": "1 float32",
                "joint_states": "7 float32",
                **_SAID,
            },
        }
    },
    "berkeley_autolab_ur5": {
        "steps": {
            "action": {**_CLOSING, "gripper_closedness_action": " float32"},
            "observation": {
                "hand_image": "480x640x3 image",
                "image": "480x640x3 image",
                "robot_state": "15 float32",
                **_SAID,
            },
        }
    },
    "toto": {
        "steps": {
            "action": {**_PARTS, "open_gripper": " bool", "terminate_episode": " float32"},
            "observation": {"image": "480x640x3 image", "state": "7 float32", **_SAID},
        }
    },
    "language_table": {
        "steps": {
            "action": "2 float32",
            "observation": {
                "effector_target_translation": "2 float32",
                "effector_translation": "2 float32",
                "instruction": "512 int32",
                "rgb": "360x640x3 image",
            },
        },
        "episode_id": " string",
    },
    "bc_z": {
        "steps": {
            "action": {
                "future/axis_angle_residual": "30 float32",
                "future/target_close": "10 int64",
                "future/xyz_residual": "30 float32",
            },
            "observation": {
                "episode_success": " float32",
                "image": "171x213x3 image",
                "present/axis_angle": "3 float32",
                "present/sensed_close": "1 float32",
                "present/xyz": "3 float32",
                **_SAID,
            },
        }
    },
    "droid": {
        "steps": {
            "action": "7 float64",
            "action_dict": {
                "cartesian_position": "6 float64",
                "cartesian_velocity": "6 float64",
                "gripper_position": "1 float64",
                "joint_velocity": "7 float64",
            },
            "discount": " float32",
            "language_instruction": " string",
            "language_instruction_2": " string",
            "observation": {
                "cartesian_position": "6 float64",
                **{
                    f"{view}_left": "180x320x3 image"
                    for view in ("exterior_image_1", "exterior_image_2", "wrist_image")
                },
                "gripper_position": "1 float64",
                "joint_position": "7 float64",
            },
        },
        "episode_metadata": {"file_path": " string", "recording_folderpath": " string"},
    },
    "stanford_hydra_dataset_converted_externally_to_rlds": _converted(
        7, {"image": "240x320x3 image", "state": "27 float32", "wrist_image": "240x320x3 image"}, is_dense=" bool"
    ),
    "austin_buds_dataset_converted_externally_to_rlds": _converted(7, _two_views(128, state="24 float32")),
    "nyu_franka_play_dataset_converted_externally_to_rlds": _converted(
        15,
        {
            "depth": "128x128x1 int32",
            "image": "128x128x3 image",
            "image_additional_view": "128x128x3 image",
            "state": "13 float32",
        },
    ),
    "ucsd_kitchen_dataset_converted_externally_to_rlds": _converted(
        8, {"image": "480x640x3 image", "state": "21 float32"}
    ),
    "austin_sailor_dataset_converted_externally_to_rlds": _converted(7, _two_views(128, **_STATES)),
    "austin_sirius_dataset_converted_externally_to_rlds": _converted(7, _two_views(84, **_STATES)),
    "dlr_edan_shared_control_converted_externally_to_rlds": _converted(
        7, {"image": "360x640x3 image", "state": "7 float32"}
    ),
    "iamlab_cmu_pickup_insert_converted_externally_to_rlds": _converted(
        8, {"image": "360x640x3 image", "state": "20 float32", "wrist_image": "240x320x3 image"}
    ),
    "utaustin_mutex": _converted(7, _two_views(128, state="24 float32")),
    "berkeley_fanuc_manipulation": _converted(6, _two_views(224, state="13 float32", end_effector_state="7 float32")),
    "cmu_stretch": _converted(8, {"image": "128x128x3 image", "state": "4 float32"}),
    "stanford_robocook_converted_externally_to_rlds": _converted(
        7, {**{f"image_{number}": "256x256x3 image" for number in range(1, 5)}, "state": "7 float32"}
    ),
    "fmb": _converted(
        7,
        {
            "eef_pose": "7 float32",
            **{f"image_{view}": "256x256x3 image" for view in ("side_1", "side_2", "wrist_1", "wrist_2")},
            "joint_pos": "7 float32",
            "state_gripper_pose": " float32",
        },
    ),
    "dobbe": _converted(7, {"state": "7 float32", "wrist_image": "256x256x3 image", "xyz": "3 float32"}),
    "berkeley_mvp_converted_externally_to_rlds": _converted(8, {**_HAND, "pose": "7 float32"}),
    "berkeley_rpt_converted_externally_to_rlds": _converted(8, _HAND),
}
INSTRUCTION = "put the red block in the bowl"


def _feature(leaf: Any) -> Any:
    import tensorflow_datasets as tfds

    if isinstance(leaf, dict):
        return tfds.features.FeaturesDict({key: _feature(value) for key, value in leaf.items()})
    sides, dtype, *encoding = leaf.split(" ")
    shape = tuple(int(side) for side in sides.split("x") if side)
    if dtype == "image":
        return tfds.features.Image(shape=shape, encoding_format="png")
    if dtype == "string":
        return tfds.features.Text()
    return tfds.features.Tensor(shape=shape, dtype=np.dtype(dtype), encoding=(encoding or ["none"])[0])


def _value(leaf: Any, random: np.random.Generator) -> Any:
    if isinstance(leaf, dict):
        return {key: _value(value, random) for key, value in leaf.items()}
    sides, dtype, *_ = leaf.split(" ")
    shape = tuple(int(side) for side in sides.split("x") if side)
    if dtype == "image":
        file, colour = io.BytesIO(), tuple(random.integers(0, 256, 3).tolist())
        PIL.Image.new("RGB", shape[1::-1], colour).save(file, format="png")
        file.seek(0)
        return file
    if dtype == "string":
        return INSTRUCTION
    if dtype == "bool":
        return np.bool_(random.integers(2))
    if shape == (512,) and dtype == "int32":
        return np.array([*map(ord, INSTRUCTION)] + [0] * (512 - len(INSTRUCTION)), np.int32)
    if dtype.startswith("int"):
        return random.integers(0, 2, shape).astype(dtype)
    return random.uniform(-0.05, 0.05, shape).astype(dtype)


def write_open_x(root: Path, name: str, file_format: str = "array_record", episodes: int = 2) -> tuple[Path, list]:
    """Write a dataset with the features of `name`; return its folder and its examples."""
    import tensorflow_datasets as tfds

    tree = FEATURES[name]
    step = {**_STEP, **tree["steps"]}
    others = {key: value for key, value in tree.items() if key != "steps"}
    random = np.random.default_rng(0)
    examples = []
    for number in range(episodes):
        steps = [_value(step, random) for _ in range(3 + number)]
        for t, one in enumerate(steps):
            one |= {"is_first": t == 0, "is_last": t == 2 + number, "is_terminal": t == 2 + number}
        examples.append({"steps": steps, **_value(others, random)})
    features = tfds.features.FeaturesDict(
        {"steps": tfds.features.Dataset({key: _feature(leaf) for key, leaf in step.items()}), **_feature(others)}
    )
    directory = root / name / "0.1.0"
    with atomic_dataset(directory) as staging:
        write_examples(staging, directory, features, {"train": examples}, file_format=file_format)
    return directory, examples
