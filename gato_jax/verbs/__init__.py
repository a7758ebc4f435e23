"""The verbs of `gato`, a module each, with one function of its name. May import any.

A verb defines its flags, parses them, and imports what is heavy only then: `gato --help` imports every verb.
"""

import os

# Said before JAX is imported: with the TPU library installed and no TPU, every verb would begin with its complaints.
if not any(os.path.exists(device) for device in ("/dev/accel0", "/dev/vfio/0", "/dev/nvidia0")):
    os.environ.setdefault("JAX_PLATFORMS", "cpu")

# In the order of `gato --help`; a new verb is a module and its name here.
NAMES = (
    "tasks", "collect", "instructions", "convert",
    "data_report", "provenance", "tokenization_report", "inspect", "export", "train_image_tokenizer",
    "plan", "train", "finetune", "evaluate", "report",
)  # fmt: skip
