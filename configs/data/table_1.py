"""The paper's mixture: the 24 datasets of its Table 1 with their weights, and what stands for each of them here.

What it reproduces: the weights (paper, Table 1). DeepMind's recordings were never released, so each dataset is a
generator of ours (`gato collect` makes it with an expert that needs no weights), a public dataset that one of our
readers opens, or unavailable, with the reason. The weight of what is unavailable, or not made yet, goes to the others
in proportion, and every run that trains on this says so.

Hardware, time and scores: those of the config that uses it (configs/gato_1_18b.py and its like).

    python -m configs.data.table_1 DATA     # the 24, and what of them DATA holds
    gato train --config=configs/gato_79m.py --workdir=runs/79m

DATA holds one folder for each dataset: those that `gato collect --output=DATA` and `gato convert --output=DATA` write,
and those that TFDS downloads (TFDS_DATA_DIR=DATA).
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
from pathlib import Path

from ml_collections import ConfigDict

from gato_jax.environments import task_names
from gato_jax.episodes import list_datasets

DATA = "data"
HELD_OUT = ("dm_control/cartpole/swingup", "meta_world/assembly-v3", "atari/boxing")  # section 5.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """One row of Table 1.

    Attributes:
      weight: in percent.
      tasks: how many the paper has.
      patterns: which tasks of ours, by glob, `gato collect` records for it; held-out tasks are none of them.
      public: (pattern of folders as TFDS names them, prefix of the source) that stands for it.
      converted: folders that `gato convert` is to write for it, from what.
      why: it is unavailable otherwise.
    """

    weight: float
    tasks: int
    patterns: tuple[str, ...] = ()
    public: tuple[str, str] | None = None
    converted: str | None = None
    why: str = ""
    window: str | int = "tokens"
    pieces: int | None = None


def pairs(
    *, weight: float, public: tuple[str, str] | None = None, converted: str | None = None, why: str = ""
) -> Dataset:
    """Images with text, of which five pairs make a sequence (section 3.2)."""
    return Dataset(weight=weight, tasks=1, public=public, converted=converted, why=why, window=1, pieces=5)


TABLE_1 = {
    "dm_lab": Dataset(
        weight=9.35, tasks=254, public=("rlu_dmlab_*", "rlds:"),
        why="DeepMind Lab has no package for this Python; RL Unplugged has recordings of five of its levels",
    ),
    "ale_atari": Dataset(weight=9.5, tasks=51, patterns=("atari/*",), public=("rlu_atari/*", "rlds:")),
    "ale_atari_extended": Dataset(weight=10.0, tasks=28, why="its 28 games, modes and difficulties are not published"),
    "sokoban": Dataset(weight=1.33, tasks=1, patterns=("sokoban/*",), why="there is no Sokoban among the suites yet"),
    "babyai": Dataset(weight=9.06, tasks=46, patterns=("babyai/*",)),
    "dm_control": Dataset(
        weight=4.62, tasks=30, patterns=("dm_control/*",), public=("rlu_control_suite/*", "rlds:"),
    ),
    "dm_control_pixels": Dataset(weight=7.07, tasks=28, why="there is no DM Control from pixels among the suites yet"),
    "dm_control_random_small": Dataset(weight=3.04, tasks=26, why="there is no DM Control of randomised bodies yet"),
    "dm_control_random_large": Dataset(weight=3.04, tasks=26, why="there is no DM Control of randomised bodies yet"),
    "meta_world": Dataset(weight=8.96, tasks=45, patterns=("meta_world/*",)),
    "procgen": Dataset(weight=5.34, tasks=16, patterns=("procgen/*",), why="there is no Procgen among the suites yet"),
    "rgb_stacking_simulator": Dataset(
        weight=1.33, tasks=1, patterns=("rgb_stacking/*",), why="there is no RGB stacking among the suites yet"
    ),
    "rgb_stacking_real": Dataset(
        weight=1.33, tasks=1, public=("bridge_dataset", "rlds:"),
        why="never released; BridgeData V2, real arms moving objects, stands for it",
    ),
    "modular_rl": Dataset(weight=8.23, tasks=38, patterns=("modular_rl/*",), why="its bodies are not among the suites"),
    "manipulation_playground": Dataset(weight=1.68, tasks=4, why="never released"),
    "playroom": Dataset(weight=1.33, tasks=1, why="never released, and the paper does not describe it"),
    "massive_text": Dataset(
        weight=6.7, tasks=1, public=("c4*", "tfds_text:"), converted="documents", why="never released"
    ),
    "m3w": Dataset(weight=4.0, tasks=1, converted="image_text", why="never released", window=1),
    "align": pairs(weight=0.67, converted="image_text", why="never released"),
    "ms_coco_captions": pairs(weight=0.67, public=("coco_captions", "tfds_text:")),
    "conceptual_captions": pairs(weight=0.67, converted="image_text"),
    "ltip": pairs(weight=0.67, converted="image_text", why="never released"),
    "okvqa": pairs(weight=0.67, converted="vqa"),
    "vqa_v2": pairs(weight=0.67, converted="vqa"),
}  # fmt: skip


def datasets(root: str | Path = DATA) -> ConfigDict:
    """The mixture's datasets as a config has them, of what lies below `root`."""
    root, made = Path(root), ConfigDict()
    recorded = list_datasets(root)
    for name, dataset in TABLE_1.items():
        sources = resolve(name, dataset, root, recorded)
        for key, source in sources.items():
            settings = {"source": source, "weight": dataset.weight / len(sources), "window": dataset.window}
            settings |= {"pieces": dataset.pieces, "prompt_share": 0.25 if dataset.window == "tokens" else 0.0}
            made[key] = ConfigDict(settings)
    return made


