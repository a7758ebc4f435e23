"""Benchmark of PyTorch's training step for a transformer of the same shape, the peer of our training step.

The script imports torch and transformers and nothing of this project, so it runs in an environment of its own.
Compiling on a CPU needs g++:

    python3 -m venv torch_venv && torch_venv/bin/pip install torch transformers
    torch_venv/bin/python benchmarks/torch_train_step.py --position rope --batch 2

`rope` is Llama with a gated feed-forward layer of half of `hidden`. It has the shape of our rope variant, except that
it normalises by RMS and has no biases. `absolute` is GPT-2. Neither uses dropout. The rows are random and fixed, and
every position is a target. The fastest options of PyTorch are used: fused attention, fused AdamW, and torch.compile of
model and loss unless --no-compile is given. The result is one line of JSON on stdout. With --wait, the script prints a
line when it is compiled and measures again for each line on stdin, as benchmarks/measuring_process.py expects.
"""

# pyright: reportMissingImports=false
# The environment in which the linters run has no PyTorch.

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable

import torch
import transformers
from transformers.integrations.sdpa_attention import sdpa_attention_forward

# This registers the "sdpa" attention of transformers under a name for which no mask is built. Under its own name a
# compiled model always builds one, and PyTorch's causal kernel, which skips half of the scores, would not run.
ATTENTION = "sdpa_causal"
transformers.AttentionInterface.register(ATTENTION, sdpa_attention_forward)


def main():
    """Measure one setting and print the result."""
    config = arguments()
    torch.manual_seed(0)
    torch.set_num_threads(config.threads)
    if config.isa == "AVX2":
        torch._inductor.config.cpp.simdlen = 256
    if config.device == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cuda.enable_math_sdp(False)  # an unfused attention is an error, not a slow run
    model = build(config).to(config.device).train()
    rows = torch.randint(config.vocabulary, (config.batch, config.context + 1)).to(config.device)
    step, batch = make_step(model, config), (rows[:, :-1].contiguous(), rows[:, 1:].contiguous())
    losses = warm_up(step, *batch, config)
    if config.wait:
        print(json.dumps({"ready": True, **facts(model, config)}), flush=True)
    for _ in sys.stdin if config.wait else [None]:
        result = measure(step, *batch, config)
        losses += result.pop("losses")
        if not losses[-1] < losses[0]:
            raise RuntimeError(f"the loss went from {losses[0]} to {losses[-1]}, expected it to fall: no training")
        result |= {"loss_first": losses[0], "loss_last": losses[-1], **device_facts(config.device)}
        print(json.dumps(result if config.wait else {**facts(model, config), **result}), flush=True)


def facts(model: torch.nn.Module, config: argparse.Namespace) -> dict:
    """Return the settings, the number of parameters, FLOPs per token by 6 N + 12 L D T, and the versions."""
    parameters = sum(p.numel() for p in model.parameters())
    attention = 12 * config.layers * config.heads * config.head_size * config.context
    return {
        **vars(config),
        "parameters": parameters,
        "flops_per_token": 6 * parameters + attention,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "device": torch.cuda.get_device_name() if config.device == "cuda" else "cpu",
    }


