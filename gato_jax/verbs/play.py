"""`gato play`: a task in a page of the browser, played by a person, its expert or an agent."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from etils import epy

from gato_jax.runtime.listening import require_free, serve_until_signal, tunnel_hint
from gato_jax.runtime.paths import require_local
from gato_jax.verbs.decoding import DECODING_FLAGS, define_decoding
from gato_jax.verbs.flags import UsageError, parse_flags
from gato_jax.verbs.players import expert_player, restore_agent
from gato_jax.verbs.renderers import choose_renderer, define_renderer
from gato_jax.verbs.runs import require_agent

with epy.lazy_imports():
    from gato_jax import environments, episodes, experts, rollouts, web
    from gato_jax.web import play as web_play

_PLAYERS = ["person", "expert", "agent"]
_HOST = "127.0.0.1"


def play(flag: flags.FlagValues, argv: Sequence[str]):
    """Play a task in a page of the browser: a person at the keyboard, its expert, or the agent of a run.

    `gato play babyai/GoToLocal-v0` is short for --task=babyai/GoToLocal-v0. The page is served to this machine alone;
    on another one, forward the port by ssh as the command says. With --output, the episodes that are kept in the page
    become a dataset for each player, to which a later call adds. Ctrl-C ends the command.
    """
    flags.DEFINE_string("task", None, "Name of the task, suite/task.", flag_values=flag)
    flags.DEFINE_enum(
        "player", None, _PLAYERS,
        "Player of the first episode; the page offers the others. Default: agent with --workdir, otherwise person.",
        flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_string(
        "workdir", None, "Folder of the run of the agent, or an exported .safetensors file.", flag_values=flag
    )
    flags.DEFINE_integer(
        "seed", None, "Seed of the first episode; the next ones have the seeds after it. Default: 0, or the seed after "
        "the last episode that is kept in --output.", lower_bound=0, flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_float(
        "fps", None, "Number of steps a second; 0 for as many as possible. Default: the control rate of the task.",
        lower_bound=0.0, flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_string("output", None, "Folder to write the kept episodes to.", flag_values=flag)
    flags.DEFINE_integer(
        "port", 8000, "Port to listen on; 0 takes a free one.", lower_bound=0, upper_bound=65535, flag_values=flag
    )
    define_decoding(flag)
    define_renderer(flag)
    parse_flags(flag, _name_task(argv), required=("task",))
    _check(flag)
    environments.require_runnable(flag.task)
    require_free(_HOST, flag.port)
    choose_renderer(flag)
    spec, first = environments.task_spec(flag.task), flag.player or ("agent" if flag.workdir else "person")
    keyboard = web_play.Keyboard()
    players = {"person": web_play.person(keyboard), **_others(flag, spec, first)}
    root = None if flag.output is None else require_local(flag.output, "--output", "Keep episodes on a disk.")
    kept = {} if root is None else web_play.open_kept(root, spec, players)
    seed = web_play.next_seed(kept.get(first)) if flag.seed is None else flag.seed
    session = web_play.PlaySession(spec, players, keyboard, player=first, seed=seed, fps=flag.fps, kept=kept)
    page = web_play.PlayPage(session, output=flag.output or "")
    server = web.LocalServer(page=page.page, converse=page.converse, host=_HOST, port=flag.port)
    try:
        session.start()
        serve_until_signal(lambda stop: server.run(stop, lambda address: _say_ready(address, flag.output)))
    finally:
        session.close()
        if session.scene.keeps and not session.scene.is_kept:
            print(f"the episode of seed {session.scene.seed} is not kept, because it had not ended", flush=True)
        for name, episodes_of_player in kept.items():
            if (folder := episodes_of_player.finish()) is not None:
                print(f"{name}: {len(episodes.open_dataset(folder))} episodes in {folder}", flush=True)


def _name_task(argv: Sequence[str]) -> list[str]:
    """Return the words of the command line with --task= before a first word that is no flag."""
    program, *words = argv
    return [program, *(f"--task={word}" if not n and word[:1] != "-" else word for n, word in enumerate(words))]


def _check(flag: flags.FlagValues):
    """Raise UsageError if flags contradict each other."""
    if flag.player == "agent" and not flag.workdir:
        raise UsageError("--workdir is missing, expected the run of the agent with --player=agent. Name its folder.")
    if not flag.workdir:
        for name in DECODING_FLAGS:
            if flag[name].present:
                raise UsageError(f"--{name} is {flag[name].value}, expected it only with --workdir. Remove the flag.")
    if flag.output is not None and (flag.seed or 0) not in environments.RECORDING_SEEDS:
        raise UsageError(
            f"--seed is {flag.seed}, expected one up to {environments.RECORDING_SEEDS[-1]} with --output. Later ones "
            "are kept for evaluation."
        )


def _others(flag: flags.FlagValues, spec: episodes.TaskSpec, first: str) -> dict[str, rollouts.Player]:
    """Return {name: player} of the players beside the person that there are: the expert and the agent.

    Raises:
      NoExpertError: The expert is to play first, and there is none.
      UnknownTaskError, ContractError, NoDemonstrationError: The agent cannot play the task, or there is no prompt.
    """
    players = {}
    if first == "expert" or flag.task in experts.expert_names():
        players["expert"] = expert_player([flag.task], noise=0.0)
    if flag.workdir:
        players["agent"] = restore_agent(flag, require_agent("workdir", flag.workdir), {flag.task: spec})
    return players


def _say_ready(address: str, output: str | None):
    """Print the address, how to reach it from another machine, and where episodes go."""
    print(tunnel_hint(address))
    print(f"kept episodes go to {output}" if output else "episodes are not kept, without --output=DIR")
    print(f"ready {address}", flush=True)
