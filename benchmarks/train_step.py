"""Benchmark of the whole training step in tokens per second, beside PyTorch with the same shape in the same run.

    python -m benchmarks.train_step --torch_python=VENV/bin/python              # on this machine's CPU
    python -m benchmarks.train_step --torch_python=VENV/bin/python --device=gpu  # on one GPU

The step is the one that `gato train` runs (forward pass, backward pass, AdamW), on random tokens. Each measurement runs
in a process of its own, and ours alternate with PyTorch's. FLOPs are counted by PaLM's convention, 6 N + 12 L D T per
token (arXiv 2204.02311), with all parameters counted once. They are compared with the peak of the chip, or on a CPU
with a large matrix product of NumPy.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from typing import Any

import numpy as np

from benchmarks.record import write_result

PEAK = {"NVIDIA H100": 989e12, "NVIDIA H200": 989e12, "NVIDIA A100": 312e12}  # dense bfloat16, from the data sheets
QUICKSTART: dict[str, Any] = {"layers": 3, "width": 128, "heads": 4, "head_size": 32, "hidden": 512}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """Settings of one measurement of our training step.

    `rows` is "text" for text alone, or "gato" for images in half of the rows and 30% of all tokens as targets.
    """

    model: str
    position: Any
    rows: str
    context: int
    batch: int
    dtype: Any = "float32"
    attention: Any = "blockwise"
    remat: Any = "none"

    @property
    def name(self) -> str:
        return f"{self.model} {self.position}, {self.rows}, {self.batch} x {self.context}"


CPU = [
    Case(model="79m", position="rope", rows="text", context=1024, batch=2),
    Case(model="79m", position="relative_xl", rows="text", context=1024, batch=2),
    Case(model="79m", position="relative_xl", rows="gato", context=1024, batch=2),
    Case(model="quickstart", position="rope", rows="text", context=176, batch=32),
    Case(model="quickstart", position="relative_xl", rows="text", context=176, batch=32),
    Case(model="quickstart", position="relative_xl", rows="gato", context=176, batch=32),
]
_FUSED: dict[str, Any] = {"dtype": "bfloat16", "attention": "cudnn", "position": "rope", "context": 1024}
_BLOCKS: dict[str, Any] = {"dtype": "bfloat16", "position": "relative_xl", "context": 1024}
GPU = [
    *(Case(model="1.18b", rows=rows, batch=16, **_FUSED) for rows in ("text", "gato")),
    *(Case(model="1.18b", rows=rows, batch=16, remat="dots", **_BLOCKS) for rows in ("text", "gato")),
    *(Case(model=size, rows="text", batch=batch, **_FUSED) for size, batch in (("364m", 32), ("79m", 64))),
]
# (batch size, compiled) of the PyTorch measurements of each model; the fastest one is reported.
TORCH = {
    "cpu": {"79m": [(2, True), (2, False)], "quickstart": [(32, True), (32, False)]},
    "gpu": {"1.18b": [(8, True), (16, True)], "364m": [(32, True)], "79m": [(64, True)]},
}


def main():
    """Measure every case on one device, PyTorch beside it, and write the results."""
    parser = argparse.ArgumentParser(description="Benchmark of the training step.")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="Device to measure on.")
    parser.add_argument("--torch_python", help="Python interpreter of an environment with torch and transformers.")
    parser.add_argument("--steps", type=int, default=5, help="Number of steps to measure.")
    parser.add_argument(
        "--rounds", type=int, default=2, help="Number of times to measure everything; the best is reported."
    )
    parser.add_argument("--case", help="JSON of one case to measure in this process; used by the script itself.")
    given = parser.parse_args()
    if given.case:
        print(json.dumps(measure(Case(**json.loads(given.case)), given.steps)))
        return
    peak = _matrix_product() if given.device == "cpu" else None
    ours: dict[str, dict] = {}
    torch: dict[str, dict] = {}
    for _ in range(given.rounds):
        for case in CPU if given.device == "cpu" else GPU:
            _keep_best(ours, case.name, _ours(case, given))
            if given.torch_python and case.rows == "text" and case.position == "rope":
                for batch, compiled in TORCH[given.device][case.model]:
                    _keep_best(torch, f"{case.model}, {batch} x {case.context}", _torch(case, batch, compiled, given))
    peak = peak or PEAK[next(iter(ours.values()))["device"][:11]]
    for side, results in (("ours", ours), ("PyTorch", torch)):
        for name, result in results.items():
            result["share_of_peak"] = round(result["tokens_per_second"] * result["flops_per_token"] / peak, 3)
            rate, share = result["tokens_per_second"], result["share_of_peak"]
            print(f"{side:8} {name:42} {rate:>10,.0f} tokens/s {share:7.1%}")
    measured = {"convention": "6 N + 12 L D T", "peak_flops_per_second": peak, "ours": ours, "pytorch": torch}
    write_result(f"train_step_{given.device}", measured, ["jax", "jaxlib", "flax", "optax"])


def measure(case: Case, steps: int) -> dict[str, Any]:
    """Measure one case in this process and return its speed, shape, losses and memory."""
    import jax

    from gato_jax.batching import Budgets
    from gato_jax.model import ComputeConfig, ModelConfig, count_parameters, published_config
    from gato_jax.training import MeshConfig, OptimizerConfig, TrainConfig
    from gato_jax.training.program import make_program
    from gato_jax.training.sharding import make_mesh, place_batch

    shape = ModelConfig(**QUICKSTART, patch_channels=32) if case.model == "quickstart" else published_config(case.model)
    compute = ComputeConfig(dtype=case.dtype, attention=case.attention, remat=case.remat)
    config = TrainConfig(
        seed=0, batch_size=case.batch, context=case.context, steps=1000, datasets={}, compute=compute,
        model=dataclasses.replace(shape, position=case.position, stochastic_depth=0.0),
        optimizer=OptimizerConfig(warmup_steps=10), mesh=MeshConfig(),
    )  # fmt: skip
    batch = made_batch(config, case.rows)
    mesh = make_mesh(config.mesh)
    targets = int(batch.loss_mask.sum())
    program = make_program(config, mesh, Budgets(batch.patches.shape[1], targets), [1.0])
    with jax.set_mesh(mesh):
        key = jax.random.key(0)
        state = program.init(key)
        placed = place_batch(mesh, batch)
        step = program.step.lower(program.state, program.batch, program.key).compile()
        seconds, losses = [], []
        for _ in range(2 + steps):
            started = time.perf_counter()
            state, metrics = step(state, placed, key)
            losses.append(float(metrics["loss"]))
            seconds.append(time.perf_counter() - started)
    tokens = case.batch * case.context
    parameters = count_parameters(program.state.params)
    rate = tokens / float(np.median(seconds[2:]))
    return {
        **dataclasses.asdict(case),
        "tokens_per_second": rate,
        "seconds_per_step": float(np.median(seconds[2:])),
        "flops_per_token": flops_per_token(parameters, shape.layers, shape.heads * shape.head_size, case.context),
        "parameters": parameters,
        "targets": targets,
        "patches": int((batch.patch_slots < tokens).sum()),
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "bytes": step.memory_analysis().temp_size_in_bytes,
        "device": jax.devices()[0].device_kind,
    }


def flops_per_token(parameters: int, layers: int, width: int, context: int) -> int:
    """Return the FLOPs of a training step per token by PaLM's convention, 6 N + 12 L D T."""
    return 6 * parameters + 12 * layers * width * context