def arguments() -> argparse.Namespace:
    """Parse the command line. The defaults are the shape of the model with 79M parameters."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = {
        "layers": 8, "width": 768, "heads": 24, "head_size": 32, "hidden": 3072, "vocabulary": 33152,
        "context": 1024, "batch": 2, "steps": 10, "warmup": 3, "threads": len(os.sched_getaffinity(0)),
    }  # fmt: skip
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="Device to measure on.")
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="Dtype of the computation; parameters are float32.",
    )
    parser.add_argument("--position", choices=("rope", "absolute"), default="rope", help="Llama or GPT-2.")
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=True, dest="compiled", help="Use torch.compile."
    )
    parser.add_argument("--isa", choices=("AVX2",), help="Instructions of compiled loops. Default: all of the CPU.")
    parser.add_argument("--wait", action="store_true", help="Measure for each line on stdin instead of once.")
    config = parser.parse_args()
    for name in numbers:
        if getattr(config, name) < 1:
            parser.error(f"--{name} is {getattr(config, name)}, expected a positive number")
    if config.position == "rope" and config.hidden % 2:
        parser.error(f"--hidden is {config.hidden}, expected an even number, because the gate takes half of it")
    if config.position == "absolute" and config.width != config.heads * config.head_size:
        parser.error(
            f"--width is {config.width}, expected --heads x --head_size for GPT-2. Change it, or pass --position rope."
        )
    if config.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device is cuda, but PyTorch finds no GPU. Pass --device cpu.")
    return config


def build(config: argparse.Namespace) -> torch.nn.Module:
    """Build the model with random float32 parameters; its head shares the token embedding table."""
    shared = dict(
        vocab_size=config.vocabulary, tie_word_embeddings=True, use_cache=False, attn_implementation=ATTENTION
    )
    if config.position == "absolute":
        shape = transformers.GPT2Config(
            n_layer=config.layers, n_embd=config.width, n_head=config.heads, n_inner=config.hidden,
            n_positions=config.context, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
            bos_token_id=None, eos_token_id=None, **shared,
        )  # fmt: skip
        return transformers.GPT2LMHeadModel(shape)
    shape = transformers.LlamaConfig(
        num_hidden_layers=config.layers, hidden_size=config.width, num_attention_heads=config.heads,
        head_dim=config.head_size, intermediate_size=config.hidden // 2, hidden_act="gelu_pytorch_tanh",
        max_position_embeddings=config.context, **shared,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(shape)


def make_step(model: torch.nn.Module, config: argparse.Namespace) -> Callable:
    """Return `step(inputs, targets) -> loss`, which does forward and backward pass and AdamW with the paper's settings.

    `inputs` and `targets` are token ids of shape (batch, context).
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def loss_of(inputs, targets):
        with torch.autocast(config.device, torch.bfloat16, enabled=config.dtype == "bfloat16"):
            logits = model(input_ids=inputs).logits
        return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())

    if config.compiled:
        # fullgraph raises on code that cannot be compiled, which would run slowly otherwise.
        loss_of = torch.compile(loss_of, fullgraph=True, dynamic=False)

    def step(inputs, targets):
        loss = loss_of(inputs, targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def warm_up(step: Callable, inputs, targets, config: argparse.Namespace) -> list[float]:
    """Do the steps that are not counted, in the first of which the model is compiled, and return their losses."""
    losses = [step(inputs, targets).item() for _ in range(config.warmup)]
    if config.compiled and not torch._dynamo.utils.counters["stats"]["unique_graphs"]:
        raise RuntimeError("torch.compile compiled nothing. Unset TORCHDYNAMO_DISABLE, or pass --no-compile.")
    return losses


def measure(step: Callable, inputs, targets, config: argparse.Namespace) -> dict:
    """Return the speed over `config.steps` steps, after one that is not counted, and their losses."""
    wait = torch.cuda.synchronize if config.device == "cuda" else lambda: None
    losses = [step(inputs, targets)]
    wait()
    seconds, cpu_seconds = [], []
    for _ in range(config.steps):
        started, cpu_started = time.perf_counter(), time.process_time()
        losses.append(step(inputs, targets))
        wait()
        seconds.append(time.perf_counter() - started)
        cpu_seconds.append(time.process_time() - cpu_started)
    median = statistics.median(seconds)
    return {
        "tokens_per_second": config.batch * config.context / median,
        "seconds_per_step": median,
        "seconds_min": min(seconds),
        "cpu_seconds_per_step": statistics.median(cpu_seconds),
        "losses": [loss.item() for loss in losses],
    }


def device_facts(device: str) -> dict[str, str | int]:
    """Return the device's name and the peak memory in bytes: allocated by PyTorch on a GPU, resident on a CPU."""
    if device == "cuda":
        return {"device_name": torch.cuda.get_device_name(), "peak_memory_bytes": torch.cuda.max_memory_allocated()}
    with open("/proc/cpuinfo") as lines:
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return {"device_name": name, "peak_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


if __name__ == "__main__":
    main()
