"""First pass over a recording, which collects what filters must know of all episodes before the conversion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gato_jax.episodes import EpisodeDataset
from gato_jax.sources.conversion.filters import EpisodeFacts, Filter
from gato_jax.sources.conversion.manifest import ConversionError
from gato_jax.sources.conversion.pipeline import run_shards
from gato_jax.sources.conversion.shard_worker import ShardWorker
from gato_jax.sources.conversion.shards import Shard
from gato_jax.sources.reader import SourceError


class _EpisodeSummary(NamedTuple):
    """Split, position in its reader, and properties of one episode; `success` and `digest` are as in EpisodeFacts."""

    split: str
    position: int
    episode_return: float
    success: int
    digest: int


def apply_filters(
    worker: ShardWorker, shards: Sequence[Shard], filters: Iterable[Filter], beam_options: Sequence[str] = ()
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Return which episodes of a recording its filters drop, and how many each filter drops.

    Each filter judges all episodes, independently of the others. Damaged episodes are neither judged nor excluded,
    because the conversion rejects them.

    Args:
      worker: the readers of the recording, and the work folder.
      shards: all of its shards.
      filters: the filters, in the order in which dropped episodes are counted.
      beam_options: options of Apache Beam.

    Returns:
      {split: (N,) bool}, true for each excluded episode, and {name of a filter: number of episodes that it drops and
      all filters before it keep}.

    Raises:
      ConversionError: the recording lacks a property that a filter judges by.
    """
    episodes = list(_summarize_episodes(worker, shards, beam_options))
    facts = EpisodeFacts(
        episode_return=np.array([one.episode_return for one in episodes], np.float64),
        success=np.array([one.success for one in episodes], np.int8),
        digest=np.array([one.digest for one in episodes], np.uint64),
    )
    kept, counts = np.ones(len(episodes), bool), {}
    for episode_filter in filters:
        try:
            keep = episode_filter.keep_mask(facts)
        except SourceError as error:
            raise ConversionError(f"{worker.spec.name}: {error}") from None
        counts[episode_filter.name] = int((kept & ~keep).sum())
        kept &= keep
    excluded = {split: np.zeros(len(reader), bool) for split, reader in worker.readers.items()}
    for number in np.flatnonzero(~kept):
        excluded[episodes[number].split][episodes[number].position] = True
    return excluded, counts


def _summarize_episodes(
    worker: ShardWorker, shards: Sequence[Shard], beam_options: Sequence[str]
) -> Iterator[_EpisodeSummary]:
    """Yield a summary of each readable episode, split by split, in order.

    An EpisodeDataset stores the summaries. Other recordings are read in full, and the work folder keeps the result.
    """
    unread = [shard for shard in shards if not isinstance(worker.readers[shard.split], EpisodeDataset)]
    entries = run_shards(worker.survey, "survey", unread, worker.manifest, beam_options)
    for split, reader in worker.readers.items():
        if isinstance(reader, EpisodeDataset):
            index = reader.index
            columns = (index.episode_return.tolist(), index.success.tolist(), index.digest.tolist())
            yield from (_EpisodeSummary(split, *one) for one in zip(range(len(reader)), *columns, strict=True))
            continue
        for entry in (entry for shard, entry in entries.items() if shard.split == split):
            for position, row in zip(entry.positions, entry.rows, strict=True):
                yield _EpisodeSummary(split, position, row.episode_return, row.success, row.digest)
