"""Real tasks that a person plays with keys, and an expert, over real websockets; and what is kept of them."""

from __future__ import annotations

import time

import numpy as np
import pytest

from gato_jax.environments import load
from gato_jax.episodes import StoreError, dataset_name, open_dataset
from gato_jax.experts import ExpertActor
from gato_jax.rollouts import KeptEpisodes, Recording, play
from gato_jax.web.play.buttons import Buttons, assign_keys, split_buttons
from gato_jax.web.play.controls import NumberControls, choose_controls
from tests.web.play_client import connected, playing, replayed

GRID, CONTROL = "babyai/GoToObjS4-v0", "dm_control/cartpole/balance"
KEYS = {"left": "ArrowLeft", "right": "ArrowRight", "forward": "ArrowUp", "toggle": " ", "pickup": "p", "drop": "d"}


def expert_keys(task: str, seed: int) -> list[str]:
    """The keys that a person presses who plays like the expert."""
    [episode] = play(ExpertActor, [(task, seed)])
    names = load(task).action_names
    return [KEYS[names[int(value)]] for value in episode.action["action"][: episode.acting_steps]]


def ending(episode) -> np.ndarray:
    """The picture after the actions of an episode."""
    environment = load(episode.task)
    environment.seed(episode.seed)
    environment.reset()
    for action in episode.action["action"][: episode.acting_steps]:
        environment.step({"action": action})
    return environment.render()


def test_a_person_plays_a_level_with_keys_and_it_becomes_a_dataset(tmp_path):
    keys = expert_keys(GRID, 3)
    with playing(GRID, output=tmp_path, seed=3) as (_, address), connected(address) as client:
        scene = client.until(lambda scene: scene["status"] == "ready")
        assert dict(scene["hints"])["ArrowUp"] == "forward" and scene["waits"] and "go to the" in scene["instruction"]
        client.send("press", key="x")  # none of the task
        for key in keys:
            scene = client.press(key)
        scene = client.until(lambda scene: scene["status"] == "ended")
        assert scene["success"] and scene["step"] == len(keys) and 0 < scene["reward"] == scene["episode_return"] <= 1
        client.send("keep")
        client.until(lambda scene: scene["is_kept"])
        client.send("next")
        assert client.until(lambda scene: scene["status"] == "ready")["seed"] == 4
        client.press("ArrowLeft")  # and gives up
    dataset = open_dataset(tmp_path / "person" / dataset_name(GRID) / "1.0.0")
    [episode] = dataset
    assert episode.seed == 3 and episode.success and episode.provenance.agent == "person at the keyboard"
    assert episode.provenance.recorded_at and replayed(episode) == episode.reward[:-1].tolist()
    with playing(GRID, output=tmp_path) as (session, address), connected(address) as client:  # adds to it
        client.until(lambda scene: scene["status"] == "ready")
        assert session.scene.kept == {"person": 1}
        client.send("keep")
        for key in expert_keys(GRID, 0):
            client.press(key)
        client.until(lambda scene: scene["is_kept"])
    assert [episode.seed for episode in open_dataset(dataset.directory)] == [0, 3]


def test_a_person_balances_a_pole_in_real_time(tmp_path):
    def short(task):
        environment = load(task)
        environment.max_steps = 25
        return environment

    with playing(CONTROL, output=tmp_path, load=short) as (_, address), connected(address) as client:
        scene = client.until(lambda scene: scene["status"] == "ready")
        assert [key for key, _ in scene["hints"]] == ["ArrowLeft", "ArrowRight"] and scene["max_steps"] == 25
        client.send("keep")
        client.send("speed", speed=0.25)
        client.until(lambda scene: scene["speed"] == 0.25)
        for step in range(1, 6):
            client.send("step")
            assert client.until(lambda scene, step=step: scene["step"] == step)["status"] == "paused"
            client.send("press", key="ArrowLeft")
        client.send("release", key="ArrowLeft")
        client.send("step")
        client.until(lambda scene: scene["step"] == 6)
        client.send("start")
        scene = client.until(lambda scene: scene["is_kept"])
        assert client.picture is not None and client.picture.ndim == 3
    [episode] = open_dataset(tmp_path / "person" / dataset_name(CONTROL) / "1.0.0")
    actions = episode.action["action"][:25, 0]
    assert actions.tolist() == [0.0, *[-0.25] * 5, *[0.0] * 19]  # a tap before a step counts in this step
    assert replayed(episode) == episode.reward[:-1].tolist()
    assert scene["episode_return"] == pytest.approx(episode.episode_return)


