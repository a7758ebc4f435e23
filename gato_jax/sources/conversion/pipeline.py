"""Execution of the work on all shards with Apache Beam, in local processes or on a cluster."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gato_jax.episodes import StoreError
from gato_jax.sources.conversion.manifest import ConversionError, Manifest, Phase, ShardEntry
from gato_jax.sources.conversion.shards import Shard

_POLL_SECONDS = 0.5  # between updates of the progress bar
_SHARDS_FOR_PROCESSES = 4  # with fewer, starting processes takes longer than the work
_BEAM_WORKER = "gato_jax.sources.conversion.beam_worker"

Work = Callable[[Shard], ShardEntry]


def run_shards(
    work: Work, phase: Phase, shards: Sequence[Shard], manifest: Manifest, options: Sequence[str] = ()
) -> dict[Shard, ShardEntry]:
    """Do the work on every unfinished shard, under a progress bar, and return the entries of all shards.

    Args:
      work: picklable function that processes a shard, and writes and returns its entry. Beam may call it twice for one
        shard.
      phase: phase of the conversion that the entries belong to.
      shards: all shards of the recording.
      manifest: folder of the entries. It must be visible to all workers.
      options: options of Beam, such as `--runner=FlinkRunner`. Without a runner, the shards are processed by one local
        process for each core, or in this process if fewer than four shards are unfinished or there is one core.

    Returns:
      {shard: entry}, in the order of `shards`.

    Raises:
      StoreError: the disk is full or not writable.
      ConversionError: an option of Beam is unknown or invalid, or the runner is not available.
    """
    entries = manifest.read_finished(phase, shards)
    if unfinished := [shard for shard in shards if shard not in entries]:
        with _progress_bar(phase, shards, manifest):
            run_on_beam(work, phase, unfinished, options)
            for shard in unfinished:
                if (entry := manifest.read_entry(phase, shard)) is None:
                    # A worker failed to write the entry. Repeating it here raises the error of the disk to the user.
                    entry = work(shard)
                entries[shard] = entry
    return {shard: entries[shard] for shard in shards}


def check_options(options: Sequence[str]):
    """Raise ConversionError if Beam does not know an option, or refuses to create a pipeline. Nothing is run."""
    _create_pipeline(0, options)


def run_on_beam(work: Work, phase: Phase, shards: Sequence[Shard], options: Sequence[str]):
    """Process shards with Beam, and return when all are done.

    A shard whose entry cannot be written to disk is skipped without an error. If a local worker process dies, this
    raises ConversionError.

    Args:
      work: picklable function that processes a shard and writes its entry.
      phase: name of the step in the user interface of Beam.
      shards: the shards to process.
      options: options of Beam.
    """
    beam = _import_beam()

    with _create_pipeline(len(shards), options) as pipeline:
        _ = pipeline | beam.Create(shards, reshuffle=False) | beam.Reshuffle() | phase >> beam.Map(_attempt, work)


def _attempt(shard: Shard, work: Work):
    """Process a shard, and ignore a StoreError of a failing disk, which `run_shards` reports."""
    with contextlib.suppress(StoreError):
        work(shard)


def _create_pipeline(shards: int, options: Sequence[str]) -> Any:
    """Return an empty `beam.Pipeline` with the runner of the options, or a local one that suits the number of shards.

    Raises:
      ConversionError: an option is unknown or invalid, or the runner is not available.
    """
    beam = _import_beam()
    from apache_beam.options.pipeline_options import StandardOptions

    given, runner = _parse_options(options), None
    if given.view_as(StandardOptions).runner is None:
        given = _parse_options([*_local_options(shards), *options])
        runner = _create_local_runner(given)
    try:
        return beam.Pipeline(runner=runner, options=given)
    except (AttributeError, ImportError, ValueError) as error:
        raise ConversionError(f"Apache Beam: {error}") from None


def _parse_options(options: Sequence[str]) -> Any:
    """Parse command-line options into PipelineOptions, or raise ConversionError for unknown ones and invalid values."""
    from apache_beam.options.pipeline_options import PipelineOptions

    parsed, stderr = PipelineOptions(list(options)), io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            known = parsed.get_all_options()
            unknown = parsed.get_all_options(retain_unknown_options=True).keys() - known.keys()
    except SystemExit:  # argparse exits on an invalid value
        raise ConversionError(f"Apache Beam: {stderr.getvalue().strip().rpartition('error: ')[2]}") from None
    if unknown:
        raise ConversionError(f"Apache Beam has no option {', '.join(sorted(unknown))}. See its PipelineOptions.")
    return parsed


def _local_options(shards: int) -> list[str]:
    """Return Beam options for local processes, or none if there is one core or fewer than four shards."""
    cores = len(os.sched_getaffinity(0))
    if cores == 1 or shards < _SHARDS_FOR_PROCESSES:
        return []
    return [
        f"--direct_num_workers={min(cores, shards)}",
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
        importlib.import_module("gato_jax.sources.conversion.beam_processes")  # which registers them
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


@contextlib.contextmanager
def _progress_bar(phase: Phase, shards: Sequence[Shard], manifest: Manifest) -> Iterator[None]:
    """Show a progress bar over the episodes of all shards, inside the `with` block.

    A thread counts the entries in the folder of the manifest, because workers may run on other machines. Episodes of
    shards that were finished before count as done.
    """
    from tqdm import tqdm

    def finished() -> int:
        done = manifest.finished_names(phase)
        return sum(len(shard) for shard in shards if shard.name in done)

    stop, begun, total = threading.Event(), finished(), sum(map(len, shards))
    title = f"{phase} {manifest.directory.parent.name}"
    with tqdm(total=total, initial=begun, desc=title, unit=" episodes") as bar:

        def follow():
            while not stop.wait(_POLL_SECONDS):
                bar.update(finished() - bar.n)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            bar.update(finished() - bar.n)
