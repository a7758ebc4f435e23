"""Fine-tuning of an agent on 1 to 1000 episodes of one task, scored by the maximum of its smoothed learning curve.

What it reproduces: the protocol of the paper's appendix E, behind its figures 9 and 10, by default on cartpole/swingup,
one of the four tasks that the paper held out. The model is that of the checkpoint.

Hardware: one GPU or TPU that trains the model of the checkpoint at batch 64. On a CPU set
--config.compute.dtype=float32.
Time: 10,000 steps of 65,536 tokens, 655 million in all, at the throughput of this model there, and 1,000 rollouts.
Expected score: not known. The paper shows curves without a table, of models that were pretrained on all of its data.
Nobody has published such a checkpoint, and none has been trained with this code.

    gato collect --tasks=dm_control/cartpole/swingup --episodes=2000 --output=data
    gato finetune --from=RUN --config=configs/finetune.py --config.episodes=10 --workdir=runs/swingup_10_0

Another task: --config=configs/finetune.py:meta_world/reach-v3. Other recordings: --config.dataset.source=KIND:WHERE.
"""

from ml_collections import ConfigDict

from gato_jax.episodes import dataset_name


def get_config(task: str = "dm_control/cartpole/swingup") -> ConfigDict:
    """Return the paper's values, of appendix E unless another section is named. What it does not state says so."""
    config = ConfigDict()
    config.task = task
    config.episodes = 1000  # the paper also has 100, 10, 5, 3 and 1
    config.keep_best = 2000
    config.series = 0  # 0, 1 and 2 are three repetitions with other episodes
    config.evaluate_every = 100
    config.rollouts = 10
    config.smoothing = 5  # evaluations, which have 50 rollouts together
    config.environments = 10  # played side by side; the scores do not depend on it
    config.temperature = 1.0  # not stated

    config.seed = 0  # not stated
    config.steps = 10_000
    config.batch_size = 64
    config.context = 1024
    config.log_every = 20

    config.model = ConfigDict()
    config.model.dropout = 0.1
    config.model.stochastic_depth = 0.0  # appendix D has stochastic depth for pretraining only

    config.optimizer = ConfigDict()  # Adam: no weight decay
    config.optimizer.schedule = "constant"
    config.optimizer.peak_learning_rate = 1e-5
    config.optimizer.warmup_steps = 0
    config.optimizer.beta_1 = 0.9
    config.optimizer.beta_2 = 0.95
    config.optimizer.epsilon = 1e-8
    config.optimizer.weight_decay = 0.0
    config.optimizer.clip_norm = None  # none stated
    config.optimizer.ema_decay = None  # none stated

    config.compute = ConfigDict()
    config.compute.dtype = "bfloat16"  # not stated
    config.compute.attention = "blockwise"
    config.compute.remat = "full"
    config.compute.scan = True
    config.compute.accumulate = 1
    config.compute.loss_chunk = 2048

    config.mesh = ConfigDict({"data": -1, "fsdp": 1, "tensor": 1})
    config.loader_threads = 4

    config.dataset = ConfigDict()
    config.dataset.source = f"recorded:data/{dataset_name(task)}/1.0.0"
    config.dataset.window = "tokens"  # section 2.3: any subsequence of L tokens
    config.dataset.prompt_share = 0.25  # section 2.2, for pretraining; not stated for fine-tuning
    return config
