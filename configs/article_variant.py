r"""The model that a secondary article describes instead of the paper's: an ablation.

What it reproduces: not the paper. The article has a ResNet-50, pretrained on ImageNet and frozen, on each patch; 256
rows a batch; Adam at 1e-4; and mu-law companding without M. What of that contradicts the paper is in docs/decisions.md.
The article also puts a task's text before each episode. Here a text is an observation of its timestep, as in the paper.

ResNet-50's weights are not downloaded. Without a file the trunk starts from nothing and is trained; with one, in
torchvision's naming as .safetensors, it is frozen:

    gato train --config=configs/article_variant.py --workdir=runs/article_variant \
        --config.image_trunk_weights=resnet50.safetensors --config.model.freeze_image_trunk=True

Hardware: as configs/gato_1_18b.py.
Expected score: not known; the article gives none that the paper does not.
"""

from typing import Any

from configs.paper import DATA, pretraining


def get_config(data: str = DATA) -> Any:
    """The article's values where it has any, else the paper's."""
    config = pretraining("1.18b", data, peak_learning_rate=1e-4)
    config.batch_size = 256
    config.tokenization.m = 1.0  # ln(1 + mu |x|) / ln(1 + mu)
    config.model.image_trunk = "resnet_50"
    config.model.freeze_image_trunk = False
    config.optimizer.weight_decay = 0.0  # Adam
    config.optimizer.schedule = "constant"
    config.mesh.fsdp = 16
    return config
