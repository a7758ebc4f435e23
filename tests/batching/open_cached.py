"""`python -m tests.batching.open_cached DATASET`: opens the cached records, and says how many shards it wrote."""

import logging
import sys

from gato_jax.batching import cached_records, record_writer
from gato_jax.episodes import open_dataset
from gato_jax.tokenization import Tokenization

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)  # absl has set a handler
    written = []
    write_shard = record_writer._write_shard

    def count(job, layout, number, *rest):
        written.append(number)
        write_shard(job, layout, number, *rest)

    record_writer._write_shard = count
    records = cached_records(open_dataset(sys.argv[1]), Tokenization(), workers=1)
    print(len(written), records.tokens, records.timesteps(0, 1)[0].token_ids.sum())
