"""Jobs of the quickstart that no verb of `gato` does: robot episodes, captions, dialogues, two kinds of scores."""

from __future__ import annotations

import base64
import functools
import io
import itertools
import json
import pathlib
import shutil
import subprocess
from collections.abc import Callable

import numpy as np
from tqdm import tqdm

ROBOT_TASK = "fetch/pick_and_place"
CAPTION_SAMPLES = 12
_NPM_EMOJI = "emoji-datasource-google"


def run(name: str, config, workdir: pathlib.Path):
    """Run the job of this name."""
    jobs: dict[str, Callable] = {
        "record robot": _record_robot,
        "record captions": _record_captions,
        "record dialogue": _record_dialogue,
        "evaluate prompted": _evaluate_prompted,
        "held out": _held_out,
    }
    jobs[name](config, workdir)


def emoji_folder(workdir: pathlib.Path) -> str | None:
    """Return the folder of an npm package with emoji images, downloaded if necessary; None if the system has the font.

    Raises:
      SourceError: the system has no emoji font, and the package cannot be downloaded.
    """
    from gato_jax.sources import SourceError
    from gato_jax.sources.images.emoji import FONT

    if pathlib.Path(FONT).exists():
        return None
    folder = workdir / _NPM_EMOJI
    if not folder.exists():
        if shutil.which("npm") is None:
            raise SourceError(
                f"no emoji to caption: {FONT} does not exist and npm is not installed. "
                "Run `apt-get install fonts-noto-color-emoji`, or install npm."
            )
        packed = subprocess.run(
            ["npm", "pack", "--silent", "--pack-destination", str(workdir), _NPM_EMOJI], capture_output=True, text=True
        )
        archives = list(workdir.glob(f"{_NPM_EMOJI}-*.tgz"))
        if packed.returncode or not archives:
            raise SourceError(
                f"no emoji to caption: `npm pack {_NPM_EMOJI}` failed with {packed.stderr.strip()!r}. "
                "Run `apt-get install fonts-noto-color-emoji` instead."
            )
        shutil.unpack_archive(archives[0], workdir / "unpacked")
        (workdir / "unpacked" / "package").rename(folder)
        archives[0].unlink()
    return str(folder)


def _record_robot(config, workdir: pathlib.Path):
    from gato_jax.environments import RECORDING_SEEDS
    from gato_jax.environments.suites.fetch import CONTROL_RATE_HZ
    from gato_jax.experts import ExpertActor
    from gato_jax.rollouts import play
    from gato_jax.sources import write_bridge_dataset

    train, test = config.experiment.robot_episodes, config.experiment.robot_held_out
    starts = [(ROBOT_TASK, seed) for seed in RECORDING_SEEDS[: train + test]]
    episodes = iter(tqdm(play(functools.partial(ExpertActor, noise=None), starts), total=len(starts), unit="episode"))
    splits = {"train": itertools.islice(episodes, train), "test": episodes}
    print(write_bridge_dataset(workdir / "data", splits, control_rate_hz=CONTROL_RATE_HZ, overwrite=True))


def _record_captions(config, workdir: pathlib.Path):
    from gato_jax.sources import emoji_captions

    _store(workdir, lambda split: emoji_captions(split, folder=emoji_folder(workdir)))


def _record_dialogue(config, workdir: pathlib.Path):
    from gato_jax.sources import chatterbot_dialogues

    _store(workdir, chatterbot_dialogues)


def _store(workdir: pathlib.Path, open_split: Callable):
    from gato_jax.episodes import write_dataset

    splits = {split: open_split(split) for split in ("train", "test")}
    print(write_dataset(workdir / "data", splits["train"].spec, splits, overwrite=True))


