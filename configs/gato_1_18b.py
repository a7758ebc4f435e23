"""Gato 1.18B: 24 blocks of width 2048, 1,179.5M parameters.

What it reproduces: the model that the paper calls Gato (table 5), pretrained as in section 2.3 and appendix D.

Hardware: the paper's is a 16x16 slice of TPU v3 (512 devices), about four days for a million steps.
Expected score: the paper's is above half of the expert's on over 450 of 604 tasks, from recordings that were never
released. Nothing of this size has been trained with this code. To see the cost of a step before renting hardware:

    gato plan --config=configs/gato_1_18b.py --topology=v3:16x16
    gato train --config=configs/gato_1_18b.py --workdir=runs/gato_1_18b
"""

from typing import Any

from configs.paper import DATA, pretraining


def get_config(data: str = DATA) -> Any:
    """Return the paper's values, each with its section in configs/paper.py."""
    config = pretraining("1.18b", data, peak_learning_rate=1e-4)
    config.mesh.fsdp = 16  # params and their moments are split over 16 devices
    return config
