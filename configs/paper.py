"""The paper's pretraining at any size (arXiv 2205.06175, sections 2, 3 and appendices C, D), which other configs use.

The mixture is that of Table 1 (configs/data/table_1.py), of which a run takes what is in data/. Another folder is named
after the file: --config=configs/gato_79m.py:runs/quickstart/data takes what `make quickstart` records.
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from configs.data import table_1
from gato_jax.model.sizes import SIZES

DATA = table_1.DATA


def pretraining(size: str, data: str, *, peak_learning_rate: float) -> Any:
    """Return the config of a published size (gato_jax.model.sizes). Values that are not the paper's say why."""
    config: Any = ConfigDict()
    config.seed = 0  # not stated
    config.steps = 1_000_000  # section 2.3
    config.batch_size = 512  # section 2.3
    config.context = 1024  # section 2.3
    config.log_every = 100
    config.checkpoints = ConfigDict({"every": 1000, "keep": 2, "keep_every": None})
    config.distributed = False  # --config.distributed=True on several hosts
    config.loader_threads = 8

    config.tokenization = ConfigDict()  # the defaults are the paper's: mu 100, M 256, 1024 bins, patches of 16
    config.tokenization.mu = 100.0  # appendix B
    config.tokenization.m = 256.0  # appendix B

    config.model = ConfigDict(SIZES[size])  # table 5
    config.model.position = "relative_xl"  # not stated; what the published sizes imply (docs/decisions.md)
    config.model.patch_channels = 64  # not stated; what the published sizes leave room for
    config.model.patch_stride = 4  # not stated, for the same reason
    config.model.stochastic_depth = 0.1  # appendix D

    config.optimizer = ConfigDict()
    config.optimizer.peak_learning_rate = peak_learning_rate  # table 6
    config.optimizer.initial_learning_rate = 1e-7  # appendix D
    config.optimizer.final_fraction = 0.1  # appendix D
    config.optimizer.warmup_steps = 15_000  # appendix D
    config.optimizer.beta_1 = 0.9  # appendix D
    config.optimizer.beta_2 = 0.95  # appendix D
    config.optimizer.epsilon = 1e-8  # appendix D
    config.optimizer.weight_decay = 0.1  # appendix D
    config.optimizer.clip_norm = None  # none stated; 1.0 is what others take
    config.optimizer.ema_decay = None  # none stated

    config.compute = ConfigDict()
    config.compute.dtype = "bfloat16"  # not stated
    config.compute.attention = "blockwise"
    config.compute.remat = "full"
    config.compute.scan = True
    config.compute.accumulate = 1
    config.compute.loss_chunk = 2048

    config.mesh = ConfigDict({"data": -1, "fsdp": 1, "tensor": 1})
    config.patch_budget = None  # the worst that the mixture can bring
    config.target_budget = None
    config.image_tokenizer = None
    config.image_trunk_weights = None

    config.weighting = "by_hand"  # table 1
    config.admission = ConfigDict({"allowed_licences": None, "commercial_only": False})  # docs/data.md
    config.datasets = table_1.datasets(data)
    config.held_out_tasks = table_1.HELD_OUT  # section 5.2
    config.missing = "skip"  # most of the paper's data were never released
    return config


def on_one_gpu(config: Any, rows: int) -> Any:
    """Return the config changed to the fastest step on one GPU; the batch and its result stay the same.

    Layers are unrolled and nothing is computed again, which a batch of 512 rows has no memory for, so it is computed in
    microbatches.

    Args:
      config: config of `pretraining`, which is changed.
      rows: rows of a microbatch, a divisor of the batch size.
    """
    config.mesh.fsdp = 1
    config.compute.scan = False
    config.compute.remat = "none"
    config.compute.accumulate = config.batch_size // rows
    return config
