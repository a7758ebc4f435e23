"""Scores of the players of Atari on beginnings of episodes: settings of the planner, and scripts beside it.

    python -m experiments.atari_players
    python -m experiments.atari_players --games=pong --players=script --episodes=3

It plays the games and players of COMPARISONS and writes experiments/results/atari_players.json after each episode;
killed and run again, it goes on with the next one. The seeds are those on which experts are trained, so that what is
chosen by these scores has not seen the seeds of any other score. Episodes are cut off after --steps.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import pathlib
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import app, flags

from experiments.stages import write_json
from gato_jax.environments import EXPERT_TRAINING_SEEDS, Environment, load
from gato_jax.experts import Expert, ExpertActor
from gato_jax.experts.atari import SCRIPTS, AtariPlanner, RamScript
from gato_jax.experts.search import SearchSettings
from gato_jax.rollouts import play
from gato_jax.runtime.sessions import machine

_GAMES = flags.DEFINE_list("games", [], "Games to play, comma-separated. Default: those of COMPARISONS.")
_PLAYERS = flags.DEFINE_list("players", [], "Players to measure, comma-separated. Default: those of COMPARISONS.")
_EPISODES = flags.DEFINE_integer("episodes", 1, "Number of episodes of each game and player.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 750, "Number of steps, of four frames, after which episodes end.", lower_bound=1)

RESULTS = pathlib.Path(__file__).with_name("results") / "atari_players.json"


def _planner(game: str, *, features: str = "ram", **settings: Any) -> Expert:
    return AtariPlanner(game, settings=SearchSettings(**{"frames": 3000, **settings}), features=features)


PLAYERS: dict[str, Callable[[str], Expert]] = {
    "script": RamScript,
    "rollout_iw": _planner,
    "rollout_iw+tiles": functools.partial(_planner, features="tiles"),
    "iw": functools.partial(_planner, search="iw"),
    "iw+tiles": functools.partial(_planner, search="iw", features="tiles"),
    "rollout_iw+horizon 30": functools.partial(_planner, horizon=30),
    "rollout_iw+discount 0.95": functools.partial(_planner, discount=0.95),
    "rollout_iw+free lives": functools.partial(_planner, life_cost=0.0),
    "rollout_iw+ten times the frames": functools.partial(_planner, frames=30_000),
}
_SEARCHED = ("space_invaders", "seaquest", "ms_pacman", "asterix")
_WEAK = ("boxing", "enduro", "fishing_derby", "tennis")  # without a script
# (games, players), the most informative ones first.
COMPARISONS = (
    (tuple(SCRIPTS), ("script", "rollout_iw")),
    (_SEARCHED, ("rollout_iw", "rollout_iw+tiles")),
    (_WEAK, ("rollout_iw",)),
    (_SEARCHED, tuple(name for name in PLAYERS if name != "script")),
)


def main(argv: list[str]):
    """Play the missing episodes of the games and players that the flags select."""
    del argv
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"commands": [], "scores": {}}
    measured = results["scores"]
    for game, player, seed in _selected():
        episodes = measured.setdefault(game, {}).setdefault(player, {})
        name = f"seed {seed}, {_STEPS.value} steps"
        if name not in episodes:
            episodes[name] = measure(game, player, seed, _STEPS.value)
            print(game, player, name, episodes[name], flush=True)
            write_json(RESULTS, _origin(results["commands"]) | {"scores": measured})


def _selected() -> Iterator[tuple[str, str, int]]:
    """Yield (game, player, seed) of the episodes to play, some of them twice."""
    for games, players in COMPARISONS:
        games, players = _GAMES.value or games, _PLAYERS.value or players
        for seed in EXPERT_TRAINING_SEEDS[: _EPISODES.value]:
            yield from ((game, player, seed) for player in players for game in games)


def measure(game: str, player: str, seed: int, steps: int) -> dict[str, float]:
    """Play one episode of a game, and return its score, its steps, the processor time and the emulated frames."""
    made: list[Expert] = []

    def make_expert(name: str) -> Expert:
        made.append(PLAYERS[player](name.partition("/")[2]))
        return made[-1]

    def load_short(name: str) -> Environment:
        environment = load(name)
        environment.max_steps, environment.observed = steps, False
        return environment

    begun = time.process_time()
    actor = functools.partial(ExpertActor, make_expert=make_expert)
    [episode] = play(actor, [(f"atari/{game}", seed)], load=load_short)
    seconds = time.process_time() - begun
    result = {"score": float(episode.score or 0), "steps": len(episode.reward) - 1, "cpu_seconds": round(seconds, 1)}
    if isinstance(made[0], AtariPlanner):
        planner = made[0].planner
        result |= {"decisions": planner.decisions, "frames_a_decision": round(planner.frames / planner.decisions)}
    return result


def _origin(commands: Sequence[str]) -> dict[str, Any]:
    """Return the commands, earlier ones first, the machine and the versions of the results."""
    command = shlex.join(["python", "-m", "experiments.atari_players", *sys.argv[1:]])
    return {
        "commands": list(dict.fromkeys([*commands, command])),
        "machine": machine(),
        "versions": {"python": platform.python_version(), "ale-py": importlib.metadata.version("ale-py")},
    }


if __name__ == "__main__":
    app.run(main)
