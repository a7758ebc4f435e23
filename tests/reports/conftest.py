"""A small, plausible run folder, made of synthetic arrays: what a report is written from when nothing was trained."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from gato_jax.evaluation.aggregates import aggregate, aggregate_domains, aggregate_human
from gato_jax.evaluation.published import published_on_task

ODD_CAPTION = '<b>&"'
# name: metric, random, best constant, expert, agent, half its interval, loss at the end
TASKS = {
    "meta_world/reach-v3": ("success", 0.0, 0.05, 1.0, 0.8, 0.17, 1.9),
    "babyai/GoToRedBallGrey-v0": ("success", 0.18, 0.12, 1.0, 0.95, 0.08, 0.35),
    "dm_control/cheetah/run": ("return", 4.1, 12.9, 812.0, 455.5, 61.0, 2.6),
    "modular_rl/walker_5_main": ("return", 31.0, 102.0, 1480.0, 355.0, 90.0, 3.1),
    "atari/freeway": ("return", 0.0, 21.4, 32.0, 27.6, 1.6, 0.22),
}


@pytest.fixture(scope="session")
def made_run(tmp_path_factory) -> Path:
    """A finished run's folder; read it, do not change it."""
    workdir = tmp_path_factory.mktemp("run")
    make_run(workdir)
    return workdir


@pytest.fixture
def own_run(made_run, tmp_path) -> Path:
    """A finished run's folder of the test's own."""
    return Path(shutil.copytree(made_run, tmp_path / "run", ignore=shutil.ignore_patterns("report.html")))


