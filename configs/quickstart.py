"""A small Gato on eight datasets, trained in minutes on a laptop: real environments, every modality, every stage.

What it reproduces: every stage of the paper at a small scale, none of its numbers. One set of weights learns two
Meta-World tasks, a BabyAI level, a DM Control task, an Atari game, a robot's recordings, captions and dialogue. Then it
is played and scored, and a report is written.

Hardware: two CPU cores, 6 GiB of memory. Time and scores: see the README, from experiments/results/quickstart.json.

    make quickstart
"""

from ml_collections import ConfigDict

from gato_jax.episodes import dataset_name

ROBOT = "bridge_dataset"


def get_config() -> ConfigDict:
    """Return the config of the quickstart. Values that differ from the paper's say why."""
    config = ConfigDict()
    config.seed = 0
    config.steps = 1250
    config.batch_size = 32  # paper: 512 (section 2.3)
    config.context = 176  # paper: 1024; two cores process few tokens, and one BabyAI timestep has 158
    config.log_every = 20
    config.checkpoints = ConfigDict({"every": 100})

    config.tokenization = ConfigDict()
    # A mission has the same words at each step, so there is nothing to learn, and predicting them is expensive.
    config.tokenization.predict_text_observations = False

    config.model = ConfigDict()
    config.model.layers = 3
    config.model.width = 128
    config.model.heads = 4
    config.model.head_size = 32
    config.model.hidden = 512
    config.model.patch_channels = 32
    config.model.patch_stride = 4  # docs/decisions.md has the cost of the patch block
    config.model.stochastic_depth = 0.0  # paper: 0.1; a run of minutes does not overfit
    config.model.bin_init = "fourier"  # the embeddings of bins are numerically ordered from the start

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


# The weights are rows of each batch of 32; robot, captions and dialogue have the other 2 + 1 + 1. A row of Meta-World
# has 16 targets and a row of BabyAI one, for which its loss weight compensates in part.
CONTROL_TASKS = {
    "meta_world/plate-slide-v3": {"weight": 3.0},
    "meta_world/button-press-v3": {"weight": 3.0},
    "babyai/GoToRedBallGrey-v0": {"weight": 6.0, "loss_weight": 6.0, "prompt_share": 0.0},  # a row holds one timestep
    "dm_control/point_mass/easy": {"weight": 2.0},
    "atari_short/gopher": {"weight": 14.0, "loss_weight": 2.0},
}


def dataset(task: str, **settings) -> ConfigDict:
    """Return one recorded dataset in pieces of one timestep: a short run learns more from many episodes."""
    source = f"recorded:{{workdir}}/data/{dataset_name(task)}/1.0.0"
    return ConfigDict({"source": source, "window": 1, "prompt_steps": 1, **settings})


def experiment() -> ConfigDict:
    """Return the settings of experiments/quickstart.py, which runs everything around the training."""
    config = ConfigDict()
    config.tasks = tuple(CONTROL_TASKS)
    config.episodes = ConfigDict({dataset_name(task): episodes for task, episodes in EPISODES.items()})
    config.robot_episodes = 120
    config.robot_held_out = 12
    config.evaluation_episodes = 20
    config.prompted_episodes = 10  # of the second evaluation, after a demonstration, which is to take a minute or two
    config.environments = 20
    config.temperature = 1.0
    return config


EPISODES = {
    "meta_world/plate-slide-v3": 200,
    "meta_world/button-press-v3": 300,
    "babyai/GoToRedBallGrey-v0": 1500,
    "dm_control/point_mass/easy": 20,
    "atari_short/gopher": 40,
}
