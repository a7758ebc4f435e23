from gato_jax.environments.base import Suite
SUITE = Suite(name="atari", tasks=(), packages={}, spec=None, load=None)
