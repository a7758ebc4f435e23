"""Gato 364M on one GPU: unrolled layers, no remat, microbatches of 32 rows.

What it reproduces: the steps of configs/gato_364m.py, batch for batch, on one GPU instead of a pod.

Hardware: one GPU of 80 GB. Time: see `gato plan`.
Expected score: as configs/gato_364m.py.

    gato plan --config=configs/gato_364m_one_gpu.py --topology=h100:1
    experiments/launch/one_gpu.sh configs/gato_364m_one_gpu.py runs/gato_364m
"""

from typing import Any

from configs import gato_364m
from configs.paper import DATA, on_one_gpu


def get_config(data: str = DATA) -> Any:
    """Return configs/gato_364m.py with the computation that is fastest on one GPU."""
    config = on_one_gpu(gato_364m.get_config(data), rows=32)
    return config
