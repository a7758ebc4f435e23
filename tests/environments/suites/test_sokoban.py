import hashlib
import heapq
import itertools

import numpy as np
import pytest

from gato_jax.environments import load
from gato_jax.environments.suites import sokoban
from gato_jax.environments.worlds import sokoban_levels
from gato_jax.environments.worlds.sokoban_levels import GRADES, generate
from gato_jax.environments.worlds.sokoban_rooms import DIRECTIONS, Room

OFFSETS = (-10, 10, -1, 1)
UP, DOWN, LEFT, RIGHT = range(4)


def _room(*rows):
    """Return a room whose first rows and columns are given; the rest is wall."""
    return Room.from_text("\n".join(row.ljust(10, "#") for row in (*rows, *[""] * (10 - len(rows)))))


def _cells(mask):
    return [cell for cell in range(100) if mask >> cell & 1]


def _fewest_pushes(room):
    """Return the number of pushes of an optimal solution, by A* over the boxes and the reach of the player."""
    targets = [divmod(cell, 10) for cell in _cells(room.targets)]

    def bound(boxes):
        distances = [[abs(cell // 10 - y) + abs(cell % 10 - x) for y, x in targets] for cell in _cells(boxes)]
        return min(sum(row[i] for row, i in zip(distances, p, strict=True)) for p in itertools.permutations(range(4)))

    def reach(boxes, player):
        cells = front = 1 << player
        while front:
            front = (front << 1 | front >> 1 | front << 10 | front >> 10) & ~(room.walls | boxes | cells)
            cells |= front
        return cells

    start = (room.boxes, reach(room.boxes, room.player))
    pushes, queue = {start: 0}, [(bound(room.boxes), 0, *start)]
    while queue:
        _, minus_pushes, boxes, cells = heapq.heappop(queue)
        if boxes == room.targets:
            return -minus_pushes
        for direction, offset in enumerate(OFFSETS):
            for box in _cells(boxes):
                if cells >> box - offset & 1:
                    after = Room(room.walls, room.targets, boxes, box - offset).move(direction)
                    if after.boxes != boxes:
                        state = (after.boxes, reach(after.boxes, after.player))
                        if 1 - minus_pushes < pushes.get(state, 1000):
                            pushes[state] = 1 - minus_pushes
                            heapq.heappush(queue, (1 - minus_pushes + bound(after.boxes), minus_pushes - 1, *state))
    return None


@pytest.mark.parametrize("name", GRADES)
def test_every_level_is_solved_by_its_solution_within_the_limit(name):
    for seed in range(2 if name == "hard" else 4):
        level = generate(seed, name)
        room = level.room
        assert room.boxes.bit_count() == room.targets.bit_count() == 4 and not room.boxes_on_targets
        assert (100 - room.walls.bit_count()) in GRADES[name].floor and len(level.solution) <= 120
        for direction in level.solution:
            assert not room.solved
            before, room = room, room.move(direction)
            assert room is not before
        assert room.solved


@pytest.mark.parametrize(("name", "levels"), [("easy", 2), ("medium", 1)])
def test_a_search_needs_at_least_the_pushes_of_the_grade(name, levels):
    for seed in range(levels):
        level = generate(seed, name)
        rooms = list(itertools.accumulate(level.solution, Room.move, initial=level.room))
        known = sum(before.boxes != after.boxes for before, after in itertools.pairwise(rooms))
        fewest = _fewest_pushes(level.room)
        assert fewest is not None and GRADES[name].pushes.start <= fewest <= known


def test_levels_are_the_same_in_every_version():
    text = "\n\n".join(str(generate(seed, name).room) for name in GRADES for seed in (0, 2**31 - 1))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "91069fc858df25e3"


def test_seeds_and_grades_differ():
    assert len({str(generate(seed, name).room) for name in GRADES for seed in range(2)}) == 6


def test_a_step_pushes_one_box_and_no_wall():
    room = _room("", "#@$ #", "#   #", "# $$#", "# .*#")
    after = room.move(RIGHT)
    assert str(after).split("\n")[1] == "# @$######" and after.move(RIGHT) is after
    assert room.move(UP) is room and room.move(LEFT) is room
    room = _room("", "#@$$ #")
    assert room.move(RIGHT) is room  # two boxes are too heavy
    assert str(_room("", "#@.#").move(RIGHT)).split("\n")[1] == "# +#######"


def test_rooms_are_written_as_other_programs_write_them():
    text = str(_room("", "# .$*@ #", "#####+#"[:5] + "  #"))
    assert str(Room.from_text(text)) == text and Room.from_text(text).boxes_on_targets == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("", "#@?#"), "expected ten lines of ten"),
        (("", "# #"), "number of players is 0"),
        (("", "@ #"), "expected walls in the first and last row and column"),
    ],
)
def test_a_text_that_is_no_room_is_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        _room(*rows)


def test_rewards_are_those_of_gym_sokoban():
    environment = load("sokoban/easy")
    assert isinstance(environment, sokoban.Sokoban)
    environment.seed(2)
    environment.reset()
    level, rewards, events = environment.level, [], []
    for direction in level.solution:
        before = environment.room.boxes_on_targets
        timestep = environment.step({"action": np.array(direction)})
        rewards.append(timestep.reward)
        events.append(environment.room.boxes_on_targets - before)
    expected = [-0.1 + event for event in events]
    expected[-1] += 10.0
    np.testing.assert_allclose(rewards, expected)
    assert set(events) >= {0, 1} and timestep.last() and timestep.discount == 0.0 and environment.success is True
    assert environment.score(sum(rewards)) == 1.0


def test_an_episode_without_a_solution_is_cut_off_after_120_steps():
    environment = load("sokoban/medium")
    environment.reset()
    timesteps = [environment.step({"action": np.array(direction)}) for direction in [UP, DOWN] * 60]
    assert [timestep.last() for timestep in timesteps] == [False] * 119 + [True] and timesteps[-1].discount == 1.0
    assert environment.success is False and sokoban_levels.MAX_MOVES == 120


def test_every_kind_of_cell_looks_different():
    rows = _room("", "#@ $#", "#*. #").codes[:3, :5]
    image = sokoban.draw(_room("", "#@ $#", "#*. #"))
    tiles = {code: image[16 * y : 16 * y + 16, 16 * x : 16 * x + 16].tobytes() for (y, x), code in np.ndenumerate(rows)}
    assert set(tiles) == {0, 1, 2, 4, 6, 8} and len(set(tiles.values())) == 6
    assert image.shape == (160, 160, 3) and len(DIRECTIONS) == 4