def test_an_expert_plays_beside_a_slow_viewer_who_delays_no_step(tmp_path):
    [alone] = play(ExpertActor, [(GRID, 0)])
    with playing(GRID, output=tmp_path, expert=True, fps=0.0) as (session, address), connected(address) as client:
        client.until(lambda scene: scene["status"] == "ready")
        client.send("player", player="expert")
        client.until(lambda scene: scene["player"] == "expert" and scene["status"] == "ready")
        assert not client.scene["hints"]
        client.send("step")
        scene = client.until(lambda scene: scene["step"] == 1)
        assert scene["status"] == "ready" or scene["status"] == "paused"
        client.send("keep")
        client.send("start")
        with connected(address) as other:  # it looks on, but its buttons do nothing
            assert other.until(lambda scene: True)["role"] == "viewer"
            other.send("next")
            end = ending(alone)
            client.until(lambda scene: scene["is_kept"] and client.shows(end))
            other.until(lambda scene: scene["is_kept"] and other.shows(end))
        assert session.scene.seed == 0
    [episode] = open_dataset(tmp_path / "expert" / dataset_name(GRID) / "1.0.0")
    assert episode.provenance == alone.provenance and (episode.action["action"] == alone.action["action"]).all()
    assert not (tmp_path / "person").exists()


def test_a_viewer_that_draws_nothing_delays_no_step():
    with playing(GRID, expert=True, fps=0.0, player="expert") as (session, address), connected(address) as client:
        client.until(lambda scene: scene["status"] == "ready")
        client.send("start")  # and never says that anything is drawn
        deadline = time.monotonic() + 60
        while session.scene.status != "ended" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert session.scene.success


def test_the_end_of_the_page_pauses_and_another_one_takes_over():
    with playing(CONTROL) as (session, address), connected(address) as other:
        other.until(lambda scene: scene["status"] == "ready")
        with connected(address) as client:
            assert client.until(lambda scene: scene["status"] == "ready")["role"] == "viewer"
            other.send("press", key="ArrowRight")
            client.until(lambda scene: scene["step"] > 0)
            other._socket.close()
            scene = client.until(lambda scene: scene["role"] == "player")
            assert session.scene.status == "paused" and not session.keyboard._held
            client.send("again")
            scene = client.until(lambda scene: scene["status"] == "ready")
            assert scene["step"] == 0 and scene["seed"] == 0
            client.send("unknown")
            with pytest.raises(Exception, match="1008"):
                client.until(lambda scene: False)


@pytest.mark.parametrize("leave", ["again", "next", "player"])
def test_a_start_is_not_lost_between_two_episodes(leave):
    with playing(GRID, expert=True, fps=0.0) as (session, address), connected(address) as client:
        client.until(lambda scene: scene["status"] == "ready")
        with session._condition:  # the thread cannot begin the other episode yet
            session.choose_player("expert") if leave == "player" else session.command(leave)
            assert session.scene.status == "loading"  # in which the page has no Start button
            session.command("start")
            assert session.scene.status == "loading"
        client.until(lambda _: session.scene.status == "ready")
        assert session.scene.seed == (leave == "next")
        assert session.scene.player == ("expert" if leave == "player" else "person")
        client.send("start")
        client.until(lambda scene: scene["status"] in ("playing", "ended"))


def test_an_error_of_the_environment_is_shown_and_the_next_episode_begins():
    class Failing:
        def __call__(self, task):
            environment = load(task)
            start = environment._start

            def fail(seed):
                if seed == 0:
                    raise ZeroDivisionError("made to fail")
                return start(seed)

            environment._start = fail
            return environment

    with playing(GRID, load=Failing()) as (_, address), connected(address) as client:
        assert "made to fail" in client.until(lambda scene: scene["status"] == "failed")["message"]
        client.send("keep")
        assert "--output" in client.until(lambda scene: "kept" in scene["message"])["message"]
        client.send("next")
        assert client.until(lambda scene: scene["status"] == "ready")["seed"] == 1


