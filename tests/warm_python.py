"""Python processes that begin with slow packages imported, for tests that start many processes.

Importing JAX with Flax and Orbax, or TensorFlow with TFDS, takes several seconds of CPU time in every process. Here one
process imports them once, for all workers of pytest-xdist, and forks whenever a test starts a process. Such a process
has its own pid, environment, output, signals and exit status; it runs `-c` and `-m` as `python` does. Tests of what a
process imports, and of how fast it starts, start a cold one.

    python -m tests.warm_python SOCKET PACKAGE...

runs the process that forks, until no test process is connected to SOCKET any longer.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pathlib
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import types
from collections.abc import Mapping, Sequence

import filelock

FOLDER = "GATO_WARM"  # environment variable: folder of the sockets, which all workers of pytest-xdist share
ROOT = pathlib.Path(__file__).parents[1]
JAX = ("jax", "flax.nnx", "optax", "orbax.checkpoint", "grain.python", "gato_jax.training.loop", "gato_jax.policy")
TENSORFLOW = ("tensorflow", "tensorflow_datasets")

_ENVIRONMENT = dict(os.environ)  # of these tests, before any of them changes it
_LARGEST = 1 << 17  # bytes of a request
_connections: dict[Sequence[str], tuple[str, socket.socket]] = {}


class WarmProcess:
    """A process as of `subprocess.Popen` with pipes for its output, forked from one that has imported packages.

    Args:
      arguments: `-c CODE` or `-m MODULE`, followed by the words of the process.
      packages: Modules that are imported already: `JAX` or `TENSORFLOW`.
      cwd: Its working directory.
      env: Its environment. Variables that JAX reads while it is imported (JAX_...) have to be those of these tests.
      text: Whether its output is text.
    """

    def __init__(
        self,
        arguments: Sequence[object],
        packages: Sequence[str] = JAX,
        *,
        cwd: str | os.PathLike = ROOT,
        env: Mapping[str, str] | None = None,
        text: bool = True,
    ):
        self.args = [str(argument) for argument in arguments]
        self.returncode: int | None = None
        request = {"arguments": self.args, "cwd": str(cwd), "env": dict(os.environ if env is None else env)}
        path, _ = _connections.get(packages) or _connect(packages)
        pipes = [os.pipe() for _ in range(2)]
        self._connection = _client(path)
        socket.send_fds(self._connection, [json.dumps(request).encode()], [write for _, write in pipes])
        for _, write in pipes:
            os.close(write)
        self.stdout, self.stderr = (open(read, "r" if text else "rb") for read, _ in pipes)
        self.pid = self._receive()

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = os.waitstatus_to_exitcode(self._receive())
            self._connection.close()
        return self.returncode

    def communicate(self, timeout: float | None = None):
        """Return all that is left of stdout and stderr, when the process has ended."""
        said: dict[int, str | bytes] = {}

        def read(number: int, stream):
            with stream:
                said[number] = stream.read()

        readers = [
            threading.Thread(target=read, args=pair, daemon=True) for pair in enumerate((self.stdout, self.stderr))
        ]
        deadline = None if timeout is None else time.monotonic() + timeout
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(None if deadline is None else max(deadline - time.monotonic(), 0))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(None if deadline is None else max(deadline - time.monotonic(), 0))
        return said[0], said[1]

    def send_signal(self, number: int):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def _receive(self) -> int:
        received = self._connection.recv(8)
        if not received:
            raise ConnectionError(f"the process that forks ended before {self.args}")
        return struct.unpack("q", received)[0]


def run_warm(
    arguments: Sequence[object], packages: Sequence[str] = JAX, *, timeout: float = 300, **options
) -> subprocess.CompletedProcess:
    """Run a warm process to its end, as `subprocess.run` with captured output does."""
    process = WarmProcess(arguments, packages, **options)
    out, err = process.communicate(timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _client(path: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect(path)
    return client


def _connect(packages: Sequence[str]) -> tuple[str, socket.socket]:
    """Return the address of the process that forks, started by the first worker, and a connection that keeps it."""
    path = os.path.join(os.environ[FOLDER], packages[0])
    with filelock.FileLock(f"{path}.lock"):
        try:
            connection = _client(path)
        except (FileNotFoundError, ConnectionRefusedError):
            pathlib.Path(path).unlink(missing_ok=True)
            command = [sys.executable, "-m", "tests.warm_python", path, *packages]
            server = subprocess.Popen(
                command, cwd=ROOT, env=_ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            assert server.stdout and server.stdout.readline() == "ready\n"
            connection = _client(path)
    _connections[packages] = path, connection
    return path, connection


class _Request:
    """A request in the process that is forked for it."""

    def __init__(self, message: bytes, descriptors: Sequence[int]):
        fields = json.loads(message)
        self.arguments: list[str] = fields["arguments"]
        for descriptor, number in zip(descriptors, (1, 2), strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.chdir(fields["cwd"])
        os.environ.clear()
        os.environ.update(fields["env"])
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def run(self):
        """Run the program as `python -c` and `python -m` do."""
        option, program, *words = self.arguments
        sys.argv = ["-c" if option == "-c" else program, *words]
        sys.path[0] = "" if option == "-c" else os.getcwd()
        if option == "-m":
            runpy.run_module(program, run_name="__main__", alter_sys=True)
            return
        sys.modules["__main__"] = main = types.ModuleType("__main__")
        exec(compile(program, "<string>", "exec"), main.__dict__)


def _serve(path: str, packages: Sequence[str]) -> _Request | None:
    """Import the packages and answer requests: return one in a process forked for it, and None at the end."""
    for package in packages:
        importlib.import_module(package)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen(64)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nothing waits for the processes that wait for those of the tests
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    open_connections: set[socket.socket] = set()
    while True:
        ready, _, _ = select.select([listener, *open_connections], [], [], None if open_connections else 60)
        for connection in ready:
            if connection is listener:
                open_connections.add(listener.accept()[0])
                continue
            message, descriptors, _, _ = socket.recv_fds(connection, _LARGEST, 2)
            if message and not os.fork():
                for other in (listener, *open_connections - {connection}):
                    other.close()
                if _is_forked(connection, descriptors):
                    connection.close()
                    return _Request(message, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            open_connections.remove(connection)
            connection.close()
        if not open_connections:
            return None


def _is_forked(connection: socket.socket, descriptors: Sequence[int]) -> bool:
    """Fork again; return True in the new process. This one tells its pid and its status, and ends with it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if not (pid := os.fork()):
        return True
    for descriptor in (1, 2, *descriptors):
        os.close(descriptor)
    with contextlib.suppress(OSError):  # the test does not wait for it
        connection.send(struct.pack("q", pid))
        connection.send(struct.pack("q", os.waitpid(pid, 0)[1]))
    os._exit(0)


if __name__ == "__main__" and (request := _serve(sys.argv[1], sys.argv[2:])):
    request.run()
