"""The server over real sockets: formats, the token, limits, and that each robot gets its own actions."""

import concurrent.futures
import http.client
import socket
import threading
import time
import urllib.parse

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gato_jax.serving import AccessError, Limits, PolicyServer, Token, pack, unpack
from tests.serving.made_server import (
    SECRET,
    MadePolicy,
    ask,
    connected,
    observation_of,
    played_locally,
    serving,
)
from tests.tokenization.made_tasks import CONTROL, ROBOT


@pytest.fixture(scope="module")
def server():
    with serving(MadePolicy()) as server:
        yield server


def get(server, path: str, **headers: str) -> tuple[int, str]:
    url = urllib.parse.urlsplit(server.address)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def same(action, other) -> bool:
    return all(np.array_equal(action[key], other[key]) for key in other)


def metric(server, name: str) -> float:
    lines = [line for line in server.metrics.render().splitlines() if line.startswith(name)]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def wait_until(condition) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("waited 5 s in vain")


def test_openpi_metadata_then_actions_with_their_timing(server):
    seen = [observation_of(ROBOT, seed) for seed in range(3)]
    with connected(server) as robot:
        about = unpack(robot.recv())
        assert about["task"] == ROBOT.name and about["spec"] == ROBOT.to_json() and about["agent"] == "made"
        answers = [ask(robot, observation) for observation in seen]
    assert all(map(same, answers, played_locally(ROBOT, 0, seen)))
    assert set(answers[0]["server_timing"]) == {"infer_ms", "wait_ms", "batch"}
    assert answers[1]["server_timing"]["prev_total_ms"] > 0
    assert answers[0]["arm"].dtype == np.float32 and answers[0]["gripper"].dtype == np.int32


def test_an_episode_begins_where_the_message_says_so(server):
    seen = [observation_of(ROBOT, seed) for seed in range(2)]
    with connected(server) as robot:
        robot.recv()
        first = [ask(robot, seen[0] | {"__episode__": {"seed": 7}}), ask(robot, seen[1])]
        again = [ask(robot, seen[0] | {"__episode__": {"seed": 7}}), ask(robot, seen[1])]
        other = ask(robot, seen[0] | {"__episode__": {"seed": 8}})
        assert "seed is -1, expected an integer" in ask(robot, seen[0] | {"__episode__": {"seed": -1}})
        assert "not a map with the keys seed" in ask(robot, seen[0] | {"__episode__": 3})
    local = played_locally(ROBOT, 7, seen)
    assert all(map(same, first, local)) and all(map(same, again, local)) and not same(other, local[0])


def test_a_refused_observation_leaves_the_episode_as_it_was(server):
    seen = [observation_of(ROBOT, seed) for seed in range(2)]
    with connected(server) as robot:
        robot.recv()
        answers = [ask(robot, seen[0])]
        said = ask(robot, seen[1] | {"joints": np.zeros(7)})
        assert said.startswith("made/robot: observation 'joints' is an array of shape (7,)") and "(3,)" in said
        assert "too long" in ask(robot, seen[1] | {"instruction": "too long"})
        answers.append(ask(robot, seen[1]))
    assert all(map(same, answers, played_locally(ROBOT, 0, seen)))


def vla(kind: str, payload: dict, seq: int = 1) -> bytes:
    return pack({"type": kind, "payload": payload, "seq": seq, "timestamp": 0.0}, byte_keys=False)