def _evaluate_prompted(config, workdir: pathlib.Path):
    """Play each task after a demonstration of it, and write scores in the format of results.json to prompted.json.

    `no_room` lists the tasks of which a timestep is longer than a prompt may be; they are not played again.
    """
    from gato_jax import evaluation
    from gato_jax.evaluation.agent_results import evaluate_agent
    from gato_jax.policy import Agent, Temperature
    from gato_jax.policy.prompts import prompt_room, timestep_tokens

    settings = config.experiment
    agent, sampling = Agent.restore(workdir), Temperature(temperature=settings.temperature)
    room, tokens = prompt_room(agent), {task: timestep_tokens(agent, task) for task in settings.tasks}
    tasks = [task for task, count in tokens.items() if count <= room]
    prompts = evaluation.open_demonstrations(agent, workdir, tasks, "demonstration")
    played_by = evaluation.PlayedBy(step=agent.step, digest=agent.digest, prompt=prompts.mode, **sampling.to_json())
    references = evaluation.gather_references(tasks, workdir)
    with evaluation.evaluation_lock(workdir), evaluation.ScoreJournal(workdir, played_by) as journal:
        played = evaluate_agent(
            agent, references, workdir / "prompted", sampling=sampling, prompts=prompts, journal=journal,
            episodes=settings.prompted_episodes, environments=settings.environments,
        )  # fmt: skip
        results = evaluation.merge_results({}, played_by, dict(played))
    results["no_room"] = {
        task: f"a timestep has {count} tokens, and a prompt at most half of the context, {room}"
        for task, count in tokens.items()
        if count > room
    }
    _write(workdir / "prompted.json", results)


def _held_out(config, workdir: pathlib.Path):
    from gato_jax.policy import Agent
    from gato_jax.sources import open_source

    agent = Agent.restore(workdir)
    scorers = {
        "robot": ("bridge_dataset", _score_robot),
        "captions/emoji": ("captions", _score_captions),
        "dialogue/chatterbot": ("dialogue", _score_dialogue),
    }
    results = {}
    for name, (dataset, score) in tqdm(scorers.items(), desc="held out", unit="dataset"):
        source = config.datasets[dataset].source.replace("{workdir}", str(workdir))
        train, test = (list(open_source(source, split)) for split in ("train", "test"))
        results[name] = score(agent, train, test, workdir)
    _write(workdir / "held_out.json", results)


def _score_robot(agent, train, test, workdir: pathlib.Path):
    from gato_jax.evaluation.held_out import action_error

    return action_error(agent, train[0].task, train, test)


def _score_captions(agent, train, test, workdir: pathlib.Path):
    from gato_jax.evaluation.held_out import text_perplexity
    from gato_jax.policy import write_texts

    task = train[0].task
    layout = agent.layout(task)
    images = [layout.encode_observation({"image": episode.observation["image"][0]}, first=True) for episode in test]
    truths = [str(episode.action["caption"][0]) for episode in test]
    greedy = write_texts(agent, task, images, temperature=0.0)
    matches = [text == truth for text, truth in zip(greedy, truths, strict=True)]
    shown, seeds = images[:CAPTION_SAMPLES], (0, 100, 200)
    samples = [
        write_texts(agent, task, shown, temperature=0.9, seed=seed) for seed in seeds
    ]  # the paper samples at 0.9 and shows the first three
    captions = [
        {"image": _data_uri(episode.observation["image"][0]), "truth": truth, "samples": list(drawn)}
        for episode, truth, drawn in zip(test, truths, zip(*samples, strict=True), strict=False)
    ]
    _write(workdir / "captions.json", captions)
    return {**text_perplexity(agent, task, train, test), "exact_match": float(np.mean(matches))}


def _score_dialogue(agent, train, test, workdir: pathlib.Path):
    from gato_jax.evaluation.held_out import text_perplexity

    _write(workdir / "dialogue.json", _continuations(agent, test[:8]))
    return text_perplexity(agent, train[0].task, train, test)


def _continuations(agent, episodes) -> list[dict[str, str]]:
    """Return the first line of each held-out dialogue as a prompt, with the corpus' and the agent's continuation."""
    from gato_jax.policy import write_texts

    layout = agent.layout("dialogue/chatterbot")
    lines = [str(episode.action["text"][0]).split("\n") for episode in episodes]
    prompts = [f"{line[0]}\nAgent:" for line in lines]
    beginnings = [layout.encode_action({"text": prompt}) for prompt in prompts]
    beginnings = [
        tokens.slice(0, len(tokens) - 1) for tokens in beginnings
    ]  # without the end-of-text piece, so that the agent continues
    written = write_texts(agent, "dialogue/chatterbot", beginnings, temperature=0.9, max_tokens=24)
    return [
        {"prompt": line[0], "truth": "\n".join(line[1:]), "sample": text.split("\nHuman:")[0].strip()}
        for line, text in zip(lines, written, strict=True)
    ]


def _data_uri(image: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _write(path: pathlib.Path, value):
    path.write_text(json.dumps(value, indent=2))
