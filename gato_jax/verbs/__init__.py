"""The verbs of `gato`, each a module with a function of its name. May import any package.

A verb parses flags, calls the library and prints; gato_jax.cli lists the verbs. A module imports packages of the
library at its top inside of `etils.epy.lazy_imports`, which loads a package when it is first used. So `gato VERB
--help` starts in under half a second, although JAX alone takes longer.
"""

from gato_jax.runtime.compilation import enable_cache
from gato_jax.runtime.devices import choose_platforms

# These set variables that JAX reads when it is imported.
choose_platforms()
enable_cache()
