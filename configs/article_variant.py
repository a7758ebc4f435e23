r"""An ablation: the model that a secondary article describes instead of the paper's.

What it reproduces: not the paper. The article has a ResNet-50, pretrained on ImageNet and frozen, on each patch;
batches of 256 rows; Adam at 1e-4; and mu-law companding without M. docs/decisions.md lists the contradictions to the
paper. The text of a task, its instruction or a sentence made of its name, comes before each episode.

The weights of ResNet-50 are not downloaded. Without a file the trunk is initialised at random and trained. With a
.safetensors file that has torchvision's names, it can be frozen:

    gato train --config=configs/article_variant.py --workdir=runs/article_variant \
        --config.image_trunk_weights=resnet50.safetensors --config.model.freeze_image_trunk=True

Hardware: as configs/gato_1_18b.py.
Expected score: not known. The article has no scores of its own.
"""

from typing import Any

from configs.paper import DATA, pretraining


def get_config(data: str = DATA) -> Any:
    """Return the article's values, and the paper's where the article has none."""
    config = pretraining("1.18b", data, peak_learning_rate=1e-4)
    config.batch_size = 256
    config.tokenization.m = 1.0  # ln(1 + mu |x|) / ln(1 + mu)
    config.tokenization.task_text_first = True
    config.model.image_trunk = "resnet_50"
    config.model.freeze_image_trunk = False
    config.optimizer.weight_decay = 0.0  # Adam
    config.optimizer.schedule = "constant"
    config.mesh.fsdp = 16
    return config
