"""Benchmark of tokenization on one core, beside a loop over the timesteps and beside the memory bandwidth.

    python -m benchmarks.tokenization

Each task is encoded by Layout.encode, with every field of the TokenSequence, and by a straightforward loop that encodes
one timestep after the other with the same codecs and concatenates the pieces. The memory bandwidth is that of numpy
copying an array larger than any cache, counting bytes read and bytes written. Figures are medians of several rounds.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.record import write_result
from gato_jax.episodes import Continuous, Discrete, Episode, Image, Provenance, TaskSpec
from gato_jax.tokenization import ImageCodec, Layout, Tokenization, TokenSequence, decode
from gato_jax.tokenization.fields import PER_PATCH, PER_TOKEN

ROUNDS = 9
TASKS = {
    "meta_world": (
        TaskSpec(
            suite="benchmark", task="meta_world", observation={"state": Continuous(shape=(39,))},
            action={"action": Continuous(shape=(4,), low=-1.0, high=1.0)},
        ),
        500,
    ),
    "game_64x64": (
        TaskSpec(
            suite="benchmark", task="game_64x64", observation={"image": Image(height=64, width=64)},
            action={"action": Discrete(n=18)},
        ),
        1000,
    ),
    "game_84x84_resized": (
        TaskSpec(
            suite="benchmark", task="game_84x84_resized", observation={"image": Image(height=84, width=84)},
            action={"action": Discrete(n=18)},
        ),
        500,
    ),
}  # fmt: skip


def main():
    """Measure every task and write the results."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # numpy cannot use a second core
    bandwidth = memory_bandwidth()
    print(f"numpy copies at {bandwidth / 1e9:.1f} GB/s")
    tasks = {name: measure(spec, steps, bandwidth) for name, (spec, steps) in TASKS.items()}
    measured = {"cores_used": 1, "rounds": ROUNDS, "memory_bandwidth_bytes_per_second": bandwidth, "tasks": tasks}
    write_result("tokenization", measured, ["numpy", "gato_jax", "sentencepiece"])


def measure(spec: TaskSpec, steps: int, bandwidth: float) -> dict[str, Any]:
    """Return the timesteps, tokens and bytes per second of one task.

    Args:
      spec: the task.
      steps: number of timesteps of the episode that is encoded.
      bandwidth: memory bandwidth in bytes per second.
    """
    layout, episode = Layout(spec, Tokenization()), made_episode(spec, steps)
    tokens = layout.encode(episode)
    moved = size_of(tokens) + sum(v.nbytes for v in (*episode.observation.values(), *episode.action.values()))
    seconds = median_seconds(lambda: layout.encode(episode))
    loop = median_seconds(lambda: encode_in_a_loop(layout, episode))
    back = median_seconds(lambda: decode(layout, tokens))
    result = {
        "steps": steps,
        "tokens": len(tokens),
        "tokens_per_second": len(tokens) / seconds,
        "steps_per_second": steps / seconds,
        "loop_tokens_per_second": len(tokens) / loop,
        "loop_steps_per_second": steps / loop,
        "times_the_loop": loop / seconds,
        "bytes_per_second": moved / seconds,
        "share_of_memory_bandwidth": moved / seconds / bandwidth,
        "decoded_tokens_per_second": len(tokens) / back,
    }
    print(
        f"{spec.task}: {result['tokens_per_second'] / 1e6:.1f}M tokens/s, {result['steps_per_second']:.0f} steps/s"
        f" ({result['times_the_loop']:.0f} times the loop, {result['share_of_memory_bandwidth']:.0%} of memory's), "
        f"decoded at {result['decoded_tokens_per_second'] / 1e6:.1f}M tokens/s"
    )
    return result


def encode_in_a_loop(layout: Layout, episode: Episode) -> dict[str, np.ndarray]:
    """Encode each timestep separately, key by key, and concatenate the pieces at the end."""
    separator, last = layout.tokenization.vocabulary.separator, layout.action_position
    fields: dict[str, list[np.ndarray]] = {"ids": [], "mask": [], "local": [], "range": [], "patches": []}
    for t in range(len(episode)):
        position = 0
        for column in (*layout.observation_columns, None, *layout.action_columns):
            if column is None:
                ids, valid, action = np.array([separator], np.int32), (0, 0), False
            else:
                encoded = column.codec.encode(getattr(episode, column.side)[column.key][t])
                action = column.side == "action"
                if isinstance(column.codec, ImageCodec):
                    fields["patches"].append(encoded)
                    ids, valid = np.zeros(len(encoded), np.int32), (0, 0)
                else:
                    ids, valid = encoded, column.codec.token_range if action else (0, 0)
            fields["ids"].append(ids)
            fields["mask"].append(np.full(len(ids), action))
            fields["local"].append(np.full(len(ids), last) if action else position + np.arange(len(ids)))
            fields["range"].append(np.tile(np.array(valid, np.int32), (len(ids), 1)))
            position += len(ids)
    return {name: np.concatenate(parts) for name, parts in fields.items() if parts}


def made_episode(spec: TaskSpec, steps: int) -> Episode:
    """Build an episode of random values with the shapes and dtypes that a simulator returns, from a fixed seed."""
    rng = np.random.default_rng(0)

    def draw(modality):
        shape = (steps, *modality.shape)
        if isinstance(modality, Image):
            return rng.integers(256, size=shape, dtype=np.uint8)
        if isinstance(modality, Discrete):
            return rng.integers(modality.n, size=shape)
        return rng.uniform(-1, 1, size=shape).astype(np.float32)

    at = np.arange(steps)
    return Episode(
        task=spec.name,
        observation={key: draw(modality) for key, modality in spec.observation.items()},
        action={key: draw(modality) for key, modality in spec.action.items()},
        reward=np.zeros(steps, np.float32), discount=np.ones(steps, np.float32),
        is_first=at == 0, is_last=at == steps - 1, is_terminal=at == steps - 1,
        provenance=Provenance(source="random numbers", licence="none", kind="synthetic"),
    )  # fmt: skip


def memory_bandwidth() -> float:
    """Return the bytes read and written per second while numpy copies 256 MiB."""
    source = np.ones(2**25, np.float64)
    target = np.empty_like(source)
    return 2 * source.nbytes / median_seconds(lambda: np.copyto(target, source))


def size_of(tokens: TokenSequence) -> int:
    """Return the size of all arrays of a sequence in bytes."""
    return sum(getattr(tokens, name).nbytes for name in (*PER_TOKEN, *PER_PATCH))


def median_seconds(call: Callable[[], Any]) -> float:
    """Return the median duration of one call in seconds, over rounds of at least 0.05 seconds."""
    call()
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < 0.05:
        call()
        calls += 1
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(calls):
            call()
        rounds.append((time.perf_counter() - started) / calls)
    return statistics.median(rounds)


if __name__ == "__main__":
    main()
