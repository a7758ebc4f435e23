import numpy as np
import pytest

from gato_jax.environments import load
from gato_jax.environments.suites.vizdoom import LEVELS, VizDoom
from gato_jax.environments.suites.vizdoom_engine import Scene, Thing
from gato_jax.experts import ExpertActor, expert, expert_names
from gato_jax.experts.vizdoom import Collector, Dodger, Strafer, Turret
from gato_jax.experts.vizdoom_maps import Map
from gato_jax.rollouts import play

SEED = 2_000_000
ROOM = np.array([(0, 0, 640, 0), (640, 0, 640, 640), (640, 640, 0, 640), (0, 640, 0, 0)], float)


def _scene(*things, position=(100.0, 320.0), angle=0.0, walls=ROOM):
    listed = tuple(Thing(number, name, np.array(place, float)) for number, (name, place) in enumerate(things))
    return Scene(position=np.array(position), angle=angle, things=listed, walls=walls)


def test_levels_with_an_expert():
    assert set(expert_names()) >= {f"vizdoom/{level}" for level in LEVELS if level != "deathmatch"}


@pytest.mark.parametrize("level", ["basic", "my_way_home", "rocket_basic"])
def test_the_task_is_done(level):
    (episode,) = play(ExpertActor, [(f"vizdoom/{level}", SEED)])
    assert episode.success and episode.provenance.agent == expert(f"vizdoom/{level}").agent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("level", "least"), [("defend_the_center", 12), ("health_gathering", 2000), ("take_cover", 800)]
)
def test_the_score_is_far_from_that_of_random_play(level, least):
    (episode,) = play(ExpertActor, [(f"vizdoom/{level}", SEED)])
    assert episode.score >= least


def test_a_scene_has_what_the_level_has():
    environment = load("vizdoom/my_way_home")
    assert isinstance(environment, VizDoom)
    with pytest.raises(RuntimeError, match="no episode has begun, expected one. Reset the environment"):
        environment.scene()
    environment.seed(SEED)
    environment.reset()
    scene = environment.scene()
    (player,) = (thing for thing in scene.things if thing.name == "DoomPlayer")
    np.testing.assert_allclose(player.position, scene.position)
    assert [thing.name for thing in scene.things].count("GreenArmor") == 1 and len(scene.walls) > 20
    names = environment.action_names
    environment.step({"action": np.asarray(names.index("TURN_LEFT"))})
    assert (environment.scene().angle - scene.angle) % 360.0 == pytest.approx(7.0, abs=0.1)
    environment.close()


def test_a_way_leads_around_a_wall():
    wall = np.array([(320, 0, 320, 480)], float)
    ways = Map(np.concatenate([ROOM, wall]), np.zeros((0, 2)), 0.0)
    start, goal = np.array([100.0, 100.0]), np.array([540.0, 100.0])
    place, top = start, 0.0
    for _ in range(60):
        place = ways.next_place(place, goal)
        top = max(top, place[1])
        if (place == goal).all():
            break
        assert abs(place[0] - 320) > 16 or place[1] > 480
    assert (place == goal).all() and top > 480


def test_bad_things_are_walked_around():
    ways = Map(ROOM, np.array([(320.0, 320.0)]), 60.0)
    place = ways.next_place(np.array([240.0, 320.0]), np.array([500.0, 320.0]))
    assert abs(place[1] - 320) > 20


def test_the_scripts_choose_by_positions():
    strafer, turret, collector, dodger = Strafer("basic"), Turret("defend_the_center"), Collector("x"), Dodger("x")
    assert strafer.choose(_scene(("Cacodemon", (400, 400)))) == "MOVE_LEFT"
    assert strafer.choose(_scene(("Cacodemon", (400, 325)))) == "ATTACK"
    assert strafer.choose(_scene(("DeadCacodemon", (400, 325)))) == "-"
    assert turret.choose(_scene(("Demon", (300, 320)), angle=30.0)) == "TURN_RIGHT"
    assert turret.choose(_scene(("Demon", (300, 320)), angle=359.0)) == "ATTACK"
    environment = VizDoom("take_cover")  # no engine is started
    collector.reset(environment, 0)
    assert collector.choose(_scene(("Medikit", (150, 322)))) == "MOVE_FORWARD"
    assert collector.choose(_scene(("Medikit", (100, 600)))) == "TURN_LEFT"
    dodger.reset(environment, 0)
    assert dodger.choose(_scene(("DoomImpBall", (180, 345)))) == "-"  # its direction is not known yet
    assert dodger.choose(_scene(("DoomImpBall", (140, 345)))) == "MOVE_RIGHT"
