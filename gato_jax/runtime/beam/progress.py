"""The progress bar of a pipeline, whose workers may run on other machines."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

_POLL_SECONDS = 0.5  # between updates of the progress bar


@contextlib.contextmanager
def progress_bar(title: str, total: int, finished: Callable[[], int], bar_format: str | None = None) -> Iterator[None]:
    """Show a progress bar over episodes inside the `with` block, which a thread updates.

    Args:
      title: text before the bar.
      total: number of episodes.
      finished: function that counts the finished episodes, by what the workers have left on disk. Those that are
        finished before the block count as done.
      bar_format: as of `tqdm.tqdm`; None for its default.
    """
    from tqdm import tqdm

    stop = threading.Event()
    with tqdm(total=total, initial=finished(), desc=title, unit=" episodes", bar_format=bar_format) as bar:

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
