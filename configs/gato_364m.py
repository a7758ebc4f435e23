"""Gato 364M: 12 blocks of width 1536, 365.4M parameters.

What it reproduces: the middle model of the paper's figure 8 (table 5), pretrained as in appendix D.

Hardware: devices of 16 GiB hold it whole. Time: see `gato plan`.
Expected score: the paper has no table for this size, only figure 8, and nothing of this size has been trained with this
code. To see the cost of a step before renting hardware:

    gato plan --config=configs/gato_364m.py --topology=v5e:8x8
    gato train --config=configs/gato_364m.py --workdir=runs/gato_364m
"""

from typing import Any

from configs.paper import DATA, pretraining


def get_config(data: str = DATA) -> Any:
    """Return the paper's values, each with its section in configs/paper.py."""
    config = pretraining("364m", data, peak_learning_rate=2e-4)  # table 6: twice that of the other sizes
    return config
