"""Gato 1.18B on one GPU: unrolled layers, no remat, microbatches of 16 rows.

What it reproduces: the steps of configs/gato_1_18b.py, batch for batch, on one GPU instead of a pod.

Hardware: one GPU of 80 GB. Time: see `gato plan`.
Expected score: as configs/gato_1_18b.py.

    gato plan --config=configs/gato_1_18b_one_gpu.py --topology=h100:1
    experiments/launch/one_gpu.sh configs/gato_1_18b_one_gpu.py runs/gato_1_18b
"""

from typing import Any

from configs import gato_1_18b
from configs.paper import DATA, on_one_gpu


def get_config(data: str = DATA) -> Any:
    """Return configs/gato_1_18b.py with the computation that is fastest on one GPU."""
    config = on_one_gpu(gato_1_18b.get_config(data), rows=16)
    return config