def make_run(workdir: Path) -> None:
    rng = np.random.default_rng(0)
    _write(workdir / "results.json", _results())
    lines = (json.dumps(row) for row in _metrics(rng))
    (workdir / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (workdir / "rollouts").mkdir()
    for name in TASKS:
        rollout = _rollout(name, rng)
        np.savez_compressed(workdir / "rollouts" / f"{name.replace('/', '__')}.npz", **rollout)
    (workdir / "predictions").mkdir()
    np.savez_compressed(workdir / "predictions" / "robot.npz", **_prediction(rng))
    truths = [
        "red apple",
        "grinning face",
        "crescent moon",
        "sailboat",
        ODD_CAPTION,
        "maple leaf",
        "alarm clock",
        "four o'clock",
    ]
    drawn = [["red apple", "apple", "cherries"], ["grinning face", "face with tears of joy", "slightly smiling face"]]
    drawn += [["new moon", "crescent moon", "waxing moon"], ["speedboat", "ferry", "canoe"], ["<i>", "", "&amp;"]]
    drawn += [
        ["leaf fluttering in wind", "herb", "maple leaf"],
        ["watch", "alarm clock", "one o'clock"],
        ["five o'clock"] * 3,
    ]
    captions = [
        {"image": _icon(i), "truth": t, "samples": s} for i, (t, s) in enumerate(zip(truths, drawn, strict=True))
    ]
    _write(workdir / "captions.json", captions)
    turns = [
        ("What is your favourite colour?", "I do not have eyes, but I like blue.", "I like the colour of your shirt."),
        (
            "Tell me a joke.",
            "What do you get when you cross a fish and an elephant? Swimming trunks.",
            "a fish and an elephant",
        ),
        ("How do you work?", "I predict one token after another.", "I am a program, and I do not sleep."),
        ("Good morning", "Good morning to you too.", "Good morning, how are you?"),
    ]
    _write(workdir / "dialogue.json", [{"prompt": p, "truth": t, "sample": s} for p, t, s in turns])
    _write(workdir / "data.json", _data())
    optimizer = {"peak_learning_rate": 1e-3, "clip_norm": 1.0, "ema_decay": None}
    _write(workdir / "config.json", {"seed": 0, "steps": 6000, "optimizer": optimizer, "held_out_tasks": []})


def _results() -> dict:
    tasks = {name: _task_entry(name) for name in TASKS}
    neighbour = {name: tasks[name] | {"agent": 0.4, "normalised": 0.4} for name in list(TASKS)[:2]}
    held_out = {
        "captions/emoji": {"value": 9.4, "baseline": 31.2, "metric": "perplexity", "exact_match": 0.11, "episodes": 70},
        "dialogue/chatterbot": {"value": 58.3, "baseline": 190.5, "metric": "perplexity"},
        "robot": _robot_errors(),
    }
    run = {
        "parameters": 4_913_408,
        "steps": 6000,
        "tokens": 24_576_000,
        "seed": 0,
        "machine": "two CPU cores, 8 GB",
        "versions": {"python": "3.11.7", "jax": "0.10.2", "flax": "0.12.8", "gato_jax": "0.1.0"},
        "command": "gato quickstart --workdir=runs/quickstart --seed=0",
        "stages": {"record": 120.0, "tokenize": 20.0, "train": 760.0, "evaluate": 132.0},
    }
    return {
        "tasks": tasks,
        "aggregate": aggregate(tasks),
        "domains": aggregate_domains(tasks),
        "human": aggregate_human(tasks),
        "failed": {"dm_control/cheetah/run": [{"seed": 1_000_003, "reason": "ZeroDivisionError: it is unstable"}]},
        "baselines": {"nearest_neighbour": {"tasks": neighbour}},
        "held_out": held_out,
        "minutes": 17.2,
        "peak_memory_bytes": 3_210_000_000,
        "run": run,
    }


def _robot_errors() -> dict:
    def errors(value: float) -> dict:
        parts = {"value": 1, "without_history": 1.6, "baseline": 2.4, "median_baseline": 2.3, "repeat_baseline": 1.3}
        return {name: value * part for name, part in parts.items()}

    return {
        **errors(0.061),
        "by_dimension": {"arm[0]": errors(0.05), "arm[1]": errors(0.09), "gripper": errors(0.043)},
        "by_horizon": [
            {"first_step": 0, "last_step": 0, "steps": 8, "value": 0.12},
            {"first_step": 1, "last_step": 1, "steps": 8, "value": 0.08},
            {"first_step": 2, "last_step": 3, "steps": 16, "value": 0.05},
        ],
        "discrete": {},
        "metric": "mean absolute action error",
        "episodes": 8,
        "step": 6000,
    }


def _prediction(rng, steps: int = 80) -> dict:
    recorded = np.sin(np.arange(steps)[:, None] / np.array([7.0, 11.0, 20.0])).astype(np.float32)
    path = np.cumsum(recorded[:, :2] * 0.05, axis=0) + 0.5
    return {
        "recorded": recorded,
        "predicted": recorded + rng.normal(0, 0.08, recorded.shape).astype(np.float32),
        "names": np.array(["arm[0]", "arm[1]", "gripper"]),
        "low": np.full(3, -1.0),
        "high": np.ones(3),
        "frames": np.stack([_scene(96, 128, 1, position) for position in path % 0.9]),
        "episode": np.array(0),
        "step": np.array(6000),
    }


def _task_entry(name: str, episodes: int = 20) -> dict:
    """The entry of a task whose episodes have the mean that TASKS says."""
    metric, random, constant, expert, agent, half, _ = TASKS[name]
    success, span = metric == "success", expert - random
    scores = np.random.default_rng(len(name)).normal(0, 2 * half, episodes)
    scores = np.arange(episodes) < agent * episodes if success else agent + scores - scores.mean()
    ci = [max(0, agent - half), min(1.0 if success else np.inf, agent + half)]
    return {
        "episodes": episodes,
        "seeds": [*range(1_000_000, 1_000_000 + episodes)],
        "scores": scores.astype(float).tolist(),
        "metric": metric,
        "agent": agent,
        "agent_ci": ci,
        "random": random,
        "constant": constant,
        "expert": expert,
        "human": 29.6 if name == "atari/freeway" else None,
        "normalised": (agent - random) / span,
        "normalised_ci": [(end - random) / span for end in ci],
        "noise_floor": 0.04,
        "unscaled": None,
        "human_normalised": 0.93 if name == "atari/freeway" else None,
        "return_mean": agent * 100 if success else agent,
        "success_rate": agent if success else None,
        "published": published_on_task(name),
        "prompt": None,
    }


def _metrics(rng) -> list[dict]:
    ends = {name: values[-1] for name, values in TASKS.items()} | {"captions/emoji": 2.2, "dialogue/chatterbot": 4.0}
    rows = []
    for step in range(20, 6001, 20):
        row = {"step": step, "learning_rate": 1e-3 * min(step / 300, 1) * (0.55 + 0.45 * np.cos(np.pi * step / 6000))}
        for index, (name, end) in enumerate(ends.items()):
            row[f"loss/{name}"] = (end + (6.5 - end) * np.exp(-step / (350 + 140 * index))) * rng.lognormal(0, 0.07)
        row["loss"] = float(np.mean([row[f"loss/{name}"] for name in ends]))
        row["tokens_per_second"] = float(rng.normal(32_000, 900)) * (0.3 if step == 20 else 1.0)
        rows.append(row | {"seconds": step * 0.127})
    return rows


def _rollout(name: str, rng, steps: int = 90) -> dict[str, np.ndarray]:
    """A scene in which something moves, and actions that look like moving it."""
    wave = np.sin(np.arange(steps)[:, None] / np.array([5.0, 9.0, 14.0, 6.0, 8.0, 11.0, *range(4, 19)]))
    rewards = np.clip(rng.normal(0.3, 0.4, steps), 0, None).astype(np.float32)
    if name.startswith("babyai"):
        actions = np.minimum(rng.geometric(0.45, (steps, 1)) - 1, 6)
        names, scene = ["left", "right", "forward", "pickup", "drop", "toggle", "done"], (64, 64, 8)
        rewards = np.zeros(steps, np.float32)
        rewards[-1] = 0.9
    elif name.startswith("atari"):
        actions, names, scene = rng.choice(3, (steps, 1), p=[0.1, 0.8, 0.1]), ["NOOP", "UP", "DOWN"], (210, 160, 6)
    else:
        dimensions = {"meta_world": 4, "dm_control": 6, "modular_rl": 21}[name.split("/")[0]]
        actions = (wave[:, :dimensions] * np.exp(-np.arange(steps) / 60)[:, None]).astype(np.float32)
        names, scene = [f"joint {i}" for i in range(dimensions)], (128, 128, 1)
    if name.startswith("meta_world"):
        names = ["dx", "dy", "dz", "gripper"]
    path = np.cumsum(wave[:, :2] * 0.05, axis=0) + 0.5
    frames = np.stack([_scene(*scene, position) for position in path % 0.9])
    score = 1.0 if TASKS[name][0] == "success" else rewards.sum()
    rollout = {"frames": frames, "actions": actions, "action_names": np.array(names), "rewards": rewards}
    return rollout | {"seed": np.array(7), "score": np.array(score)} | _annotations(name, actions, frames)


def _annotations(name: str, actions: np.ndarray, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Probabilities that are highest at the actions taken; the film of one task has none."""
    if name.startswith("babyai"):
        return {}
    discrete = np.issubdtype(actions.dtype, np.integer)
    count = 3 if discrete else 32
    low, high = (
        np.full(actions.shape[1], 0.0 if discrete else -1.0),
        np.full(actions.shape[1], 2.0 if discrete else 1.0),
    )
    place = (actions - low) / (high - low) * (count - 1)
    chances = np.exp(-(((np.arange(count) - place[..., None]) / (0.6 if discrete else 2.0)) ** 2))
    probabilities = np.zeros((*actions.shape, 32), np.uint8)
    probabilities[..., :count] = 255 * chances / chances.sum(axis=-1, keepdims=True)
    found = {"probabilities": probabilities, "cells": np.full(actions.shape[1], count), "low": low, "high": high}
    if name.startswith("atari"):
        weights = np.random.default_rng(0).exponential(size=(6, 5)) ** 2
        seen = {
            "attention": 0.4 * weights / weights.sum(),
            "attention_image": frames[40],
            "attention_step": np.array(40),
        }
        found |= seen
    return found


def _scene(height: int, width: int, cell: int, position: np.ndarray) -> np.ndarray:
    """A shaded floor where `cell` is 1, a grid world else, and a ball in it."""
    rows, columns = np.mgrid[:height, :width]
    if cell == 1:
        frame = np.stack([150 + 60 * rows / height, 160 + 40 * columns / width, 170 - 40 * rows / height], axis=-1)
    else:
        frame = np.where(((rows // cell + columns // cell) % 2)[..., None], [44, 46, 52], [54, 57, 64]).astype(float)
    centre = position * (height, width)
    if cell > 1:
        centre = centre // cell * cell + cell / 2
    near = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < (max(3, cell / 2.2) if cell > 1 else width / 12) ** 2
    frame[near] = (214, 74, 60)
    return frame.astype(np.uint8)


def _icon(index: int) -> str:
    image = Image.new("RGBA", (64, 64))
    shape = ImageDraw.Draw(image)
    colour = [
        (206, 60, 50),
        (240, 190, 60),
        (250, 215, 110),
        (70, 130, 190),
        (130, 90, 160),
        (190, 90, 40),
        (90, 150, 110),
        (80, 80, 90),
    ]
    draw = (shape.ellipse, shape.rectangle)[index % 2]
    draw((8, 8, 56, 56), fill=colour[index])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _data() -> list[dict]:
    sources = {"meta_world": ("metaworld 3.1.1", "MIT", "scripted policy, Gaussian noise 0.3 on the executed action")}
    sources["babyai"] = ("minigrid 3.2.0", "Apache-2.0", "BabyAI bot")
    sources["dm_control"] = ("dm_control 1.0.28", "Apache-2.0", "predictive sampling planner")
    sources["modular_rl"] = ("modular-rl, MJCF only", "CC-BY-NC-4.0", "predictive sampling planner")
    sources["atari"] = ("ale-py 0.12.1", "GPL-2.0", "tree search on the emulator's state")
    rows = [(name, 150, 9000, *sources[name.split("/")[0]], "simulated", 0.16) for name in TASKS]
    rows.append(("captions/emoji", 1359, 1359, "Noto Emoji, Unicode names", "Apache-2.0", "", "synthetic", 0.12))
    rows.append(("robot/lerobot_pusht", 40, 5200, "LeRobot pusht image", "MIT", "human, teleoperated", "real", 0.08))
    keys = ("dataset", "episodes", "steps", "source", "licence", "agent", "kind", "weight")
    return [dict(zip(keys, row, strict=True)) for row in rows]


def _write(path: Path, value) -> None:
    path.write_text(json.dumps(value))
