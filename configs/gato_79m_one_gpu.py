"""Gato 79M on one GPU: unrolled layers, no remat, microbatches of 64 rows.

What it reproduces: the steps of configs/gato_79m.py, batch for batch, on one GPU instead of a pod.

Hardware: one GPU of 80 GB. Time: see `gato plan`.
Expected score: as configs/gato_79m.py.

    gato plan --config=configs/gato_79m_one_gpu.py --topology=h100:1
    experiments/launch/one_gpu.sh configs/gato_79m_one_gpu.py runs/gato_79m
"""

from typing import Any

from configs import gato_79m
from configs.paper import DATA, on_one_gpu


def get_config(data: str = DATA) -> Any:
    """Return configs/gato_79m.py with the computation that is fastest on one GPU."""
    config = on_one_gpu(gato_79m.get_config(data), rows=64)
    return config
