"""Jobs on Apache Beam, in local processes or on a cluster. Beam is imported when a pipeline is made."""

from gato_jax.runtime.beam.errors import BeamError
from gato_jax.runtime.beam.pipeline import check_options, run_pipeline
from gato_jax.runtime.beam.progress import progress_bar

__all__ = ["BeamError", "check_options", "progress_bar", "run_pipeline"]
