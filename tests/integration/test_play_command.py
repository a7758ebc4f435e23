"""`gato play`: prints its address, keeps what is asked for, ends on a signal with complete datasets; and bad input."""

import signal
import socket

import pytest

from gato_jax.episodes import dataset_name, open_dataset
from tests.integration.conftest import TASK, finish, gato, start
from tests.web.play_client import connected
from tests.web.test_play import GRID, expert_keys


def test_an_episode_that_has_not_ended_is_named_when_a_signal_ends_the_command(tmp_path):
    process = start("-m", "gato_jax.cli", "play", GRID, f"--output={tmp_path}/demos", "--port=0", "--seed=7")
    while not (line := process.stdout.readline()).startswith("ready"):
        assert line
    with connected(line.split()[1]) as client:
        client.until(lambda scene: scene["status"] == "ready")
        client.press("ArrowLeft")
        client.send("keep")
        client.until(lambda scene: scene["keeps"])
        process.send_signal(signal.SIGINT)
        ended = finish(process)
    assert ended.status == 0 and "the episode of seed 7 is not kept, because it had not ended" in ended.out, ended
    assert not (tmp_path / "demos" / "person" / dataset_name(GRID) / "1.0.0").exists()


def test_a_demonstration_is_complete_on_the_disk_when_a_signal_ends_the_command(tmp_path):
    process = start("-m", "gato_jax.cli", "play", GRID, f"--output={tmp_path}/demos", "--port=0")
    said = []
    while not (said and said[-1].startswith("ready")):
        said.append(process.stdout.readline().strip())
        assert said[-1], said
    address = said[-1].split()[1]
    port = address.rpartition(":")[2]
    assert f"ssh -L {port}:127.0.0.1:{port} " in said[0] and f"{tmp_path}/demos" in said[1]
    with connected(address) as client:
        client.until(lambda scene: scene["status"] == "ready")
        client.send("keep")
        for key in expert_keys(GRID, 0):
            client.press(key)
        client.until(lambda scene: scene["is_kept"])
        process.send_signal(signal.SIGINT)
        ended = finish(process)
    folder = tmp_path / "demos" / "person" / dataset_name(GRID) / "1.0.0"
    assert ended.status == 0 and f"person: 1 episodes in {folder}" in ended.out, ended
    assert [episode.seed for episode in open_dataset(folder)] == [0]
    assert not (folder.parent / "1.0.0.recording").exists()


def test_a_port_in_use():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"--port is {port}, expected" in gato("play", GRID, f"--port={port}").complaint()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["babyai/GoToLocl-v0"], "unknown task 'babyai/GoToLocl-v0'; nearest: babyai/GoToLocal-v0"),
        ([], "--task is missing"),
        ([GRID, "more"], "unexpected 'more'"),
        ([GRID, "--player=agent"], "--workdir is missing"),
        ([GRID, "--workdir=nowhere"], "--workdir is nowhere, expected the folder of a run"),
        ([GRID, "--temperature=0"], "--temperature is 0.0, expected it only with --workdir"),
        ([GRID, "--output=x", "--seed=1000000"], "--seed is 1000000, expected one up to 999999 with --output"),
        (["dm_control/dog/run", "--player=expert"], "no expert for 'dm_control/dog/run'"),
        ([GRID, "--fps=-1"], "--fps"),
    ],
)
def test_bad_flags(words, complaint):
    assert complaint in gato("play", *words, "--port=0").complaint()


def test_a_folder_with_other_episodes(tmp_path):
    folder = tmp_path / "person" / dataset_name(GRID) / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    assert f"{folder}: already there" in gato("play", GRID, "--port=0", f"--output={tmp_path}").complaint()


@pytest.mark.slow
def test_an_agent_plays_in_the_page(trained):
    process = start("-m", "gato_jax.cli", "play", TASK, f"--workdir={trained}", "--port=0", "--fps=0")
    while not (line := process.stdout.readline()).startswith("ready"):
        assert line
    with connected(line.split()[1]) as client:
        client.until(lambda scene: scene["status"] == "ready")
        assert client.scene["player"] == "agent" and set(client.scene["players"]) == {"person", "expert", "agent"}
        client.send("start")
        scene = client.until(lambda scene: scene["status"] == "ended")
        assert scene["step"] > 1 and scene["action"]
        process.send_signal(signal.SIGTERM)
    assert finish(process).status == 0
