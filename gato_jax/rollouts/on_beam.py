"""The recording of datasets on Apache Beam, in local processes or on the machines of a cluster."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator, Sequence

from gato_jax.environments import load as load_task
from gato_jax.rollouts.actor import Actor
from gato_jax.rollouts.collection import BAR, load_for, plan_overwrites, title
from gato_jax.rollouts.loop import Load
from gato_jax.rollouts.recording import Recording
from gato_jax.rollouts.session import Recorded, RecordingSession
from gato_jax.rollouts.shards import plan_shards, play_shard
from gato_jax.runtime import beam

SHARD_EPISODES = 100


def record_on_beam(
    recordings: Sequence[Recording],
    make_actor: Callable[[], Actor],
    *,
    options: Sequence[str] = (),
    shard_episodes: int = SHARD_EPISODES,
    overwrite: bool = False,
    max_failed: float = 0.0,
    load: Load = load_task,
) -> Generator[Recorded, None, None]:
    """Record several datasets on Beam, and yield the end of each when the pipeline is done.

    The datasets are those of `record_all`, to the byte. A call after a kill keeps the finished shards, and so does
    `record_all`.

    Args:
      recordings: The datasets to record, below a folder that all workers see.
      make_actor: Picklable function that returns a new actor.
      options: Options of Beam, such as `--runner=DataflowRunner`. Without a runner, local processes on all cores play.
      shard_episodes: Largest number of episodes of a shard, which one worker plays.
      overwrite: As in `record_all`.
      max_failed: As in `record_all`; but all episodes are played, however many fail.
      load: Picklable function that returns a new environment of a task.

    Raises:
      StoreError: See `Recording.require_writable`; or the disk refuses.
      FolderInUseError: Another process records there.
      BeamError: An option is not valid, the runner is not available, or a local worker died.
    """
    beam.check_options(options)
    replaced = plan_overwrites(recordings, overwrite)
    with contextlib.ExitStack() as stack:
        sessions = [
            stack.enter_context(RecordingSession(recording, overwrite=overwrite, max_failed=max_failed))
            for recording, overwrite in zip(recordings, replaced, strict=True)
        ]
        shards = [
            shard for session in sessions for shard in plan_shards(session.recording, session.missing, shard_episodes)
        ]
        total = sum(len(recording.seeds) for recording in recordings)
        done = total - sum(len(shard.seeds) for shard in shards)

        def finished() -> int:
            return done + sum(len(shard.seeds) for shard in shards if shard.is_finished)

        if shards:
            work = functools.partial(play_shard, make_actor=make_actor, load=load_for(load, recordings))
            with beam.progress_bar(title(recordings), total, finished, bar_format=BAR):
                beam.run_pipeline(work, "record", shards, options)
        for session in sessions:
            if session.missing:
                session.take_shards()
            yield session.finish()