def resolve(name: str, dataset: Dataset, root: Path, recorded: dict[str, Path]) -> dict[str, str]:
    """{key: source} of what is there of a dataset, or its one source `unavailable:WHY`."""
    tasks = [task for task in recorded if _matches(task, dataset.patterns)]
    if tasks:
        return {f"{name}__{_key(task)}": f"recorded:{recorded[task]}" for task in tasks}
    if dataset.converted is not None:
        task = f"{dataset.converted}/{name}"
        if task in recorded:
            return {f"{name}__{_key(task)}": f"recorded:{recorded[task]}"}
    if dataset.public is not None:
        pattern, prefix = dataset.public
        versions = sorted(folder.parent for folder in root.glob(f"{pattern}/*/dataset_info.json"))
        if versions:
            return {f"{name}__{_key(str(folder.parent.name))}": f"{prefix}{folder}" for folder in versions}
    return {name: f"unavailable:{name}: {'; '.join(_remedies(name, dataset, root))}"}


def _remedies(name: str, dataset: Dataset, root: Path) -> list[str]:
    said = [dataset.why] if dataset.why else []
    if (tasks := [task for task in task_names() if _matches(task, dataset.patterns)]) and not dataset.why:
        said.append(f"not recorded yet: gato collect --tasks={tasks[0]},... --output={root} ({len(tasks)} tasks)")
    if dataset.public is not None:
        said.append(f"TFDS can download {dataset.public[0]} into {root}")
    if dataset.converted is not None:
        own = f"gato convert --source={dataset.converted}:{name} --output={root}"
        said.append(f"of your own, in a folder {name}: {own}")
    return said


def _matches(task: str, patterns: tuple[str, ...]) -> bool:
    return task not in HELD_OUT and any(fnmatch.fnmatch(task, pattern) for pattern in patterns)


def _key(text: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in text).lower()


def get_config() -> ConfigDict:
    """The datasets alone, to look at; the configs of the published sizes train on them."""
    return ConfigDict({"datasets": datasets()})


def main():
    """Prints the 24 and what stands for each."""
    parser = argparse.ArgumentParser(description="The datasets of the paper's Table 1, and what stands for each.")
    parser.add_argument("data", nargs="?", default=DATA, help="folder of the datasets")
    root = parser.parse_args().data
    if not Path(root).is_dir():
        parser.error(f"{root}: no such folder")
    recorded = list_datasets(root)
    for name, dataset in TABLE_1.items():
        sources = list(resolve(name, dataset, Path(root), recorded).values())
        shown = f"{len(sources)} of {dataset.tasks} tasks: {sources[0]}" if len(sources) > 1 else sources[0]
        print(f"{name:26} {dataset.weight:5.2f}%  {shown}")


if __name__ == "__main__":
    main()
