"""Pages and websockets for this machine alone, over real sockets."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket as socket_module
import threading
import time
import urllib.parse

import pytest
import websockets.sync.client
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gato_jax.web import ListenError, LocalServer, Page
from tests.web.running import running

gate = threading.Event()


def page(path, query):
    if path == "/fails":
        raise ZeroDivisionError
    if path == "/slow":
        gate.wait(20)
    known = {"/": "hello", "/a b": json.dumps(dict(query)), "/slow": "at last"}
    return Page(known[path].encode(), "text/plain") if path in known else None


async def converse(connection):
    async for message in connection:
        if message == "fail":
            raise ZeroDivisionError
        await connection.send(f"{connection.request.path} {message}")


@pytest.fixture(scope="module")
def address():
    with running(LocalServer(page=page, converse=converse)) as address:
        yield address


def get(address, path, **headers):
    url = urllib.parse.urlsplit(address)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=20)
    connection.request("GET", path, headers=headers)
    return connection.getresponse()


def connected(address, path="/", **settings):
    return websockets.sync.client.connect(f"ws{address.removeprefix('http')}{path}", **settings)


def test_pages_with_their_query_that_no_cache_keeps(address):
    answer = get(address, "/")
    assert (answer.status, answer.read(), answer.headers["Content-Type"]) == (200, b"hello", "text/plain")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'self' 'unsafe-inline' data: blob:;" in answer.headers["Content-Security-Policy"]
    assert json.loads(get(address, "/a%20b?run=x%2Fy&run=z&empty=").read()) == {"run": "z", "empty": ""}
    assert get(address, "/nowhere").status == 404
    assert get(address, "/fails").status == 500


@pytest.mark.parametrize("name", ["localhost:9", "127.0.0.1", "[::1]:80"])
def test_a_name_of_this_machine_is_answered_with_any_port(address, name):
    assert get(address, "/", Host=name).status == 200  # the port may be a forwarded one
    assert get(address, "/", Host=name, Origin=f"http://{name}").status == 200


@pytest.mark.parametrize(
    "name", ["evil.example", "evil.example:80", "10.0.0.1", "localhost.evil.example", "", "[", "@"]
)
def test_a_foreign_name_is_refused(address, name):
    assert get(address, "/", Host=name).status == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
def test_a_page_of_another_site_is_refused(address, origin):
    assert get(address, "/", Origin=origin).status == 403
    with pytest.raises(InvalidStatus) as refused, connected(address, origin=origin):
        pass
    assert refused.value.response.status_code == 403


def test_a_conversation_and_a_failed_one_beside_it(address):
    with connected(address, "/talk?x=1", origin=address) as good, connected(address) as bad:
        bad.send("fail")
        with pytest.raises(ConnectionClosed, match="1011"):
            bad.recv(timeout=20)
        good.send("word")
        assert good.recv(timeout=20) == "/talk?x=1 word"


def test_a_slow_page_lets_others_pass_and_the_end_closes_conversations():
    gate.clear()
    server = LocalServer(page=page, converse=converse)
    with running(server) as address:
        answers = []
        slow = threading.Thread(target=lambda: answers.append(get(address, "/slow").read()))
        slow.start()
        assert get(address, "/").read() == b"hello" and not answers
        gate.set()
        slow.join(20)
        assert answers == [b"at last"]
        socket = connected(address)
        idle = socket_module.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))
        began = time.monotonic()
    assert time.monotonic() - began < 15
    idle.close()
    with pytest.raises(ConnectionClosed):
        socket.recv(timeout=20)


def test_without_a_conversation_no_websocket_is_opened():
    with (
        running(LocalServer(page=page)) as address,
        pytest.raises(InvalidStatus) as refused,
        connected(address),
    ):
        pass
    assert refused.value.response.status_code == 404


def test_bad_addresses(address):
    with pytest.raises(ListenError, match=r"host is 0\.0\.0\.0, expected 127\.0\.0\.1"):
        LocalServer(page=page, host="0.0.0.0")
    port = int(address.rpartition(":")[2])
    with pytest.raises(ListenError, match=rf"--port is {port}, expected .* and a free port"):
        asyncio.run(LocalServer(page=page, port=port).run(asyncio.Event(), print))
