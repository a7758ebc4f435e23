"""Loss of 300 steps in bfloat16 and float8, with gradients summed in float32 and in bfloat16, beside float32.

    python -m experiments.gradient_precision --workdir=runs/quickstart --config.batch_size=16

It trains the quickstart's model once for each variant, on the episodes that `make quickstart` has recorded in the
folder, and writes experiments/results/gradient_precision.json and docs/gradient_precision.svg. A variant that the
results already hold is not trained again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import pathlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from experiments.stages import write_json
from gato_jax import training
from gato_jax.model import attention, embedding, layers, resnet
from gato_jax.reports.plots import Series, line_chart, smooth
from gato_jax.runtime.sessions import machine

_CONFIG = config_flags.DEFINE_config_file("config", "configs/quickstart.py", "Config of the quickstart.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/quickstart", "Folder of a quickstart run with its recorded data.")
_STEPS = flags.DEFINE_integer("steps", 300, "Number of steps of each variant.", lower_bound=1)

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results" / "gradient_precision.json"
PICTURE = ROOT / "docs" / "gradient_precision.svg"
REFERENCE = "float32"
# {name: (changes of config.compute, whether sums over positions are in bfloat16)}. The second one differs from the
# first in nothing but the order of sums, and so shows how far rounding alone moves a run.
VARIANTS: dict[str, tuple[dict[str, Any], bool]] = {
    REFERENCE: ({}, False),
    "float32, smaller chunks": ({"loss_chunk": 64}, False),
    "bfloat16, summed in float32": ({"dtype": "bfloat16"}, False),
    "bfloat16, summed in bfloat16": ({"dtype": "bfloat16"}, True),
    "bfloat16, blocks' products in float8": ({"dtype": "bfloat16", "float8": True}, False),
}
_COLOURS = ("#1b1b1b", "#8c8c8c", "#1f77b4", "#d62728", "#2ca02c")
_STYLE = (
    "text{font:12px sans-serif;fill:#444}.grid{stroke:#e4e4e4}.axis{stroke:#888}path{fill:none;stroke:var(--c)}"
    ".raw{opacity:.18}.curve{stroke-width:1.6;vector-effect:non-scaling-stroke}svg{overflow:visible}"
)


def main(_: list[str]):
    """Train the variants that are missing, write the losses after each, and draw the picture."""
    held = json.loads(RESULTS.read_text())["variants"] if RESULTS.exists() else {}
    config = training.TrainConfig.from_mapping(_CONFIG.value, pathlib.Path(_WORKDIR.value))
    config = dataclasses.replace(config, log_every=1)
    for name, (changes, narrow) in VARIANTS.items():
        if len(held.get(name, {}).get("loss", ())) < _STEPS.value:
            with sums_in_bfloat16() if narrow else contextlib.nullcontext():
                held[name] = losses(config, changes, _STEPS.value)
            write_json(RESULTS, describe(held))
    PICTURE.write_text(draw({name: np.array(held[name]["loss"]) for name in VARIANTS}))
    print(f"results in {RESULTS}, picture in {PICTURE}")


def losses(config: training.TrainConfig, changes: Mapping[str, Any], steps: int) -> dict[str, list[float]]:
    """Train from scratch, with changes of config.compute, and return the loss and the gradient norm of each step."""
    config = dataclasses.replace(config, compute=dataclasses.replace(config.compute, **changes))
    with tempfile.TemporaryDirectory() as folder:
        workdir = pathlib.Path(folder)
        result = training.train(config, training.open_run_mixture(config, workdir), workdir, stop_after=steps)
        if result["interrupted"]:
            sys.exit(f"ended by {result['interrupted']} before step {steps}; the variant is trained anew the next time")
        lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().strip().split("\n")]
    jax.clear_caches()
    return {key: [float(f"{line[key]:.6g}") for line in lines] for key in ("loss", "gradient_norm")}


@contextlib.contextmanager
def sums_in_bfloat16() -> Iterator[None]:
    """Let look-ups, biases and weights have the gradients that bfloat16 params have, summed in bfloat16."""

    def look_up(table, index):
        return table[...].astype(jnp.bfloat16)[index].astype(jnp.float32)

    def add_bias(x, bias):
        return x + bias.astype(x.dtype).reshape((1,) * (x.ndim - bias.ndim) + bias.shape)

    def project(axes, x, weight):
        return jnp.einsum(axes, x, weight.astype(x.dtype))

    blockwise = importlib.import_module("gato_jax.model.kernels.blockwise")  # the package has a function of this name
    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch.object(embedding, "_look_up", look_up))
        for module in (attention, blockwise, embedding, layers, resnet):
            for function in (add_bias, project):
                if hasattr(module, function.__name__):
                    patches.enter_context(mock.patch.object(module, function.__name__, function))
        yield


def describe(variants: dict[str, dict[str, list[float]]]) -> dict:
    """Return the results with means of losses, of their distances from float32's, the machine and the versions."""
    variants = {name: variants[name] for name in VARIANTS if name in variants}
    loss = {name: np.array(variant["loss"]) for name, variant in variants.items()}
    last = {name: round(float(values[-50:].mean()), 4) for name, values in loss.items()}
    distance = {name: round(float(abs(values - loss[REFERENCE]).mean()), 4) for name, values in loss.items()}
    return {
        "command": f"python -m experiments.gradient_precision {' '.join(sys.argv[1:])}".strip(),
        "machine": machine(),
        "versions": {"python": sys.version.split()[0], "jax": jax.__version__},
        "mean_of_the_last_50_losses": last,
        "mean_distance_of_losses_from_float32": distance,
        "variants": variants,
    }


def draw(curves: dict[str, np.ndarray]) -> str:
    """Return an SVG of the loss of each variant, and below it of its distance from that of float32."""
    steps = np.arange(1, len(curves[REFERENCE]) + 1)
    above = [Series(name=name, x=steps, y=loss, index=n) for n, (name, loss) in enumerate(curves.items())]
    distance = {name: smooth(loss) - smooth(curves[REFERENCE]) for name, loss in curves.items()}
    below = [Series(name=name, x=steps, y=d, index=n, noisy=False) for n, (name, d) in enumerate(distance.items())]
    colours = "".join(f"--s{n}:{colour};" for n, colour in enumerate(_COLOURS))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 520" style="{colours}">',
        f'<style>{_STYLE}</style><rect width="800" height="520" fill="white"/>',
    ]
    for top, height, series, title in ((40, 240, above, "loss, nats"), (360, 110, below, "less that of float32")):
        parts.append(f'<text x="60" y="{top - 12}">{title}</text><svg x="60" y="{top}" width="700" height="{height}">')
        parts.append(f"{line_chart(series, label=title, height=height)}</svg>")
    for n, name in enumerate(curves):
        parts.append(f'<text x="540" y="{70 + 20 * n}" style="fill:{_COLOURS[n]}">{name}</text>')
    return "".join(parts) + '<text x="760" y="510" text-anchor="end">step</text></svg>\n'


if __name__ == "__main__":
    app.run(main)
