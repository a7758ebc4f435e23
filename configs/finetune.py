"""Fine-tuning on one task: an agent, 1 to 1000 episodes of it, and the maximum of the smoothed learning curve.

What it reproduces: the protocol of the paper's appendix E, behind its figures 9 and 10; by default on
cartpole/swingup, one of the four tasks that the paper held out. The model is the checkpoint's.

Hardware: one GPU or TPU that trains the checkpoint's model at batch 64. On a CPU, --config.compute.dtype=float32.
How long: 10,000 steps of 65,536 tokens, 655 million in all, at the tokens per second that this model reaches there;
and 1,000 rollouts, as long as their environment takes.
Expected score: not known. The paper shows curves without a table, of models pretrained on all of its data; nobody has
published such a checkpoint, and none was made here yet.

    gato collect --tasks=dm_control/cartpole/swingup --episodes=2000 --output=data
    gato finetune --from=RUN --config=configs/finetune.py --config.episodes=10 --workdir=runs/swingup_10_0

Another task: --config=configs/finetune.py:meta_world/reach-v3. Other recordings: --config.dataset.source=KIND:WHERE.
"""

from ml_collections import ConfigDict

from gato_jax.episodes import dataset_name


def get_config(task: str = "dm_control/cartpole/swingup") -> ConfigDict:
    """The paper's values (appendix E where nothing else is said); what it does not state says so."""
    config = ConfigDict()
    config.task = task
    config.episodes = 1000  # then 100, 10, 5, 3 and 1 of them
    config.keep_best = 2000
    config.series = 0  # 0, 1 and 2: three repetitions with other draws
    config.evaluate_every = 100
    config.rollouts = 10
    config.smoothing = 5  # evaluations, of 50 rollouts together
    config.environments = 10  # side by side; no score depends on it
    config.temperature = 1.0  # not stated

    config.seed = 0  # not stated
    config.steps = 10_000
    config.batch_size = 64
    config.context = 1024
    config.log_every = 20

    config.model = ConfigDict()
    config.model.dropout = 0.1
    config.model.stochastic_depth = 0.0  # appendix D has it for pretraining

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
    config.dataset.prompt_share = 0.25  # section 2.2, for pretraining; of fine-tuning nothing else is said
    return config
