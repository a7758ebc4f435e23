"""Gato 1.18B with rotary positions: for fused attention kernels and a sliding KV cache; 1,078.8M parameters.

What it reproduces: nothing of the paper, whose sizes imply relative attention. It is configs/gato_1_18b.py with the
attention that has fused kernels on GPUs and TPUs. Set compute.attention to `splash` on a TPU, to `cudnn` on a GPU.

Hardware: as configs/gato_1_18b.py.
Expected score: not known; an ablation.

    gato plan --config=configs/gato_1_18b_rope.py --topology=v5p:4x4x4
    gato train --config=configs/gato_1_18b_rope.py --workdir=runs/gato_1_18b_rope
"""

from typing import Any

from configs.paper import DATA, pretraining


def get_config(data: str = DATA) -> Any:
    """Return the paper's values, each with its section in configs/paper.py, except for attention."""
    config = pretraining("1.18b", data, peak_learning_rate=1e-4)
    config.model.position = "rope"
    config.compute.attention = "splash"
    config.mesh.fsdp = 16
    return config
