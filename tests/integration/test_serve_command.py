"""`gato serve`: compiles, prints its token and address, answers, and ends on a signal with status 0."""

import signal
import socket

import websockets.sync.client

from gato_jax.serving import unpack
from tests.integration.conftest import TASK, finish, gato, start


def test_it_is_ready_with_a_token_and_ends_on_a_signal(trained):
    process = start("-m", "gato_jax.cli", "serve", f"--workdir={trained}", "--port=0")
    said = {}
    while "ready" not in said:
        word, _, rest = process.stdout.readline().strip().partition(" ")
        said[word] = rest
    with websockets.sync.client.connect(
        said["ready"], additional_headers={"Authorization": f"Bearer {said['token']}"}
    ) as robot:
        assert unpack(robot.recv())["task"] == TASK
        process.send_signal(signal.SIGTERM)
    assert finish(process).status == 0


def test_a_port_in_use_is_told_before_the_agent_is_loaded(trained):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = gato("serve", f"--workdir={trained}", "--no_auth", f"--port={port}")
    assert f"--port is {port}, expected an address of this machine and a free port" in said.complaint()
    assert "devices:" not in said.err and "compiling" not in said.out


def test_bad_flags(trained, tmp_path):
    assert (
        "host is 0.0.0.0, expected 127.0.0.1"
        in gato("serve", f"--workdir={trained}", "--no_auth", "--host=0.0.0.0").complaint()
    )
    assert "the token has 3 characters" in gato("serve", f"--workdir={trained}", "--token=abc").complaint()
    secret = tmp_path / "token"
    secret.write_text("sixteen-characters-and-more")
    secret.chmod(0o644)
    words = ["serve", f"--workdir={trained}", f"--token_file={secret}"]
    assert "has mode 0644, expected 0600" in gato(*words).complaint()
    secret.chmod(0o600)
    assert "--no_auth and --token_file are given together" in gato(*words, "--no_auth").complaint()
    assert "not trained on 'x/y'" in gato(*words, "--task=x/y").complaint()
    assert "--tls_key is missing" in gato("serve", f"--workdir={trained}", "--tls_certificate=a.pem").complaint()
    assert (
        "cannot read the certificate"
        in gato(
            "serve", f"--workdir={trained}", f"--tls_certificate={tmp_path}/a", f"--tls_key={tmp_path}/b"
        ).complaint()
    )
    assert "not trained on 'x/y'" in gato("serve", f"--workdir={trained}", "--no_auth", "--task=x/y").complaint()
