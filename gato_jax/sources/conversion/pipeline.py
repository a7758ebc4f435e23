"""Shards to workers on Apache Beam: two processes on two cores as well as a cluster, each shard on its own."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gato_jax.episodes import StoreError
from gato_jax.sources.conversion.manifest import ConversionError, Kind, Manifest, ShardEntry
from gato_jax.sources.conversion.shards import Shard

_POLL_SECONDS = 0.5
_SHARDS_FOR_PROCESSES = 4  # a process needs as long to start as one shard takes

Work = Callable[[Shard], ShardEntry]


def run(
    work: Work, kind: Kind, shards: Sequence[Shard], manifest: Manifest, options: Sequence[str] = ()
) -> dict[Shard, ShardEntry]:
    """Does the work on every shard that is not finished, under a progress bar; returns the entries of all, in order.

    Args:
      work: a picklable function of the shard, which writes the entry. Two workers may do it for one shard.
      kind: of the entries.
      shards: of the whole recording.
      manifest: where the entries are; every worker has to see its folder.
      options: of Beam, as `--runner=FlinkRunner`. Without any, one process for each core of this machine.

    Raises:
      StoreError: the disk refuses.
      ConversionError: Beam does not know an option.
    """
    entries = manifest.finished(kind, shards)
    if unfinished := [shard for shard in shards if shard not in entries]:
        with _watched(kind, shards, manifest):
            run_on_beam(work, kind, unfinished, options)
            for shard in unfinished:
                if (entry := manifest.entry(kind, shard)) is None:
                    # A worker could not write it. Here, once more, the disk says in one sentence what is wrong.
                    entry = work(shard)
                entries[shard] = entry
    return {shard: entries[shard] for shard in shards}


def check_options(options: Sequence[str]):
    """Raises ConversionError where Beam does not know an option, or cannot do with them."""
    _pipeline(0, options)


def run_on_beam(work: Work, kind: Kind, shards: Sequence[Shard], options: Sequence[str]):
    """Has workers do what they can; what the disk refuses them they leave undone."""
    beam = _import_beam()

    with _pipeline(len(shards), options) as pipeline:
        _ = pipeline | beam.Create(shards, reshuffle=False) | beam.Reshuffle() | kind >> beam.Map(_attempt, work)


def _attempt(shard: Shard, work: Work):
    with contextlib.suppress(StoreError):
        work(shard)


def _pipeline(shards: int, options: Sequence[str]) -> Any:
    """An empty pipeline for so many shards."""
    beam = _import_beam()
    from apache_beam.options.pipeline_options import StandardOptions

    given, runner = _parse(options), None
    if given.view_as(StandardOptions).runner is None:
        given = _parse([*_local_options(shards), *options])
        runner = _local_runner(given)
    try:
        return beam.Pipeline(runner=runner, options=given)
    except (AttributeError, ImportError, ValueError) as error:
        raise ConversionError(f"Apache Beam: {error}") from None


def _parse(options: Sequence[str]) -> Any:
    from apache_beam.options.pipeline_options import PipelineOptions

    parsed, said = PipelineOptions(list(options)), io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            known = parsed.get_all_options()
            unknown = parsed.get_all_options(retain_unknown_options=True).keys() - known.keys()
    except SystemExit:  # argparse
        raise ConversionError(f"Apache Beam: {said.getvalue().strip().rpartition('error: ')[2]}") from None
    if unknown:
        raise ConversionError(f"Apache Beam has no option {', '.join(sorted(unknown))}; see its PipelineOptions")
    return parsed


def _local_options(shards: int) -> list[str]:
    """As many processes on this machine as are worth their start."""
    cores = len(os.sched_getaffinity(0))
    if cores == 1 or shards < _SHARDS_FOR_PROCESSES:
        return []
    return [
        f"--direct_num_workers={min(cores, shards)}",
        "--direct_running_mode=multi_processing",
        "--default_sdk_harness_log_level=ERROR",
    ]


def _local_runner(options: Any) -> Any:
    """Beam's runner in Python, its workers told the options. Its DirectRunner would first try to download another."""
    from apache_beam.portability.api import beam_provision_api_pb2 as provision
    from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo, FnApiRunner
    from apache_beam.runners.portability.portable_runner import JobServiceHandle

    said = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    return FnApiRunner(provision_info=ExtendedProvisionInfo(provision.ProvisionInfo(pipeline_options=said)))


def _import_beam() -> Any:
    """Beam, without the warnings of its that nothing can be done about."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        import apache_beam
    finally:
        logging.disable(disabled)
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    return apache_beam


@contextlib.contextmanager
def _watched(kind: Kind, shards: Sequence[Shard], manifest: Manifest) -> Iterator[None]:
    """A progress bar over episodes, which a thread moves as entries appear: workers may be anywhere."""
    from tqdm import tqdm

    def finished() -> int:
        done = manifest.names(kind)
        return sum(len(shard) for shard in shards if shard.name in done)

    stop, begun, total = threading.Event(), finished(), sum(map(len, shards))
    what = f"{kind} {manifest.directory.parent.name}"
    with tqdm(total=total, initial=begun, desc=what, unit=" episodes") as bar:

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