def test_vla_eval_messages(server):
    seen = observation_of(ROBOT, 1)
    with connected(server, f"/vla_eval?task={ROBOT.name}") as robot:
        robot.send(vla("hello", {"harness_version": "0.8"}, 1))
        hello = unpack(robot.recv())
        assert (hello["type"], hello["seq"], hello["payload"]["protocol_version"]) == ("hello", 1, 1)
        robot.send(vla("episode_start", {"task": {"name": "x"}, "seed": 4}, 2))
        robot.send(vla("observation", seen | {"task_description": "left out"}, 3))
        answer = unpack(robot.recv())
        robot.send(vla("observation", {"joints": [1]}, 4))
        refused = unpack(robot.recv())
        robot.send(vla("episode_end", {}, 5))
        robot.send(vla("hello", {}, 6))
        assert unpack(robot.recv())["seq"] == 6
    [local] = played_locally(ROBOT, 4, [seen])
    assert (answer["type"], answer["seq"]) == ("action", 3) and same(answer["payload"], local)
    assert answer["payload"]["actions"].tolist() == [local["gripper"], *local["arm"]]
    assert (refused["type"], refused["seq"]) == ("error", 4) and "is missing" in refused["payload"]["error"]


def test_images_of_vla_eval_are_compressed():
    from tests.serving.made_images import png_fields

    seen = observation_of(ROBOT, 1)
    rng = np.random.default_rng(0)
    seen |= {key: rng.integers(256, size=seen[key].shape, dtype=np.uint8) for key in ("camera/wrist", "camera/front")}
    with serving(MadePolicy(ROBOT)) as server, connected(server, "/vla_eval") as robot:
        robot.send(vla("observation", seen | {key: png_fields(seen[key]) for key in ("camera/wrist", "camera/front")}))
        assert same(unpack(robot.recv())["payload"], played_locally(ROBOT, 0, [seen])[0])
        robot.send(vla("observation", seen | {"camera/front": png_fields(seen["camera/front"]) | {"shape": [9, 9, 3]}}))
        assert "it is (32, 32, 3), expected (9, 9, 3)" in unpack(robot.recv())["payload"]["error"]


def test_a_task_is_named_where_there_are_several(server):
    with pytest.raises(InvalidStatus) as refused, connected(server, "/"):
        pass
    assert refused.value.response.status_code == 400 and b"Add ?task=suite/task" in refused.value.response.body
    with pytest.raises(InvalidStatus) as refused, connected(server, "/?task=made/robott"):
        pass
    assert b"such as made/robot" in refused.value.response.body
    with pytest.raises(InvalidStatus) as refused, connected(server, "/other"):
        pass
    assert refused.value.response.status_code == 404


def test_a_browser_is_refused(server):
    with pytest.raises(InvalidStatus) as refused, connected(server, origin="http://evil.example"):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("message", [b"\xc1", pack({"a": 1}, byte_keys=True)[:-1], "a text"])
def test_a_malformed_message_ends_its_connection_and_no_other(server, message):
    seen = [observation_of(ROBOT, seed) for seed in range(2)]
    with connected(server) as good, connected(server) as bad:
        good.recv(), bad.recv()
        answers = [ask(good, seen[0])]
        bad.send(message)
        with pytest.raises(ConnectionClosed):
            while True:
                bad.recv(timeout=20)
        answers.append(ask(good, seen[1]))
    assert all(map(same, answers, played_locally(ROBOT, 0, seen)))


def test_without_the_token_nothing_is_answered():
    with serving(MadePolicy(ROBOT), token=SECRET) as server:
        for header in (
            {},
            {"Authorization": "Bearer"},
            {"Authorization": f"Bearer {SECRET}x"},
            {"Authorization": SECRET},
        ):
            for path in ("/metrics", "/nowhere", "/?task=nothing"):
                status, text = get(server, path, **header)
                assert (status, text) == (401, "the token is missing or wrong\n")
            with pytest.raises(InvalidStatus) as refused, connected(server, "/", additional_headers=header):
                pass
            assert refused.value.response.status_code == 401
        assert get(server, "/healthz") == (200, "OK\n")
        for scheme in ("Bearer", "Api-Key", "bearer"):
            with connected(server, "/", additional_headers={"Authorization": f"{scheme} {SECRET}"}) as robot:
                assert unpack(robot.recv())["task"] == ROBOT.name
        server.address = server.address.replace("ws://", f"ws://robot:{SECRET}@")  # the only way of vla-eval's client
        with connected(server, "/vla_eval") as robot:
            robot.send(vla("hello", {}))
            assert unpack(robot.recv())["type"] == "hello"


