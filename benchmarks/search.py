"""Benchmark of the width-based searches beside the emulator alone: frames per second in each.

    python -m benchmarks.search
    python -m benchmarks.search --games=pong --frames=10000

A search restores states, emulates decisions of 16 frames, clones the states that follow and reads their features. The
emulator alone plays decisions of as many frames from the same states, with random actions, in a loop in Python. Both
take turns in one process. Times are the process's own CPU time, so that other programs on the machine do not count.
`ratio` is the median over the rounds of the frames per second of the search and of the emulator.
"""

from __future__ import annotations

import argparse
import pathlib
import random
import statistics
import time
from typing import Any

import numpy as np

from benchmarks.record import write_result
from gato_jax.environments import load
from gato_jax.environments.suites.atari import FRAME_SKIP, Atari
from gato_jax.experts.search import AtariEmulator, SearchSettings, Tree, iw, rollout_iw

GAMES = ("breakout", "ms_pacman", "pong", "qbert", "space_invaders")
SEARCHES = {"rollout_iw": rollout_iw, "iw": iw}
FEATURES = ("ram", "tiles")
_DECISIONS_FROM_A_STATE = 8
_STEPS_BETWEEN = 25  # steps of random play between the states from which is searched


def main():
    """Measure every game with each search and each kind of features, and write the results."""
    parser = argparse.ArgumentParser(description="Benchmark of the width-based searches.")
    parser.add_argument("--games", default=",".join(GAMES), help="Games to measure, comma-separated.")
    parser.add_argument("--frames", type=int, default=6000, help="Number of frames of each round.")
    parser.add_argument("--rounds", type=int, default=8, help="Number of rounds, each from another state.")
    parser.add_argument("--tiny", action="store_true", help="Measure a few frames, to see that everything runs.")
    parser.add_argument("--output", type=pathlib.Path, help="File of results. Default: results/search.json.")
    given = parser.parse_args()
    if given.tiny:
        given.frames, given.rounds = 160, 2
    games = {game: measure_game(game, given.frames, given.rounds) for game in given.games.split(",")}
    write_result("search", {"games": games}, ["ale-py", "numpy"], path=given.output)


def measure_game(game: str, frames: int, rounds: int) -> dict[str, Any]:
    """Return frames per second of the emulator of a game, and of each search with each kind of features in it."""
    environment = load(f"atari/{game}")
    assert isinstance(environment, Atari)
    environment.observed = False
    environment.reset()
    emulators = {features: AtariEmulator(environment, features=features) for features in FEATURES}
    measured: dict[str, list[float]] = {}
    generator = np.random.default_rng(0)
    for _ in range(rounds):
        for _ in range(_STEPS_BETWEEN):
            environment.step({"action": np.asarray(generator.integers(len(environment.actions)))})
        measured.setdefault("emulator", []).append(_emulate(environment, emulators["ram"], frames))
        for features, emulator in emulators.items():
            for search in SEARCHES:
                speed = _search(environment, emulator, search, frames)
                measured.setdefault(f"{search}, {features}", []).append(speed)
    return _summary(game, measured)


def _emulate(environment: Atari, emulator: AtariEmulator, frames: int) -> float:
    """Return the frames per second of the console alone in decisions of random actions."""
    of_decision, state = emulator.decision_steps * FRAME_SKIP, emulator.read(environment)
    actions = [environment.actions[number] for number in np.random.default_rng(0).integers(emulator.actions, size=64)]
    act, begun, played = emulator.console.act, time.process_time(), 0
    for decision in range(-(-frames // of_decision)):
        if decision % _DECISIONS_FROM_A_STATE == 0 or emulator.console.game_over():  # after which nothing is emulated
            emulator.restore(state)
        for _ in range(of_decision):
            act(actions[decision % len(actions)])
        played += of_decision
    return played / (time.process_time() - begun)


def _search(environment: Atari, emulator: AtariEmulator, search: str, frames: int) -> float:
    """Return the frames per second of a search, which begins anew where it has explored all that is new."""
    begun, emulated, seed = time.process_time(), 0, 0
    while emulated < frames:
        tree = Tree(emulator, random.Random(seed), emulator.read(environment))
        SEARCHES[search](tree, frames - emulated, SearchSettings().horizon)
        emulated, seed = emulated + tree.frames, seed + 1
    return emulated / (time.process_time() - begun)


def _summary(game: str, measured: dict[str, list[float]]) -> dict[str, Any]:
    """Return the medians of the frames per second, and of their ratios to those of the emulator."""
    alone = measured.pop("emulator")
    summary: dict[str, Any] = {"emulator_frames_per_second": round(statistics.median(alone))}
    for name, speeds in measured.items():
        ratio = statistics.median(speed / raw for speed, raw in zip(speeds, alone, strict=True))
        summary[name] = {"frames_per_second": round(statistics.median(speeds)), "ratio": round(ratio, 3)}
    print(game, summary, flush=True)
    return summary


if __name__ == "__main__":
    main()
