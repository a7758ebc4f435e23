"""A server of buckets in this process, which answers as Google Cloud Storage does, and a file system of fsspec on it.

Tensorstore, which writes the arrays of checkpoints, speaks HTTP with the server. Everything else reads and writes
through fsspec; `MadeGcs` takes the place of the package gcsfs, which is not installed for tests.
"""

import contextlib
import http.server
import io
import json
import pathlib
import re
import sys
import threading
import urllib.parse

from fsspec.spec import AbstractFileSystem

from gato_jax.runtime.paths import as_path

OBJECTS: dict[str, bytes] = {}  # {BUCKET/NAME: content}
_GENERATIONS: dict[str, int] = {}
_LOCK = threading.RLock()


def put(name: str, content: bytes):
    with _LOCK:
        OBJECTS[name] = content
        _GENERATIONS[name] = _GENERATIONS.get(name, 0) + 1


def remove(name: str):
    with _LOCK:
        del OBJECTS[name]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _answer(self, status: int, body: bytes = b"", kind: str = "application/json", **headers):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _parse(self):
        url = urllib.parse.urlsplit(self.path)
        query = {key: values[0] for key, values in urllib.parse.parse_qs(url.query).items()}
        bucket, _, name = re.sub(r".*/storage/v1/b/", "", url.path).partition("/o")
        return bucket, urllib.parse.unquote(name.removeprefix("/")), query

    def _precondition_fails(self, key: str, query: dict) -> bool:
        wanted = query.get("ifGenerationMatch")
        return wanted is not None and int(wanted) != (_GENERATIONS[key] if key in OBJECTS else 0)

    def do_GET(self):
        bucket, name, query = self._parse()
        if not name:
            return self._list(bucket, query)
        with _LOCK:
            content, generation = OBJECTS.get(f"{bucket}/{name}"), _GENERATIONS.get(f"{bucket}/{name}")
        if content is None:
            return self._answer(404)
        if query.get("alt") != "media":
            return self._answer(200, json.dumps(_describe(f"{bucket}/{name}")).encode())
        headers = {"x_goog_generation": str(generation)}
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, stop = int(asked[1]), min(int(asked[2] or len(content)) + 1, len(content))
            headers["Content_Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
            return self._answer(206, content[start:stop], "application/octet-stream", **headers)
        self._answer(200, content, "application/octet-stream", **headers)

    def _list(self, bucket: str, query: dict):
        prefix = query.get("prefix", "")
        with _LOCK:
            names = sorted(key.removeprefix(f"{bucket}/") for key in OBJECTS if key.startswith(f"{bucket}/{prefix}"))
            first, last = query.get("startOffset", ""), query.get("endOffset")
            names = [name for name in names if name >= first and (last is None or name < last)]
            self._answer(200, json.dumps({"items": [_describe(f"{bucket}/{name}") for name in names]}).encode())

    def do_POST(self):
        bucket, name, query = self._parse()
        key, content = f"{bucket}/{query['name']}", self.rfile.read(int(self.headers["Content-Length"]))
        with _LOCK:
            if self._precondition_fails(key, query):
                return self._answer(412)
            put(key, content)
            self._answer(200, json.dumps(_describe(key)).encode())

    def do_DELETE(self):
        bucket, name, query = self._parse()
        with _LOCK:
            key = f"{bucket}/{name}"
            if self._precondition_fails(key, query):
                return self._answer(412)
            if key not in OBJECTS:
                return self._answer(404)
            remove(key)
        self._answer(204)


def _describe(key: str) -> dict:
    bucket, _, name = key.partition("/")
    size, generation = str(len(OBJECTS[key])), str(_GENERATIONS[key])
    return {"bucket": bucket, "name": name, "size": size, "generation": generation, "metageneration": "1"}


class _Upload(io.BytesIO):
    def __init__(self, name: str):
        super().__init__()
        self._name = name

    def close(self):
        if not self.closed:
            put(self._name, self.getvalue())
        super().close()


class MadeGcs(AbstractFileSystem):
    """The buckets of OBJECTS as a file system; folders are prefixes of names, as in any bucket."""

    protocol = ("gs", "gcs", "s3")
    cachable = False

    def ls(self, path, detail=True, **_):
        path = self._strip_protocol(path).rstrip("/")
        with _LOCK:
            if path in OBJECTS:
                entries = [self._entry(path)]
            else:
                below = [key for key in OBJECTS if key.startswith(f"{path}/" if path else "")]
                if not below:
                    raise FileNotFoundError(path)
                start = len(path) + 1 if path else 0
                names = sorted({key[:start] + key[start:].partition("/")[0] for key in below})
                entries = [self._entry(name) for name in names]
        return entries if detail else [entry["name"] for entry in entries]

    def _entry(self, name: str) -> dict:
        if name in OBJECTS:
            return {
                "name": name, "size": len(OBJECTS[name]), "type": "file",
                "generation": str(_GENERATIONS[name]), "etag": str(_GENERATIONS[name]),
            }  # fmt: skip
        return {"name": name, "size": 0, "type": "directory"}

    def info(self, path, **_):
        path = self._strip_protocol(path).rstrip("/")
        with _LOCK:
            if path in OBJECTS or any(key.startswith(f"{path}/") for key in OBJECTS):
                return self._entry(path)
        raise FileNotFoundError(path)

    def _open(self, path, mode="rb", **_):
        name = self._strip_protocol(path)
        if mode == "rb":
            with _LOCK:
                if name not in OBJECTS:
                    raise FileNotFoundError(path)
                return io.BytesIO(OBJECTS[name])
        assert mode == "wb", f"a bucket cannot open {path} as {mode}"
        return _Upload(name)

    def cp_file(self, path1, path2, **_):
        if (name := self._strip_protocol(path1)) in OBJECTS:  # and no folder
            put(self._strip_protocol(path2), OBJECTS[name])

    def _rm(self, path):
        name = self._strip_protocol(path)
        if name in OBJECTS:
            remove(name)

    def mkdir(self, path, create_parents=True, **_):
        pass

    def makedirs(self, path, exist_ok=False):
        pass

    def rmdir(self, path):
        pass


def upload_folder(folder: pathlib.Path, address: str) -> pathlib.Path:
    """Write all files of a folder below an address, and return the address as a path."""
    for file in folder.rglob("*"):
        if file.is_file():
            (as_path(address) / file.relative_to(folder)).upload(file)
    return as_path(address)


@contextlib.contextmanager
def made_bucket(monkeypatch):
    """Serve buckets at gs:// and s3:// to this process during the block, and yield the address of an empty one."""
    from etils.epath import backend
    from orbax.checkpoint._src.path import gcs_utils

    # Orbax asks google-cloud-storage, a dependency of gcsfs, for the kind of the bucket.
    monkeypatch.setattr(gcs_utils, "get_bucket", lambda name: object())
    implementations = sys.modules["fsspec.registry"]._registry  # `fsspec.registry` is a read-only view of it
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "none")
    for protocol in MadeGcs.protocol:
        monkeypatch.setitem(implementations, protocol, MadeGcs)
    backend.fsspec_backend._get_filesystem.cache_clear()
    OBJECTS.clear()
    try:
        yield "gs://made"
    finally:
        backend.fsspec_backend._get_filesystem.cache_clear()
        OBJECTS.clear()
        server.shutdown()
        server.server_close()