def test_digests_of_equal_length_are_compared(monkeypatch):
    compared = []
    monkeypatch.setattr("hmac.compare_digest", lambda a, b: compared.append((len(a), len(b))) or a == b)
    token = Token(SECRET)
    for secret in ("", "x", SECRET[:-1], SECRET, SECRET * 100):
        assert token.allows(f"Bearer {secret}") == (secret == SECRET)
    assert not token.allows(None) and not token.allows(f"Other {SECRET}")
    assert compared == [(32, 32)] * 7


def test_other_machines_need_a_token():
    with pytest.raises(AccessError, match=r"host is 0\.0\.0\.0, expected 127"):
        PolicyServer(MadePolicy(), token=None, host="0.0.0.0")
    with pytest.raises(AccessError, match="the token has 5 characters, expected 16"):
        Token("short")


def test_metrics_count_and_health_is_answered_while_the_policy_computes():
    gate = threading.Event()
    gate.set()
    policy = MadePolicy(ROBOT, gate=gate)
    with serving(policy) as server, connected(server, "/") as robot:
        robot.recv()
        ask(robot, observation_of(ROBOT, 0))
        gate.clear()
        robot.send(pack(observation_of(ROBOT, 1), byte_keys=True))
        wait_until(lambda: metric(server, "gato_sessions") == 1)
        assert get(server, "/healthz")[0] == 200
        status, text = get(server, "/metrics")
        assert status == 200 and f'gato_answers_total{{outcome="action",task="{ROBOT.name}"}} 1.0' in text
        gate.set()
        robot.recv(timeout=20)
    assert threading.get_ident() not in policy.threads and len(policy.threads) == 1


def test_robots_are_batched_and_each_gets_its_own_actions():
    """Thirty-two robots of two tasks, whose first requests are all there before the policy is free."""
    gate = threading.Event()
    gate.set()
    policy = MadePolicy(gate=gate)
    specs = [ROBOT, CONTROL] * 16
    seen = [[observation_of(spec, 10 * number + step) for step in range(3)] for number, spec in enumerate(specs)]

    def play(server, number: int) -> list:
        with connected(server, f"/?task={specs[number].name}") as robot:
            robot.recv()
            together.wait()
            begin = {"__episode__": {"seed": number}}
            return [ask(robot, seen[number][0] | begin), *(ask(robot, one) for one in seen[number][1:])]

    with serving(policy, batch_wait_s=0.05) as server:
        together = threading.Barrier(len(specs) + 1)
        with concurrent.futures.ThreadPoolExecutor(len(specs)) as threads:
            plays = [threads.submit(play, server, number) for number in range(len(specs))]
            together.wait()
            answers = [play.result(timeout=60) for play in plays]
    for number, spec in enumerate(specs):
        assert all(map(same, answers[number], played_locally(spec, number, seen[number]))), number
    assert max(policy.batches) > 1 and sum(policy.batches[4:]) == 3 * len(specs)


def test_a_robot_that_is_alone_does_not_wait_for_others():
    with serving(MadePolicy(ROBOT), batch_wait_s=1000.0) as server, connected(server, "/") as robot:
        robot.recv()
        assert isinstance(ask(robot, observation_of(ROBOT, 0)), dict)


def test_a_client_that_vanishes_leaves_no_session():
    gate = threading.Event()
    gate.set()
    policy = MadePolicy(ROBOT, gate=gate)
    with serving(policy) as server:
        with connected(server, "/") as robot, connected(server, "/") as vanishing:
            robot.recv(), vanishing.recv()
            gate.clear()
            vanishing.send(pack(observation_of(ROBOT, 0), byte_keys=True))
            vanishing.socket.shutdown(socket.SHUT_RDWR)
            gate.set()
            assert isinstance(ask(robot, observation_of(ROBOT, 0)), dict)
            wait_until(lambda: policy.open_sessions == 1)
        wait_until(lambda: policy.open_sessions == 0)


