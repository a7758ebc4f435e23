"""The paper's mixture: the 24 datasets of its Table 1, their weights, and what stands for each of them here.

What it reproduces: the weights (paper, Table 1). DeepMind's recordings were never released, so each dataset is one of
our own for each of its tasks (`gato collect` records them with experts that need no weights), a public dataset, or
unavailable, with the reason. The weight of a row is divided equally over its tasks. A config that sets
`missing = "skip"`, as configs/paper.py does, trains on what is on disk; the weight of the rest goes to the others in
proportion, and the run says so.

The paper publishes the numbers of its tasks. gato_jax/environments/paper/tasks.py lists ours and says why; the command
`gato tasks --paper` prints them.

Hardware, time and scores: those of the config that uses it (configs/gato_1_18b.py and its like).

    python -m configs.data.table_1 DATA                             # the 24, and which of them DATA holds
    gato collect --tasks=atari/alien,... --output=DATA              # our own recordings
    tfds build coco_captions/2014 --data_dir=DATA                   # a public dataset
    gato train --config=configs/gato_79m.py:DATA --workdir=runs/79m

DATA holds one folder for each dataset: those that `gato collect --output=DATA` and `gato convert --output=DATA` write,
and those that TFDS prepares. A public dataset that DATA lacks is looked up in TFDS's own folder, too.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from ml_collections import ConfigDict

from gato_jax.environments import paper, spelled_task
from gato_jax.episodes import dataset_name

DATA = "data"
HELD_OUT = paper.HELD_OUT  # The configs of the published sizes keep every dataset of these tasks out.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """One row of Table 1.

    Attributes:
      weight: Share of the rows in percent.
      tasks: Number of tasks of the paper.
      recorded: Names of the tasks of our own recordings that stand for it, below the folder of the data.
      public: Datasets of TFDS that stand for it, each as KIND:NAME or KIND:NAME/CONFIG, KIND rlds or tfds_text.
      why: The reason why nothing stands for it.
      window: Unit that rows are cut from (see batching.DatasetConfig).
      pieces: Number of pieces that make a row; None for as many as fit.
    """

    weight: float
    tasks: int
    recorded: tuple[str, ...] = ()
    public: tuple[str, ...] = ()
    why: str = ""
    window: str | int = "tokens"
    pieces: int | None = None


def pairs(*, weight: float, recorded: tuple[str, ...] = (), public: tuple[str, ...] = ()) -> Dataset:
    """Return a row of images with text, of which five pairs make a sequence (section 3.2)."""
    return Dataset(weight=weight, tasks=1, recorded=recorded, public=public, window=1, pieces=5)


def _recorded(domain: str) -> tuple[str, ...]:
    """Return the tasks of a domain that are recorded here, without those that are held out in any spelling."""
    return tuple(task for task in paper.DOMAINS[domain].tasks if not spelled_task(task, HELD_OUT))


# RL Unplugged has recordings of five levels.
DM_LAB = tuple(
    f"rlds:rlu_dmlab_{level}/training_0"
    for level in (
        "explore_object_rewards_few", "explore_object_rewards_many", "rooms_select_nonmatching_object",
        "rooms_watermaze", "seekavoid_arena01",
    )
)  # fmt: skip

_NOT_RELEASED = "never released"

TABLE_1 = {
    "dm_lab": Dataset(weight=9.35, tasks=254, public=DM_LAB),
    "ale_atari": Dataset(weight=9.5, tasks=51, recorded=_recorded("ale_atari")),
    "ale_atari_extended": Dataset(weight=10.0, tasks=28, recorded=_recorded("ale_atari_extended")),
    "sokoban": Dataset(weight=1.33, tasks=1, recorded=_recorded("sokoban")),
    "babyai": Dataset(weight=9.06, tasks=46, recorded=_recorded("babyai")),
    "dm_control": Dataset(weight=4.62, tasks=30, recorded=_recorded("dm_control")),
    "dm_control_pixels": Dataset(weight=7.07, tasks=28, recorded=_recorded("dm_control_pixels")),
    "dm_control_random_small": Dataset(weight=3.04, tasks=26, recorded=_recorded("dm_control_random_small")),
    "dm_control_random_large": Dataset(weight=3.04, tasks=26, recorded=_recorded("dm_control_random_large")),
    "meta_world": Dataset(weight=8.96, tasks=45, recorded=_recorded("meta_world")),
    "procgen": Dataset(weight=5.34, tasks=16, recorded=_recorded("procgen")),
    "rgb_stacking_simulator": Dataset(weight=1.33, tasks=1, recorded=_recorded("rgb_stacking_simulator")),
    # BridgeData V2, real arms that move objects, stands for the real robot, whose data were never released.
    "rgb_stacking_real": Dataset(weight=1.33, tasks=1, public=("rlds:bridge_dataset",)),
    "modular_rl": Dataset(weight=8.23, tasks=38, recorded=_recorded("modular_rl")),
    "manipulation_playground": Dataset(weight=1.68, tasks=4, recorded=_recorded("manipulation_playground")),
    "playroom": Dataset(weight=1.33, tasks=1, why=f"{_NOT_RELEASED}, and the paper does not describe it"),
    # The corpora of text and images were never released, except for three. Those of your own, in the folder of the same
    # name, stand for them: gato convert --source=image_text:m3w --output=DATA.
    "massive_text": Dataset(weight=6.7, tasks=1, public=("tfds_text:c4/en",)),
    "m3w": Dataset(weight=4.0, tasks=1, recorded=("image_text/m3w",), window=1),
    "align": pairs(weight=0.67, recorded=("image_text/align",)),
    "ms_coco_captions": pairs(weight=0.67, public=("tfds_text:coco_captions/2014",)),
    "conceptual_captions": pairs(weight=0.67, recorded=("image_text/conceptual_captions",)),
    "ltip": pairs(weight=0.67, recorded=("image_text/ltip",)),
    "okvqa": pairs(weight=0.67, recorded=("vqa/okvqa",)),
    "vqa_v2": pairs(weight=0.67, recorded=("vqa/vqa_v2",)),
}


def datasets(root: str = DATA) -> ConfigDict:
    """Return the datasets of the mixture as a config has them, with our own recordings below `root`."""
    entries = ConfigDict()
    for name, row in TABLE_1.items():
        sources = row_sources(name, row, root)
        prompt_share = 0.25 if row.window == "tokens" else 0.0
        settings = {"weight": row.weight / len(sources), "window": row.window, "pieces": row.pieces}
        for key, source in sources.items():
            entries[key] = ConfigDict({"source": source, "prompt_share": prompt_share, **settings})
    return entries


def row_sources(name: str, row: Dataset, root: str) -> dict[str, str]:
    """Return {name of the dataset: source} of one row of Table 1."""
    own = {f"{name}__{_key(task)}": f"recorded:{root}/{dataset_name(task)}/1.0.0" for task in row.recorded}
    named = (source.partition(":") for source in row.public)
    public = {f"{name}__{_key(dataset)}": f"{kind}:{root}/{dataset}" for kind, _, dataset in named}
    return {**own, **public} or {name: f"unavailable:{row.why}"}


def _key(text: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in text).lower()


def get_config() -> ConfigDict:
    """Return the datasets alone, to look at; the configs of the published sizes train on them."""
    return ConfigDict({"datasets": datasets()})


def main():
    """Print the 24 rows, and for each how many of its datasets are on disk."""
    from gato_jax.batching import DatasetConfig, missing_reason

    parser = argparse.ArgumentParser(description="List the datasets of the paper's Table 1, and which are on disk.")
    parser.add_argument("data", nargs="?", default=DATA, help="Folder of the datasets.")
    root = parser.parse_args().data
    if not Path(root).is_dir():
        parser.error(f"data is {root}, expected a folder. Name the folder of the datasets.")
    for name, row in TABLE_1.items():
        sources = list(row_sources(name, row, root).values())
        reasons = [missing_reason(DatasetConfig(source=source, weight=1.0)) for source in sources]
        first = next((reason for reason in reasons if reason), "")
        print(f"{name:26} {row.weight:5.2f}%  {reasons.count(None):3} of {row.tasks:3} tasks  {first}".rstrip())


if __name__ == "__main__":
    main()
