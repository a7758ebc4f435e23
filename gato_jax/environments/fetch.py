from gato_jax.environments.base import Suite
SUITE = Suite(name="fetch", tasks=(), packages={}, spec=None, load=None)
