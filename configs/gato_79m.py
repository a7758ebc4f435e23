"""Gato 79M: 8 blocks of width 768, 78.9M parameters.

What it reproduces: the smallest model of the paper's figure 8 (table 5), pretrained as in appendix D.

Hardware: any; one 16 GiB device holds it whole. Time: see `gato plan`.
Expected score: the paper has no table for this size, only figure 8, and nothing of this size has been trained with this
code. To see the cost of a step before renting hardware:

    gato plan --config=configs/gato_79m.py --topology=v5e:4x4
    gato train --config=configs/gato_79m.py --workdir=runs/gato_79m
"""

from typing import Any

from configs.paper import DATA, pretraining


def get_config(data: str = DATA) -> Any:
    """Return the paper's values, each with its section in configs/paper.py."""
    config = pretraining("79m", data, peak_learning_rate=1e-4)
    return config
