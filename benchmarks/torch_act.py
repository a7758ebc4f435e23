"""Process that decodes action tokens with PyTorch and a static cache, the peer of our `act`; benchmarks.act starts it.

The script imports torch and transformers and nothing of this project, so it runs in an environment of its own, as
benchmarks/torch_train_step.py does, whose model it builds. It speaks the protocol of benchmarks.measuring_process.

A step is what a policy needs for one action: the last action token of the step before is read with the observation,
then each action token but the last. The cache is nearly full and written in place. The head is applied to the ids of
the actions alone. All of this is for the fastest PyTorch; transformers' own `generate` does more.
"""

# pyright: reportMissingImports=false
# The environment in which the linters run has no PyTorch.

import argparse
import inspect
import json
import sys
import time

import torch
import transformers
from torch_train_step import build


def main():
    """Prepare the model and answer each line of stdin with a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = "layers width heads head_size hidden vocabulary context batch observed actions threads steps"
    for name in names.split():
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--position", choices=("rope", "absolute"), default="rope")
    parser.add_argument("--compile", action="store_true", dest="compiled", help="Use torch.compile.")
    config = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(config.threads)
    with torch.inference_mode():
        step = make_step(config)
        started = time.perf_counter()
        for _ in range(3):
            step()
        versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        ready = {"ready": True, "compile_seconds": round(time.perf_counter() - started, 2), "versions": versions}
        print(json.dumps(ready), flush=True)
        for _ in sys.stdin:
            print(json.dumps({"seconds": [timed(step) for _ in range(config.steps)]}), flush=True)


def timed(step) -> float:
    """Return the seconds of one step; the chosen ids are on the host at its end."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def make_step(config: argparse.Namespace):
    """Return the function that decodes one step from the same nearly full cache."""
    model = build(config).to(config.device, getattr(torch, config.dtype)).eval()
    model.set_attn_implementation("sdpa")  # with a mask, as the cache is longer than what is in it
    embedding, body = model.get_input_embeddings(), model.base_model
    head = embedding.weight[: min(2048, config.vocabulary)].clone()
    first = config.context - config.observed - config.actions
    cache = transformers.StaticCache(config=model.config, max_cache_len=config.context)
    name = "cache" if "cache" in inspect.signature(body.forward).parameters else "past_key_values"
    ids = torch.randint(config.vocabulary, (config.batch, config.context), device=config.device)

    def forward(tokens, positions):
        hidden = body(
            inputs_embeds=embedding(tokens), position_ids=positions, use_cache=True, **{name: cache}
        ).last_hidden_state
        return (hidden[:, -1] @ head.T).argmax(-1)[:, None]

    positions = torch.arange(config.context, device=config.device)[None].expand(config.batch, -1)
    forward(ids[:, :first], positions[:, :first])  # fills the cache
    if config.compiled:
        # fullgraph raises on code that cannot be compiled, which would run slowly otherwise.
        forward = torch.compile(forward, fullgraph=True, mode="max-autotune" if config.device == "cuda" else "default")
    last = first + 1 + config.observed
    observation, observed = ids[:, first:last].contiguous(), positions[:, first:last].contiguous()
    following = [positions[:, at : at + 1].contiguous() for at in range(last, config.context)]

    def step():
        for layer in cache.layers:
            layer.cumulative_length.fill_(first)
        chosen = [forward(observation, observed)]
        for position in following:
            chosen.append(forward(chosen[-1], position))
        return torch.cat(chosen, 1).cpu()

    return step


if __name__ == "__main__":
    main()
