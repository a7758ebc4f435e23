"""A headless Chromium, for the tests of pages."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import websockets.sync.client

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
  --disable-component-update --disable-sync --remote-debugging-port=0""".split()


class Browser:
    """A headless Chromium with one page, driven over its debugging protocol: a phone's width needs emulation."""

    def __enter__(self) -> Browser:
        self._profile = tempfile.mkdtemp()
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port = Path(self._profile) / "DevToolsActivePort"
        deadline = time.monotonic() + 60
        while not (port.exists() and "\n" in port.read_text()):
            assert time.monotonic() < deadline and self._process.poll() is None, "Chromium did not start"
            time.sleep(0.1)
        address, path = port.read_text().splitlines()[:2]
        self._socket = websockets.sync.client.connect(f"ws://127.0.0.1:{address}{path}", max_size=None)
        self._ids, self._session, self.requested = itertools.count(1), None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.call("Network.enable")
        return self

    def __exit__(self, *_):
        self._socket.close()
        self._process.terminate()
        self._process.wait(timeout=30)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method: str, **params):
        """Sends a command and returns its result. What the page asks the network for meanwhile is kept."""
        message = {"id": next(self._ids), "method": method, "params": params}
        self._socket.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        while True:
            reply = json.loads(self._socket.recv(timeout=60))
            if reply.get("method") == "Network.requestWillBeSent":
                self.requested.append(reply["params"]["request"]["url"])
            if reply.get("id") == message["id"]:
                assert "error" not in reply, reply
                return reply["result"]

    def open(self, page: Path, width: int, scheme: str) -> None:
        self.visit(page.as_uri(), width, scheme)

    def visit(self, url: str, width: int, scheme: str) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=url)
        self.evaluate("new Promise(done => document.readyState == 'complete' ? done() : onload = done)")
        self.evaluate("Promise.all([...document.images].map(image => image.decode()))")

    def evaluate(self, script: str):
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def screenshot(self, clip: dict | None = None) -> bytes:
        """The whole page, or the part in `clip`, as PNG."""
        how = {"clip": clip | {"scale": 1}} if clip else {}
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True, **how)["data"])
