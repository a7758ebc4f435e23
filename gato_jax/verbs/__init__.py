"""The verbs of the `gato` command: one module for each verb, with a function of the same name. May import any package.

A verb defines its flags, parses them and only then imports heavy packages, since `gato --help` imports every verb.
"""

import os

# Set before JAX is imported. Otherwise JAX looks for a TPU, since libtpu is installed, and logs that there is none.
if not any(os.path.exists(device) for device in ("/dev/accel0", "/dev/vfio/0", "/dev/nvidia0")):
    os.environ.setdefault("JAX_PLATFORMS", "cpu")

# In the order of `gato --help`; a new verb is a module and its name here.
NAMES = (
    "tasks", "collect", "instructions", "convert",
    "data_report", "provenance", "tokenization_report", "inspect", "export", "train_image_tokenizer",
    "plan", "train", "finetune", "evaluate", "report",
)  # fmt: skip
