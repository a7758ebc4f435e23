"""The verb `gato serve`: the agent of a run as a server, to which robots connect."""

from __future__ import annotations

import pathlib
import ssl
from collections.abc import Sequence

from absl import flags
from etils import epy

from gato_jax.runtime import devices
from gato_jax.runtime.listening import listen_error, require_free, serve_until_signal
from gato_jax.verbs.decoding import define_decoding, read_decoding, read_sampling
from gato_jax.verbs.flags import UsageError, parse_flags
from gato_jax.verbs.runs import require_agent

with epy.lazy_imports():
    from gato_jax import evaluation, policy, serving
    from gato_jax.serving import agent as serving_agent


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
    flags.DEFINE_string(
        "token", None, "Secret that clients must give, visible in the list of processes. Default: a new one, printed.",
        flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_string(
        "token_file", None, "File that holds the secret that clients must give, of mode 0600.", flag_values=flag
    )
    flags.DEFINE_bool("no_auth", False, "Ask for no token; only on an address of this machine.", flag_values=flag)
    flags.DEFINE_string("tls_certificate", None, "PEM file of the certificate, for TLS.", flag_values=flag)
    flags.DEFINE_string("tls_key", None, "PEM file of the private key of --tls_certificate.", flag_values=flag)
    define_decoding(flag)
    _define_limits(flag)
    parse_flags(flag, argv, required=("workdir",))
    sampling = read_sampling(flag)
    workdir = require_agent("workdir", flag.workdir)
    tls = _read_certificate(flag)
    token, generated = _read_token(flag)
    serving.require_safe(flag.host, token)
    require_free(flag.host, flag.port)
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
    if generated:
        print(f"token {generated}", flush=True)
    try:
        serve_until_signal(lambda stop: server.run(stop, lambda address: print(f"ready {address}", flush=True)))
    except OSError as error:
        raise listen_error(flag.host, flag.port, error) from error


def _read_token(flag: flags.FlagValues) -> tuple[serving.Token | None, str | None]:
    """Return the token of the server, None for none, and the secret to print if it is a new one."""
    given = [name for name in ("no_auth", "token", "token_file") if flag[name].value]
    if len(given) > 1:
        both = " and ".join(f"--{name}" for name in given)
        raise UsageError(f"{both} are given together, expected one of them. Leave the others out.")
    if flag.no_auth:
        return None, None
    if flag.token or flag.token_file:
        return serving.Token(flag.token or serving.read_secret(flag.token_file)), None
    secret = serving.generate_token()
    return serving.Token(secret), secret


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