def recording(root, **changes) -> Recording:
    spec = load(GRID).task_spec
    return Recording(**{"root": root, "spec": spec, "actor": "a person", "seeds": range(100), **changes})


def test_kept_episodes_survive_a_kill_and_are_not_mixed_with_others(tmp_path):
    first, second = play(ExpertActor, [(GRID, 5), (GRID, 2)])
    killed = KeptEpisodes(recording(tmp_path))
    killed.add(first)
    killed.__exit__()  # as the end of the process does: the episode is not yet in a dataset
    again = KeptEpisodes(recording(tmp_path))
    again.add(second)
    assert again.seeds == [2, 5]
    folder = again.finish()
    assert folder is not None
    assert [episode.seed for episode in open_dataset(folder)] == [2, 5]
    assert [path.name for path in folder.parent.iterdir()] == ["1.0.0"]
    with pytest.raises(StoreError, match=r"other settings:\n *actor: .*\nname another --output"):
        KeptEpisodes(recording(tmp_path, actor="another person"))
    with pytest.raises(ValueError, match="seed is 5, expected one of range"):
        KeptEpisodes(recording(tmp_path / "new", seeds=range(3))).add(first)


def test_a_collected_dataset_is_not_added_to(tmp_path):
    from gato_jax.rollouts import RandomActor, record

    record(recording(tmp_path, seeds=range(1)), RandomActor)
    with pytest.raises(StoreError, match="that `gato collect` recorded"):
        KeptEpisodes(recording(tmp_path))


@pytest.mark.parametrize(
    ("names", "held", "name"),
    [
        ("NOOP FIRE UP RIGHT LEFT UPRIGHT UPFIRE UPRIGHTFIRE", ["ArrowUp", " "], "UPFIRE"),
        ("NOOP FIRE UP RIGHT LEFT UPRIGHT UPFIRE UPRIGHTFIRE", ["ArrowRight", "ArrowUp", " "], "UPRIGHTFIRE"),
        ("NOOP FIRE UP RIGHT LEFT", ["ArrowLeft", "ArrowRight"], "RIGHT"),
        ("NOOP FIRE UP RIGHT LEFT", [], "NOOP"),
        ("- ATTACK TURN_LEFT TURN_LEFT+ATTACK MOVE_LEFT", ["ArrowLeft", " "], "TURN_LEFT+ATTACK"),
        ("- ATTACK TURN_LEFT MOVE_LEFT", ["a"], "MOVE_LEFT"),
        ("- ATTACK MOVE_LEFT", ["ArrowLeft"], "MOVE_LEFT"),
        ("0 1 2", ["2"], "2"),
        ("LEFT+DOWN LEFT NOOP D A", ["ArrowDown", "ArrowLeft"], "LEFT+DOWN"),
        ("LEFT+DOWN LEFT NOOP D A", ["d"], "D"),
    ],
)
def test_keys_of_games(names, held, name):
    names = names.split()
    assert names[Buttons(names).value(held)] == name


def test_each_button_has_a_key_of_its_own():
    keys = assign_keys(f"button_{number}" for number in range(36))
    assert len(set(keys.values())) == 36
    assert Buttons([f"thing{number}" for number in range(100)]).value([]) is None
    assert split_buttons("DOWNLEFTFIRE") == {"down", "left", "fire"} and split_buttons("noop") == set()


def test_numbers_rest_at_zero_and_positions_stay():
    controls = choose_controls(load("pusht/push"))
    assert isinstance(controls, NumberControls)
    assert controls.action([], 0.5)["action"].tolist() == [256, 256]
    moved = controls.action(["ArrowRight"], 0.5)["action"]
    assert moved[0] > 256 and controls.action([], 0.5)["action"].tolist() == moved.tolist()
    for _ in range(100):
        last = controls.action(["ArrowRight", "ArrowDown"], 1.0)["action"]
    assert last.tolist() == [512, 0] and last.dtype == np.float32
    controls.reset()
    assert controls.action([], 0.5)["action"].tolist() == [256, 256]
