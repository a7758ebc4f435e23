"""A first pass over the recording, where a filter has to know all episodes before it can judge one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gato_jax.episodes import EpisodeDataset
from gato_jax.sources.conversion.filters import Facts, Filter
from gato_jax.sources.conversion.manifest import ConversionError
from gato_jax.sources.conversion.pipeline import run
from gato_jax.sources.conversion.recording import Recording
from gato_jax.sources.conversion.shards import Shard
from gato_jax.sources.reader import SourceError


class _Known(NamedTuple):
    split: str
    position: int
    episode_return: float
    success: int
    digest: int


def choose(
    recording: Recording, shards: Sequence[Shard], filters: Iterable[Filter], beam_options: Sequence[str] = ()
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """What the filters leave out: {split: (N,) bool}, and {filter: how many that those before it kept}.

    Damaged episodes are not judged, nor left out: the conversion will reject them.

    Raises:
      ConversionError: a filter cannot judge this recording.
    """
    known = list(_known(recording, shards, beam_options))
    facts = Facts(
        episode_return=np.array([one.episode_return for one in known], np.float64),
        success=np.array([one.success for one in known], np.int8),
        digest=np.array([one.digest for one in known], np.uint64),
    )
    kept, counts = np.ones(len(known), bool), {}
    for one in filters:
        try:
            keeps = one.keeps(facts)
        except SourceError as error:
            raise ConversionError(f"{recording.spec.name}: {error}") from None
        counts[one.name] = int((kept & ~keeps).sum())
        kept &= keeps
    left_out = {split: np.zeros(len(reader), bool) for split, reader in recording.readers.items()}
    for number in np.flatnonzero(~kept):
        left_out[known[number].split][known[number].position] = True
    return left_out, counts


def _known(recording: Recording, shards: Sequence[Shard], beam_options: Sequence[str]) -> Iterator[_Known]:
    """The readable episodes in order: those of our own datasets from the sidecar, of others by reading them."""
    unknown = [shard for shard in shards if not isinstance(recording.readers[shard.split], EpisodeDataset)]
    entries = run(recording.survey, "survey", unknown, recording.manifest, beam_options)
    for split, reader in recording.readers.items():
        if isinstance(reader, EpisodeDataset):
            index = reader.index
            columns = (index.episode_return.tolist(), index.success.tolist(), index.digest.tolist())
            yield from (_Known(split, *one) for one in zip(range(len(reader)), *columns, strict=True))
            continue
        for entry in (entry for shard, entry in entries.items() if shard.split == split):
            for position, row in zip(entry.positions, entry.rows, strict=True):
                yield _Known(split, position, row.episode_return, row.success, row.digest)
