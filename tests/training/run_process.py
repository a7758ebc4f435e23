"""`python -m tests.training.run_process DATA WORKDIR STEPS` trains the run of made_run as `gato train` does.

It heeds signals from the line `ready` on, before JAX is imported.
"""

import logging
import pathlib
import sys

from gato_jax.runtime import interruptible

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, force=True)
    data, workdir = map(pathlib.Path, sys.argv[1:3])
    with interruptible("Run the same command again to go on.") as interruption:
        print("ready", file=sys.stderr, flush=True)
        with interruption.at_once():
            from gato_jax.training import hold_run, train
            from tests.training.made_run import made_config, made_mixture

            config = made_config(steps=int(sys.argv[3]), log_every=5)
            mixture = made_mixture(data, config)
        with hold_run(workdir):
            train(config, mixture, workdir, interruption=interruption)
