"""The searches on a small grid: novelty, pruning, duplicates, the budget, the kept tree, determinism."""

import random

import pytest

from gato_jax.experts.search import SearchPlanner, SearchSettings, Tree, iw, rollout_iw
from tests.experts.search.grid_emulator import DOWN, FRAMES, HOP, LEFT, RIGHT, WAIT, Grid

SEARCHES = {"iw": iw, "rollout_iw": rollout_iw}
ENOUGH = 100_000


@pytest.fixture(params=SEARCHES)
def search(request):
    return request.param


def grown(search, emulator, frames=ENOUGH, seed=0, start=(0, 0), horizon=99):
    tree = Tree(emulator, random.Random(seed), start)
    SEARCHES[search](tree, frames, horizon)
    return tree


def planner(emulator, search="rollout_iw", seed=0, **settings):
    return SearchPlanner(emulator, SearchSettings(search=search, **settings), seed)


def explored(tree):
    return [node.state for node in tree.nodes() if node.children]


def test_only_states_with_a_new_feature_are_explored(search):
    tree = grown(search, Grid())
    assert tree.frames < ENOUGH
    places = explored(tree)
    # With the root, the axes have 17 features; a state off the axes has none that its row or column lacks.
    assert {(row, 0) for row in range(9)} | {(0, column) for column in range(9)} <= set(places)
    assert search == "rollout_iw" or (len(places) == 17 and all(0 in place for place in places))


def test_rollouts_explore_a_place_again_when_they_find_a_shorter_way():
    tree = grown("rollout_iw", Grid(size=(3, 3)))
    depths = {}
    for node in tree.nodes():
        if node.children:
            depths[node.state] = min(node.depth, depths.get(node.state, 99))
    assert depths[0, 2] == depths[2, 0] == 2


def test_duplicates_and_ends_are_not_explored(search):
    tree = grown(search, Grid(pits=[(0, 1)]))
    at_root = tree.root.children
    # In the corner, three of the actions lead to where the player is, and one of them stands for all.
    staying = [child for child in at_root.values() if child.fingerprint == bytes((0, 0))]
    assert len(staying) == 3 and sum(child.closed for child in staying) == 2
    assert at_root[RIGHT].closed and at_root[RIGHT].lost_life and not at_root[RIGHT].children
    assert all(not node.children for node in tree.nodes() if node.closed)


@pytest.mark.parametrize("frames", [1, FRAMES, 10 * FRAMES + 1])
def test_the_budget_is_exceeded_by_less_than_a_decision(search, frames):
    tree = grown(search, Grid(), frames)
    assert frames <= tree.frames < frames + FRAMES
    assert tree.frames == FRAMES * (len(tree.nodes()) - 1)


def test_paths_end_at_the_horizon_of_the_present_root(search):
    tree = grown(search, Grid(), horizon=3)
    assert max(node.depth for node in tree.nodes()) == 3
    assert tree.moved((0, 1))
    SEARCHES[search](tree, ENOUGH, 3)
    assert max(node.depth for node in tree.nodes()) == 4


def test_the_best_path_decides(search):
    assert planner(Grid(rewards={(0, 6): 1.0}), search).choose((0, 0)) in (RIGHT, HOP)
    assert planner(Grid(rewards={(0, 6): 1.0, (6, 0): 2.0}), search).choose((0, 0)) == DOWN


def test_later_rewards_count_less(search):
    grid = Grid(rewards={(0, 2): 1.0, (6, 0): 1.1})
    assert planner(grid, search, discount=0.8).choose((0, 1)) in (RIGHT, HOP)


def test_a_lost_life_costs_more_than_it_gains(search):
    grid = Grid(size=(1, 9), rewards={(0, 3): 1.0, (0, 5): 10.0}, pits=[(0, 5)])
    assert planner(grid, search).choose((0, 4)) == LEFT
    assert planner(grid, search, life_cost=0.0).choose((0, 4)) in (RIGHT, HOP)


def test_a_duplicate_is_worth_what_follows_from_its_original(search):
    tree = grown(search, Grid(size=(2, 3)))
    first, second = (tree.root.children[action] for action in (RIGHT, HOP))
    assert first.closed != second.closed
    for child in (second if first.closed else first).children.values():
        child.lost_life = True  # whatever follows costs a life
    tree.evaluate(discount=1.0, life_cost=100.0, loss_factor=1.0)
    assert first.value == second.value == -100.0


def test_losses_may_weigh_more_than_gains():
    grid = Grid(size=(1, 4), rewards={(0, 0): -1.0, (0, 1): -1.0, (0, 2): -1.0, (0, 3): 9.0})
    tree = grown("iw", grid)
    values = {}
    for factor in (1.0, 10.0):
        tree.evaluate(discount=1.0, life_cost=0.0, loss_factor=factor)
        values[factor] = tree.root.children[RIGHT].value
    assert values == {1.0: 16.0, 10.0: -2.0}  # two losses, then the gain, and once more by a decision that stays


def test_the_tree_is_kept_where_the_live_state_is_in_it(search):
    grid = Grid(rewards={(0, 8): 1.0})
    found = planner(grid, search)
    assert found.choose((0, 0)) in (RIGHT, HOP)
    first = found.frames
    assert found.choose((0, 1)) in (RIGHT, HOP) and found.kept == 1
    again = planner(grid, search)
    again.choose((0, 1))
    assert found.frames - first < again.frames
    assert found.choose((5, 5)) in range(6) and found.kept == 1  # nobody got there by an action of the root


def test_kept_nodes_are_as_new_to_the_next_search(search):
    tree = grown(search, Grid())
    assert tree.moved((0, 1))
    SEARCHES[search](tree, ENOUGH, 99)
    assert {(row, 1) for row in range(1, 9)} <= set(explored(tree))


def test_the_same_seed_makes_the_same_choices(search):
    def choices(seed):
        found, place, chosen = planner(Grid(slip=0.3), search, seed, frames=40), (4, 4), []
        for _ in range(12):
            chosen.append(found.choose(place))
        return chosen, found.frames

    random.seed(1)
    first = choices(3)
    random.seed(2)
    assert first == choices(3) != choices(4)


def test_slips_are_drawn_for_each_node():
    tree = grown("iw", Grid(slip=0.5), start=(4, 4))
    moved = [child.fingerprint != bytes((4, 4)) for action, child in tree.root.children.items() if action != WAIT]
    later = [node.fingerprint for node in tree.nodes()]
    assert len(moved) == 5 and len(set(later)) > 4
    emulator = Grid(slip=0.5)
    outcomes = set()
    for seed in range(8):
        outcomes.add(grown("iw", emulator, FRAMES * 6, seed, (4, 4)).root.children[LEFT].fingerprint)
    assert outcomes == {bytes((4, 4)), bytes((4, 3))}


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="search is 'uct', expected one of iw, rollout_iw"):
        SearchSettings(search="uct")
    with pytest.raises(ValueError, match="frames is 0, expected at least 1"):
        SearchSettings(frames=0)
    with pytest.raises(ValueError, match="horizon is -1, expected at least 1"):
        SearchSettings(horizon=-1)
    with pytest.raises(ValueError, match="discount is 0"):
        SearchSettings(discount=0.0)
