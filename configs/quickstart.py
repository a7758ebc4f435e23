"""One small Gato on eight datasets, in minutes on a laptop: real environments, every modality, every stage.

What it reproduces: nothing of the paper's scale, everything of its shape. One set of weights learns two Meta-World
tasks, a BabyAI level, a DM Control task, an Atari game, a robot's recordings, captions and dialogue, and is then
played, scored and reported on.

Hardware: two CPU cores, 6 GiB of memory. Time and scores: see the README, from experiments/results/quickstart.json.

    make quickstart
"""

from ml_collections import ConfigDict

from gato_jax.episodes import dataset_name

ROBOT = "bridge_dataset"


def get_config() -> ConfigDict:
    """The quickstart. What differs from the paper says why."""
    config = ConfigDict()
    config.seed = 0
    config.steps = 1250
    config.batch_size = 32  # paper: 512 (section 2.3)
    config.context = 176  # paper: 1024; on two cores the budget is tokens, and one BabyAI timestep takes 158
    config.log_every = 20
    config.checkpoint_every = 100

    config.tokenization = ConfigDict()
    # A mission is the same words at each step, and the task's only: nothing to learn, and a costly head to pay for.
    config.tokenization.predict_text_observations = False

    config.model = ConfigDict()
    config.model.layers = 3
    config.model.width = 128
    config.model.heads = 4
    config.model.head_size = 32
    config.model.hidden = 512
    config.model.patch_channels = 32
    config.model.patch_stride = 4  # see the patch block's cost in docs/decisions.md
    config.model.stochastic_depth = 0.0  # paper: 0.1; a run of minutes sees no example often
    config.model.bin_init = "fourier"  # numerically ordered from the start

    config.optimizer = ConfigDict()
    config.optimizer.peak_learning_rate = 3e-3  # paper: 1e-4 for 1M steps
    config.optimizer.warmup_steps = 60
    config.optimizer.clip_norm = 1.0  # paper: not stated
    config.optimizer.final_fraction = 0.02

    config.weighting = "by_hand"
    config.admission = ConfigDict({"allowed_licences": None, "commercial_only": False})
    config.datasets = ConfigDict()
    for task, weights in CONTROL_TASKS.items():
        config.datasets[dataset_name(task)] = dataset(task, **weights)
    config.datasets[ROBOT] = ConfigDict(
        {
            "source": f"rlds:{{workdir}}/data/{ROBOT}/1.0.0",
            "weight": 2.0,
            "window": 1,
            "prompt_steps": 1,
            "loss_weight": 0.5,
        }
    )
    config.datasets.captions = dataset("captions/emoji", weight=1.0, prompt_share=0.0, loss_weight=0.3)
    config.datasets.dialogue = dataset("dialogue/chatterbot", weight=1.0, prompt_share=0.0, loss_weight=0.1)

    config.experiment = experiment()
    return config


# Weights are rows of each batch of 32; robot, captions and dialogue take the other 2 + 1 + 1. A row of Meta-World holds
# 16 targets, one of BabyAI a single one, which its loss weight makes up for in part.
CONTROL_TASKS = {
    "meta_world/plate-slide-v3": {"weight": 3.0},
    "meta_world/button-press-v3": {"weight": 3.0},
    "babyai/GoToRedBallGrey-v0": {"weight": 6.0, "loss_weight": 6.0, "prompt_share": 0.0},  # a row holds one timestep
    "dm_control/point_mass/easy": {"weight": 2.0},
    "atari/gopher": {"weight": 14.0, "loss_weight": 2.0},
}


def dataset(task: str, **settings) -> ConfigDict:
    """One recorded dataset. Pieces of one timestep: on a small budget, many episodes teach more than long ones."""
    source = f"recorded:{{workdir}}/data/{dataset_name(task)}/1.0.0"
    return ConfigDict({"source": source, "window": 1, "prompt_steps": 1, **settings})


def experiment() -> ConfigDict:
    """What experiments/quickstart.py does around the training."""
    config = ConfigDict()
    config.tasks = tuple(CONTROL_TASKS)
    config.episodes = ConfigDict({dataset_name(task): episodes for task, episodes in EPISODES.items()})
    config.robot_episodes = 120
    config.robot_held_out = 12
    config.evaluation_episodes = 20
    config.environments = 20
    config.temperature = 1.0
    return config


EPISODES = {
    "meta_world/plate-slide-v3": 200,
    "meta_world/button-press-v3": 300,
    "babyai/GoToRedBallGrey-v0": 1500,
    "dm_control/point_mass/easy": 20,
    "atari/gopher": 40,
}
