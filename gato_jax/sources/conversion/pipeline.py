"""Execution of the work on all shards with Apache Beam, in local processes or on a cluster."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence

from gato_jax.episodes import StoreError
from gato_jax.runtime import beam
from gato_jax.sources.conversion.manifest import ConversionError, Manifest, Phase, ShardEntry
from gato_jax.sources.conversion.shards import Shard

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
    with _conversion_errors():
        beam.check_options(options)


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
    with _conversion_errors():
        beam.run_pipeline(functools.partial(_attempt, work=work), phase, shards, options)


def _attempt(shard: Shard, work: Work):
    """Process a shard, and ignore a StoreError of a failing disk, which `run_shards` reports."""
    with contextlib.suppress(StoreError):
        work(shard)


@contextlib.contextmanager
def _conversion_errors() -> Iterator[None]:
    """Raise a BeamError of the block as a ConversionError with the same message."""
    try:
        yield
    except beam.BeamError as error:
        raise ConversionError(str(error)) from None


@contextlib.contextmanager
def _progress_bar(phase: Phase, shards: Sequence[Shard], manifest: Manifest) -> Iterator[None]:
    """Show a progress bar over the episodes of all shards, inside the `with` block.

    Episodes of shards that were finished before count as done.
    """

    def finished() -> int:
        done = manifest.finished_names(phase)
        return sum(len(shard) for shard in shards if shard.name in done)

    with beam.progress_bar(f"{phase} {manifest.directory.parent.name}", sum(map(len, shards)), finished):
        yield
