"""The hold of one process on the folder of a run, in which it is the only writer."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

import jax

from gato_jax.checkpoints import CheckpointError, require_place
from gato_jax.runtime import writer_lock
from gato_jax.runtime.atomic_writes import made_folder


@contextlib.contextmanager
def hold_run(workdir: pathlib.Path) -> Iterator[None]:
    """Be the only run that writes a folder during the block.

    The folder is made if it is missing, and removed after the block if it is still empty, as when a run is refused. Of
    several processes of one run, the first one holds the folder for all of them.

    Args:
      workdir: Folder of the run.

    Raises:
      FolderInUseError: Another process writes the folder.
      CheckpointError: The folder is a file, cannot be locked, or is where no checkpoints can be written.
      OSError: The folder cannot be made for another reason.
    """
    require_place(workdir)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(made_folder(workdir))
        except FileExistsError:
            raise CheckpointError(f"{workdir} is a file, expected a folder; name another --workdir") from None
        try:
            if not jax.process_index():
                stack.enter_context(writer_lock(workdir))
        except OSError as error:
            raise CheckpointError(f"{workdir}: {error.strerror}; free space or name another --workdir") from None
        yield
