import functools
from collections import deque

import numpy as np
import pytest

from gato_jax.environments import REFERENCE_SEEDS, load
from gato_jax.environments.suites.sokoban import Sokoban
from gato_jax.environments.worlds.sokoban_levels import GRADES, MAX_MOVES, generate
from gato_jax.environments.worlds.sokoban_rooms import Room
from gato_jax.experts import ExpertActor, expert
from gato_jax.experts.sokoban import is_frozen, moves, solve
from gato_jax.rollouts import ActorFailure, play


def _room(*rows):
    return Room.from_text("\n".join(row.ljust(10, "#") for row in (*rows, *[""] * (10 - len(rows)))))


def _has_solution(room):
    """Return True if any sequence of moves solves the room, by a breadth-first search over moves."""
    queue, seen = deque([room]), {room}
    while queue:
        room = queue.popleft()
        if room.solved:
            return True
        new = {room.move(direction) for direction in range(4)} - seen
        seen |= new
        queue.extend(new)
    return False


@pytest.mark.parametrize("grade", GRADES)
def test_every_level_is_solved_within_the_limit(grade):
    for seed in REFERENCE_SEEDS[:25]:
        level = generate(seed, grade)
        steps = moves(level.room, solve(level.room))
        assert len(steps) <= MAX_MOVES and functools.reduce(Room.move, steps, level.room).solved


def test_no_push_that_a_solution_needs_is_pruned():
    base = _room("", "#.   .#", "#.   .#", "#     #", "#@    #")
    cells = [cell for cell in range(100) if not base.walls >> cell & 1]
    alive = [cell for cell in cells if cell < 40]  # a box in the last row is lost
    generator, answers = np.random.default_rng(0), []
    for _ in range(8):
        boxes = generator.choice(alive, 4, replace=False)
        player = generator.choice([cell for cell in cells if cell not in boxes])
        room = Room(base.walls, base.targets, sum(1 << int(box) for box in boxes), int(player))
        answers.append(_has_solution(room))
        if answers[-1]:
            assert functools.reduce(Room.move, moves(room, solve(room)), room).solved
        else:
            with pytest.raises(ActorFailure, match="no solution among"):
                solve(room)
    assert 2 <= sum(answers) <= 6


@pytest.mark.parametrize(
    ("rows", "frozen"),
    [
        (("", "#    ####", "# $$ ####", "# $  ####", "#$@..####", "# ..#####"), False),
        (("", "#    ####", "# $$ ####", "# $$ ####", "#@ ..####", "# ..#####"), True),  # a square of four
        (("", "##$$#####", "# $ $####", "#@ ..####", "# ..#####"), True),  # two at a wall
    ],
)
def test_boxes_that_freeze_each_other_are_a_deadlock(rows, frozen):
    room = _room(*rows)
    first = room.boxes & -room.boxes
    assert is_frozen(room.boxes, first, room) is frozen


def test_a_level_whose_shortest_plan_is_too_long_is_solved_by_its_own_solution():
    level = generate(2_000_490, "hard")
    assert len(moves(level.room, solve(level.room))) > MAX_MOVES
    (episode,) = play(ExpertActor, [("sokoban/hard", 2_000_490)])
    assert episode.success


def test_noise_pushes_no_box():
    environment = load("sokoban/medium")
    assert isinstance(environment, Sokoban)
    environment.reset()
    player, generator = expert("sokoban/medium"), np.random.default_rng(0)
    for direction in range(4):
        action = {"action": np.array(direction)}
        for _ in range(8):
            disturbed = player.disturb(environment, action, 1.0, generator)
            assert environment.room.move(int(disturbed["action"])).boxes == environment.room.boxes


def test_levels_are_solved_under_noise():
    episodes = list(play(functools.partial(ExpertActor, noise=0.1), [("sokoban/medium", seed) for seed in range(5)]))
    assert all(episode.success for episode in episodes)
