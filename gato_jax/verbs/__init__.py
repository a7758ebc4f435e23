"""The verbs of `gato`, each a module with a function of its name. May import any package.

A verb parses flags, calls the library and prints; gato_jax.cli lists the verbs. A module imports packages of the
library at its top inside of `etils.epy.lazy_imports`, which loads a package when it is first used. So `gato VERB
--help` starts in under half a second, although JAX alone takes longer.
"""

import os

# This is set before JAX is imported: where the TPU library is installed without a TPU, JAX would print complaints.
if not any(os.path.exists(device) for device in ("/dev/accel0", "/dev/vfio/0", "/dev/nvidia0")):
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