def test_a_fault_of_the_policy_ends_the_connection_and_not_the_server():
    policy = MadePolicy(ROBOT)
    with serving(policy) as server:
        with connected(server, "/") as robot:
            robot.recv()
            policy.fails = True
            robot.send(pack(observation_of(ROBOT, 0), byte_keys=True))
            with pytest.raises(ConnectionClosed) as closed:
                robot.recv(timeout=20)
            assert closed.value.rcvd.code == 1011 and "ZeroDivision" not in closed.value.rcvd.reason
        policy.fails = False
        with connected(server, "/") as robot:
            robot.recv()
            assert isinstance(ask(robot, observation_of(ROBOT, 0)), dict)


LIMITS = Limits(connections=2, message_bytes=20_000, session_s=60.0, idle_s=0.3, open_s=0.3, ping_s=0.2, rate_hz=20.0)


def test_limits_of_connections_and_messages():
    with serving(MadePolicy(ROBOT), limits=LIMITS) as server:
        with connected(server, "/") as one, connected(server, "/") as two:
            one.recv(), two.recv()
            with pytest.raises(InvalidStatus) as refused, connected(server, "/"):
                pass
            assert refused.value.response.status_code == 503
            one.send(bytes(20_001))
            with pytest.raises(ConnectionClosed) as closed:
                one.recv(timeout=20)
            assert closed.value.rcvd.code == 1009
            with pytest.raises(ConnectionClosed) as closed:  # says nothing
                two.recv(timeout=20)
            assert closed.value.rcvd.code == 1008 and "no message in 0.3 s" in closed.value.rcvd.reason
        wait_until(lambda: metric(server, "gato_sessions") == 0)
        with connected(server, "/") as robot:
            robot.recv()
            begin = time.monotonic()
            for step in range(26):  # twenty at once, and then twenty a second
                ask(robot, observation_of(ROBOT, step))
            assert time.monotonic() - begin > 0.25


def test_a_session_ends_when_its_time_is_over():
    limits = Limits(session_s=0.4)
    with serving(MadePolicy(ROBOT), limits=limits) as server, connected(server, "/") as robot:
        robot.recv()
        with pytest.raises(ConnectionClosed) as closed:
            robot.recv(timeout=20)
        assert closed.value.rcvd.reason == "the time of a session is over"


def test_half_open_connections_are_closed():
    """One that says nothing, one in the middle of its handshake, one that answers no ping."""
    with serving(MadePolicy(ROBOT), limits=LIMITS) as server:
        url = urllib.parse.urlsplit(server.address)
        silent, slow, deaf = (socket.create_connection((url.hostname, url.port), timeout=10) for _ in range(3))
        with silent, slow, deaf:
            slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
            deaf.sendall(
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            for client in (silent, slow, deaf):
                while client.recv(65536):  # until the server closes
                    pass
        wait_until(lambda: metric(server, "gato_connections") == 0)


def test_tls(tmp_path):
    from tests.serving.made_images import made_certificate

    certificate, key = made_certificate(tmp_path)
    import ssl

    from gato_jax.serving import read_certificate

    with serving(MadePolicy(ROBOT), tls=read_certificate(certificate, key)) as server:
        assert server.address.startswith("wss://")
        trusted = ssl.create_default_context(cafile=certificate)
        trusted.check_hostname = False
        with connected(server, "/", ssl=trusted) as robot:
            assert unpack(robot.recv())["task"] == ROBOT.name
    with pytest.raises(AccessError, match="cannot read the certificate"):
        read_certificate(key, certificate)
