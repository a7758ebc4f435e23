"""The agent behind `gato serve` as the policy `gato` of LeRobot: --policy.type=gato --policy.address=ws://HOST:8000."""

# pyright: reportMissingImports=false
import concurrent.futures
import dataclasses
import os

import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.processor import PolicyProcessorPipeline, converters

from gato_jax_client import PolicyClient, read_secret, to_vector
from gato_jax_client.image_fit import fit_pixels


@PreTrainedConfig.register_subclass("gato")
@dataclasses.dataclass
class GatoConfig(PreTrainedConfig):
    """Address and task of the server, and the file of its token. Default: the token is in the variable GATO_TOKEN."""

    address: str = "ws://127.0.0.1:8000"
    server_task: str | None = None
    token_file: str | None = None
    observation_delta_indices = action_delta_indices = reward_delta_indices = None
    get_optimizer_preset = get_scheduler_preset = validate_features = lambda self: None  # `gato finetune` trains


class GatoPolicy(PreTrainedPolicy):
    """A policy without weights. Each robot of a batch has a connection, and so a memory, of its own."""

    config_class, name = GatoConfig, "gato"
    forward = get_optim_params = lambda self, *_: None  # `gato finetune` trains

    def __init__(self, config: GatoConfig, **_):
        super().__init__(config)
        token = read_secret(config.token_file) if config.token_file else os.environ.get("GATO_TOKEN")
        self._connect = lambda: PolicyClient(config.address, token=token, task=config.server_task)
        self._clients, self._threads = [self._connect()], concurrent.futures.ThreadPoolExecutor(64)

    @classmethod
    def from_pretrained(cls, pretrained_name_or_path, *, config=None, **fields):
        """Return the policy of the server at an address; `fields` are those of GatoConfig."""
        return cls(config or GatoConfig(address=pretrained_name_or_path, **fields)).eval()

    def reset(self):
        for client in self._clients:
            client.reset()

    def select_action(self, batch, **_):
        """Return the actions (B, D) after observations of B robots, in LeRobot's names and the robot's units."""
        rows = len(next(value for key, value in batch.items() if key.startswith("observation.")))
        self._clients += [self._connect() for _ in range(len(self._clients), rows)]
        return torch.from_numpy(np.stack(list(self._threads.map(lambda row: self._act(batch, row), range(rows)))))

    def predict_action_chunk(self, batch, **_):
        return self.select_action(batch)[:, None]

    def _act(self, batch, row):
        client, seen = self._clients[row], {}
        for key, modality in client.spec["observation"].items():
            if modality["kind"] == "text":
                seen[key] = batch["task"] if isinstance(batch["task"], str) else batch["task"][row]
                continue
            seen[key] = batch["observation." + key.replace("/", ".")][row].numpy(force=True)
            if modality["kind"] == "image":  # (C, H, W) in [0, 1]
                pixels = np.round(seen[key].transpose(1, 2, 0) * 255).astype(np.uint8)
                seen[key] = fit_pixels(pixels, modality["height"], modality["width"], modality["fit"])
        return to_vector(client.act(seen).action).astype(np.float32)


def make_gato_pre_post_processors(config, dataset_stats=None):
    """Return processors that change nothing: the server takes and gives the units of the robot."""
    after = converters.policy_action_to_transition, converters.transition_to_policy_action
    return PolicyProcessorPipeline([]), PolicyProcessorPipeline([], to_transition=after[0], to_output=after[1])
