"""Execution of a function on many elements with Apache Beam, in local processes or on a cluster."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gato_jax.runtime.beam.errors import BeamError

_ELEMENTS_FOR_PROCESSES = 4  # with fewer, starting processes takes longer than the work
_BEAM_WORKER = "gato_jax.runtime.beam.worker"

Element = TypeVar("Element")


def check_options(options: Sequence[str]):
    """Raise BeamError if Beam does not know an option, or refuses to create a pipeline. Nothing is run."""
    _create_pipeline(0, options)


def run_pipeline(work: Callable[[Element], object], name: str, elements: Sequence[Element], options: Sequence[str]):
    """Call a function on each element with Beam, in any order, and return when all calls have returned.

    Args:
      work: picklable function, whose result is dropped. Beam may call it twice for one element.
      name: name of the step in the user interface of Beam.
      elements: picklable elements.
      options: options of Beam, such as `--runner=FlinkRunner`. Without a runner, the elements are processed by one
        local process for each core, or in this process if they are fewer than four or there is one core.

    Raises:
      BeamError: an option is unknown or invalid, the runner is not available, or a local worker process died.
    """
    beam = _import_beam()

    with _create_pipeline(len(elements), options) as pipeline:
        _ = pipeline | beam.Create(elements, reshuffle=False) | beam.Reshuffle() | name >> beam.Map(work)


def _create_pipeline(elements: int, options: Sequence[str]) -> Any:
    """Return an empty `beam.Pipeline` with the runner of the options, or a local one that suits the number of elements.

    Raises:
      BeamError: an option is unknown or invalid, or the runner is not available.
    """
    beam = _import_beam()
    from apache_beam.options.pipeline_options import StandardOptions

    given, runner = _parse_options(options), None
    if given.view_as(StandardOptions).runner is None:
        given = _parse_options([*_local_options(elements), *options])
        runner = _create_local_runner(given)
    try:
        return beam.Pipeline(runner=runner, options=given)
    except (AttributeError, ImportError, ValueError) as error:
        raise BeamError(f"Apache Beam: {error}") from None


def _parse_options(options: Sequence[str]) -> Any:
    """Parse command-line options into PipelineOptions, or raise BeamError for unknown ones and invalid values."""
    from apache_beam.options.pipeline_options import PipelineOptions

    parsed, stderr = PipelineOptions(list(options)), io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            known = parsed.get_all_options()
            unknown = parsed.get_all_options(retain_unknown_options=True).keys() - known.keys()
    except SystemExit:  # argparse exits on an invalid value
        raise BeamError(f"Apache Beam: {stderr.getvalue().strip().rpartition('error: ')[2]}") from None
    if unknown:
        raise BeamError(f"Apache Beam has no option {', '.join(sorted(unknown))}. See its PipelineOptions.")
    return parsed


def _local_options(elements: int) -> list[str]:
    """Return Beam options for local processes, or none if there is one core or fewer than four elements."""
    cores = len(os.sched_getaffinity(0))
    if cores == 1 or elements < _ELEMENTS_FOR_PROCESSES:
        return []
    return [
        f"--direct_num_workers={min(cores, elements)}",
        "--direct_running_mode=multi_processing",
        "--default_sdk_harness_log_level=ERROR",
    ]


def _create_local_runner(options: Any) -> Any:
    """Return Beam's local FnApiRunner, in pure Python. Its DirectRunner would first try to download another one.

    `options` are parsed PipelineOptions.
    """
    from apache_beam.options.pipeline_options import DirectOptions
    from apache_beam.portability.api import beam_provision_api_pb2 as provision
    from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo, FnApiRunner
    from apache_beam.runners.portability.portable_runner import JobServiceHandle
    from apache_beam.transforms.environments import SubprocessSDKEnvironment

    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    info, environment, direct = provision.ProvisionInfo(pipeline_options=encoded), None, options.view_as(DirectOptions)
    if direct.direct_running_mode == "multi_processing":
        # With this mode, the runner would start workers that outlive a killed parent.
        importlib.import_module("gato_jax.runtime.beam.processes")  # which registers them
        direct.direct_running_mode = "in_memory"
        command = [sys.executable, "-m", _BEAM_WORKER, str(os.getpid())]
        environment = SubprocessSDKEnvironment.from_command_string(f"exec {shlex.join(command)}")
    return FnApiRunner(default_environment=environment, provision_info=ExtendedProvisionInfo(info))


def _import_beam() -> Any:
    """Import and return Apache Beam with its warnings suppressed, because a user cannot act on them."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        import apache_beam
    finally:
        logging.disable(disabled)
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    return apache_beam
