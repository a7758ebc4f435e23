"""The verb `gato serve`: the agent of a run as a server, to which robots connect."""

from __future__ import annotations

import asyncio
import errno
import logging
import pathlib
import signal
import socket
import ssl
from collections.abc import Sequence

from absl import flags
from etils import epy

from gato_jax.runtime import devices
from gato_jax.verbs.decoding import define_decoding, read_decoding, read_sampling
from gato_jax.verbs.flags import UsageError, parse_flags
from gato_jax.verbs.runs import require_agent

with epy.lazy_imports():
    from gato_jax import evaluation, policy, serving
    from gato_jax.serving import agent as serving_agent

_log = logging.getLogger(__name__)


def serve(flag: flags.FlagValues, argv: Sequence[str]):
    """Serve the agent of a run to robots, over websockets in the message formats of openpi and vla-eval.

    A line that begins with `ready` gives the address when everything is compiled. Ctrl-C ends the server.
    """
    flags.DEFINE_string("workdir", None, "Folder of the run, or an exported .safetensors file.", flag_values=flag)
    flags.DEFINE_string(
        "task", None, "Name of the task to serve. Default: all control tasks of the agent; a client names one of them.",
        flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for all networks.", flag_values=flag)
    flags.DEFINE_integer(
        "port", 8000, "Port to listen on; 0 takes a free one.", lower_bound=0, upper_bound=65535, flag_values=flag
    )
    flags.DEFINE_string("token", None, "Secret that clients must give. Default: a new one, printed.", flag_values=flag)
    flags.DEFINE_bool("no_auth", False, "Ask for no token; only on an address of this machine.", flag_values=flag)
    flags.DEFINE_string("tls_certificate", None, "PEM file of the certificate, for TLS.", flag_values=flag)
    flags.DEFINE_string("tls_key", None, "PEM file of the private key of --tls_certificate.", flag_values=flag)
    define_decoding(flag)
    _define_limits(flag)
    parse_flags(flag, argv, required=("workdir",))
    if flag.no_auth and flag.token:
        raise UsageError("--no_auth and --token are both given, expected one of them. Leave one out.")
    sampling = read_sampling(flag)
    workdir = require_agent("workdir", flag.workdir)
    tls = _read_certificate(flag)
    secret = None if flag.no_auth else flag.token or serving.generate_token()
    token = serving.Token(secret) if secret else None
    serving.require_safe(flag.host, token)
    _require_free(flag.host, flag.port)
    devices.print_devices()
    agent = policy.Agent.restore(workdir, decoding=read_decoding(flag))
    tasks = _served_tasks(flag, agent)
    prompts = evaluation.open_demonstrations(agent, workdir, tasks, flag.prompt)
    served = serving_agent.AgentPolicy(agent, tasks, sampling=sampling, prompts=prompts, rows=flag.batch_rows or None)
    server = serving.PolicyServer(
        served, token=token, host=flag.host, port=flag.port, tls=tls, limits=_read_limits(flag, served),
        batch_wait_s=flag.batch_wait_ms / 1000, max_batch=flag.max_connections,
    )  # fmt: skip
    others = f" and {len(tasks) - 5} more" if len(tasks) > 5 else ""
    print(f"serving {', '.join(tasks[:5])}{others}; compiling", flush=True)
    prompted = sum(prompts.describe(task) is not None for task in tasks)
    print(f"prompts: demonstrations for {prompted} of {len(tasks)} tasks" if prompted else "prompts: none", flush=True)
    if secret and not flag.token:
        print(f"token {secret}", flush=True)
    try:
        asyncio.run(_run(server))
    except OSError as error:
        raise UsageError(_cannot_listen(flag.host, flag.port, error)) from error


def _require_free(host: str, port: int):
    """Raise UsageError if another program listens on the port, before anything is compiled."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:  # one address of several, such as ::1 of localhost, may be missing
            raise UsageError(_cannot_listen(host, port, error)) from error


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    return (
        f"cannot listen: --host is {host} and --port is {port}, expected an address of this machine and a free port "
        f"({error.strerror or error}). Name others; --port=0 takes a free port."
    )


def _served_tasks(flag: flags.FlagValues, agent: policy.Agent) -> list[str]:
    """Return the tasks to serve, after a check that a robot can have that of --task."""
    tasks = serving_agent.control_tasks(agent)
    if not tasks:
        known = ", ".join(agent.contract.tasks)
        raise UsageError(f"the agent was trained on {known}, expected a control task. Name another --workdir.")
    if not flag.task:
        return tasks
    agent.layout(flag.task)  # raises UnknownTaskError
    if flag.task not in tasks:
        raise UsageError(f"--task is {flag.task}, expected a control task of the agent: {', '.join(tasks)}. Name one.")
    return [flag.task]


def _define_limits(flag: flags.FlagValues):
    flags.DEFINE_float(
        "batch_wait_ms", 5.0, "Milliseconds that a request waits for those of other robots at most.", lower_bound=0.0,
        flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_integer(
        "batch_rows", 0,
        "Number of robots that one call of the compiled program acts for; 0 for 1 on a CPU and 8 elsewhere.",
        lower_bound=0, flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_integer(
        "max_connections", 64, "Maximum number of robots that are served at once.", lower_bound=1, flag_values=flag
    )
    flags.DEFINE_integer(
        "max_message_kib", 0, "Maximum length of a message in KiB; 0 for twice the largest observation and 64 KiB.",
        lower_bound=0, flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_float(
        "max_rate_hz", 200.0, "Maximum number of messages a second of one robot; a faster one waits.", lower_bound=0.1,
        flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_float(
        "session_minutes", 24 * 60.0, "Minutes after which a connection is closed.", lower_bound=0.01, flag_values=flag
    )


def _read_limits(flag: flags.FlagValues, served: serving.ServedPolicy) -> serving.Limits:
    largest = max(map(serving.largest_observation, served.tasks.values()))
    return serving.Limits(
        connections=flag.max_connections,
        message_bytes=1024 * flag.max_message_kib or 2 * largest + 2**16,
        rate_hz=flag.max_rate_hz,
        session_s=60 * flag.session_minutes,
    )


def _read_certificate(flag: flags.FlagValues) -> ssl.SSLContext | None:
    if bool(flag.tls_certificate) != bool(flag.tls_key):
        missing = "tls_key" if flag.tls_certificate else "tls_certificate"
        raise UsageError(f"--{missing} is missing. TLS needs the files of both the certificate and its private key.")
    if not flag.tls_certificate:
        return None
    return serving.read_certificate(pathlib.Path(flag.tls_certificate), pathlib.Path(flag.tls_key))


async def _run(server: serving.PolicyServer):
    """Serve until SIGINT or SIGTERM, and then close all connections."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await server.run(stop, lambda address: print(f"ready {address}", flush=True))