def made_batch(config, rows: str):
    """Build a batch of random tokens.

    Args:
      config: the TrainConfig, for the shape of the batch.
      rows: "text" for text alone, with every token a target; "gato" for half of the rows with frames of 20 patches and
        one action each, and 30% of all tokens as targets.
    """
    from gato_jax.batching import Batch
    from gato_jax.batching.batch import HOST_ONLY

    rng = np.random.default_rng(0)
    shape = (config.batch_size, config.context)
    positions, row = np.arange(config.context), np.arange(config.batch_size)[:, None]
    frame = positions % 22  # 20 patches, a separator, an action
    with_images = (row % 2 == 0) if rows == "gato" else np.zeros_like(row, bool)
    is_patch = with_images & (frame < 20)[None]
    targets = np.ones(shape, bool)
    if rows == "gato":
        elsewhere = 0.6 - (frame == 21).mean()  # 30% of the tokens of all rows together are targets
        targets = np.where(with_images, frame == 21, rng.random(shape) < elsewhere)
    slots = np.flatnonzero(is_patch).astype(np.int32)
    ids = rng.integers(32_000, size=shape, dtype=np.int32)
    intervals = np.tile(np.array([0, 25, 0, 32], np.int32), (len(slots), 1))
    patches = rng.integers(256, size=(len(slots), 16, 16, 3), dtype=np.uint8)
    return Batch(
        token_ids=ids,
        target_ids=ids,
        loss_mask=targets & (positions > 0),
        local_position=np.broadcast_to(np.where(with_images, frame, 0), shape).astype(np.int32),
        segment_ids=np.ones(shape, np.int32),
        patches=patches[None],
        patch_slots=slots[None],
        patch_intervals=intervals[None],
        row_ids=np.arange(config.batch_size, dtype=np.int32),
        dataset_ids=np.zeros(config.batch_size, np.int32),
        **HOST_ONLY,
    )


def _ours(case: Case, given) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.train_step", f"--steps={given.steps}"]
    return _run([*command, f"--case={json.dumps(dataclasses.asdict(case))}"])


def _torch(case: Case, batch: int, compiled: bool, given) -> dict[str, Any]:
    from gato_jax.model.sizes import SIZES

    shape = {**QUICKSTART, "vocabulary": 33_152} if case.model == "quickstart" else SIZES[case.model]
    settings = {
        "vocabulary": 33_152, **shape, "context": case.context, "batch": batch, "steps": given.steps, "warmup": 2,
        "position": "rope", "dtype": case.dtype, "device": "cuda" if given.device == "gpu" else "cpu",
    }  # fmt: skip
    flags = [f"--{name}={value}" for name, value in settings.items()]
    flags.append("--compile" if compiled else "--no-compile")
    result = _run([given.torch_python, "benchmarks/torch_train_step.py", *flags])
    width = shape["heads"] * shape["head_size"]
    return {**result, "flops_per_token": flops_per_token(result["parameters"], shape["layers"], width, case.context)}


def _run(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    result = json.loads(done.stdout.strip().split("\n")[-1])
    print(" ".join(command[1:4])[:90], f"{result['tokens_per_second']:,.0f} tokens/s", flush=True)
    return result


def _keep_best(results: dict[str, dict], name: str, result: dict[str, Any]):
    if name not in results or result["tokens_per_second"] > results[name]["tokens_per_second"]:
        results[name] = result


def _matrix_product(side: int = 3000) -> float:
    """Return the FLOPs per second of NumPy's product of two large float32 matrices, the best of five."""
    a = np.random.default_rng(0).random((side, side), np.float32)
    product = np.empty_like(a)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        np.matmul(a, a, out=product)
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds)


if __name__ == "__main__":
    main()
