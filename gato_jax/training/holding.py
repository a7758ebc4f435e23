"""The hold of one process on the folder of a run: it is the only writer there, and signals ask it to end in order."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

import jax

from gato_jax.checkpoints import CheckpointError, require_place
from gato_jax.runtime import Interruption, interruptible, writer_lock

GO_ON = "Run the same command again to go on."


@contextlib.contextmanager
def hold_run(workdir: pathlib.Path, farewell: str = GO_ON) -> Iterator[Interruption]:
    """Be the only run that writes a folder during the block, and turn SIGINT and SIGTERM into requests to end.

    Of several processes of one run, the first one holds the folder for all of them.

    Args:
      workdir: Folder of the run.
      farewell: How to go on, which is printed if a signal ends the process at once.

    Raises:
      FolderInUseError: Another process writes the folder.
      CheckpointError: The folder cannot be made, or no checkpoints can be written there.
    """
    require_place(workdir)
    with contextlib.ExitStack() as stack:
        if not jax.process_index():
            try:
                stack.enter_context(writer_lock(workdir))
            except OSError as error:
                raise CheckpointError(f"{workdir}: {error.strerror}; free space or name another --workdir") from None
        yield stack.enter_context(interruptible(farewell))
