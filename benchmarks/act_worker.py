"""Process that compiles the step of one case of `act` and measures it when it is told; benchmarks.act starts it.

    python -m benchmarks.act_worker --case=JSON --steps=200

It speaks the protocol of benchmarks.measuring_process. Params are random, and the cache is nearly full with zeros, as
speed does not depend on their values.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.act_cases import STEPS, Case, Step
from benchmarks.train_step_cases import SMALL
from gato_jax.episodes import Continuous, Image, TaskSpec
from gato_jax.model import ModelConfig, graphdef, initialise, published_config
from gato_jax.policy import Agent, Decoding, MixedPolicy
from gato_jax.tokenization import Contract, Tokenization

WARM_UP = 2  # steps of each measurement that are not counted


def main():
    """Prepare the case and answer each line of stdin with a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", required=True, help="JSON of a Case.")
    parser.add_argument("--steps", type=int, default=200, help="Number of steps to measure.")
    given = parser.parse_args()
    measure, facts = prepare(Case(**json.loads(given.case)), given.steps)
    print(json.dumps({"ready": True, **facts}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(measure()), flush=True)


def prepare(case: Case, steps: int) -> tuple[Callable[[], dict[str, Any]], dict[str, Any]]:
    """Compile the step of a case.

    Args:
      case: the case.
      steps: number of steps to measure.

    Returns:
      The function that measures the seconds of each step, from the tokens of the observation to action ids on the host,
      and the bandwidth of reading the weights; and the facts of the program.
    """
    step = STEPS[case.step]
    spec, observation = made_task(step)
    agent = made_agent(case, spec)
    policy = MixedPolicy(agent, case.batch)
    for row in range(case.batch):
        policy.reset(row, spec.name, row)
    tokens = dict.fromkeys(range(case.batch), agent.layout(spec.name).encode_observation(observation))
    started = time.perf_counter()
    policy.decode(tokens)
    first_call = time.perf_counter() - started
    fill(policy, case.context - step.observed - step.actions)
    read = stream(policy)
    runs = 1 if case.method == "one_pass" else step.actions
    arrays = {"weight_bytes": weights(policy), "cache_bytes": jax.tree.leaves(policy.state.layers)}
    sizes = {name: sum(array.nbytes for array in each) for name, each in arrays.items()}

    def measure() -> dict[str, Any]:
        seconds = []
        for _ in range(WARM_UP + steps):
            started = time.perf_counter()
            policy.decode(tokens)
            seconds.append(time.perf_counter() - started)
        bandwidth = read()
        limit = runs * sum(sizes.values()) / bandwidth
        return {"seconds": seconds[WARM_UP:], "bytes_per_second": bandwidth, "bandwidth_limit_seconds": limit}

    facts = {**dataclasses.asdict(case), "runs": runs, **sizes, "first_call_seconds": round(first_call, 2)}
    return measure, {**facts, "device": jax.devices()[0].device_kind}


def made_task(step: Step) -> tuple[TaskSpec, dict[str, np.ndarray]]:
    """Return a task whose timesteps have these sizes, and one of its observations."""
    modalities: dict[str, Any] = {}
    observation: dict[str, np.ndarray] = {}
    if step.values:
        modalities["state"] = Continuous(shape=(step.values,))
        observation["state"] = np.linspace(-1, 1, step.values, dtype=np.float32)
    if step.patches:
        modalities["image"] = Image(height=64, width=16 * step.patches // 4)
        observation["image"] = np.zeros(modalities["image"].shape, np.uint8)
    action = {"action": Continuous(shape=(step.actions,), low=-1.0, high=1.0)}
    return TaskSpec(suite="made", task="step", observation=modalities, action=action), observation


def made_agent(case: Case, spec: TaskSpec) -> Agent:
    """Return an agent of the case's size with random params."""
    shape = ModelConfig(**SMALL[case.model]) if case.model in SMALL else published_config(case.model)
    config = dataclasses.replace(shape, position=case.position, stochastic_depth=0.0)
    params = jax.jit(lambda key: jax.tree.map(lambda leaf: leaf.astype(case.dtype), initialise(config, key)))(
        jax.random.key(0)
    )
    contract = Contract.of(Tokenization(), [spec])
    return Agent(
        config, graphdef(config), params, contract, case.context, {spec.name: None}, 0, decoding=decoding(case)
    )


def decoding(case: Case) -> Decoding:
    """Return the settings of the case's policy."""
    loop = "unrolled" if case.method == "unrolled" else "while"
    return Decoding(dtype=case.dtype, one_pass=case.method == "one_pass", loop=loop)


def fill(policy: MixedPolicy, tokens: int):
    """Mark the first slots of each ring as full, as after `tokens` tokens of one timestep."""
    table = np.array(policy.state.position)
    table[:, :tokens] = np.arange(tokens)
    rows = np.full(len(table), tokens, np.int32)
    policy.state = policy.state._replace(
        position=jnp.asarray(table), step_start=jnp.zeros_like(table), timestep=jnp.zeros_like(table),
        next_position=jnp.asarray(rows), next_timestep=jnp.ones_like(rows),
        last_id=jnp.full_like(rows, policy.network.head_ids[-1]), last_start=jnp.zeros_like(rows),
    )  # fmt: skip


def weights(policy: MixedPolicy) -> list[jax.Array]:
    """Return the arrays that each run of the network reads: those of the blocks, position keys and the head."""
    network = policy.network
    return jax.tree.leaves((network.params["blocks"], network.relative_keys, network.head))


def stream(policy: MixedPolicy) -> Callable[[], float]:
    """Return a function that measures the bytes per second of reading the weights once; the best of five is counted."""
    arrays = weights(policy)
    total = jax.jit(lambda arrays: [array.astype(jnp.float32).sum() for array in arrays]).lower(arrays).compile()

    def read() -> float:
        best = float("inf")
        for _ in range(5):
            started = time.perf_counter()
            jax.block_until_ready(total(arrays))
            best = min(best, time.perf_counter() - started)
        return sum(array.nbytes for array in arrays) / best

    return read


if __name__ == "__main__":
    main()
