"""The fields that a recording holds, for messages, for the list of what is left out, and to propose fields from."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence

from gato_jax.sources.fields import Fields
from gato_jax.sources.reader import Omission, SourceError

_LISTED = 60


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundField:
    """A field that a recording holds.

    Attributes:
      path: its path, by which `Fields` name it.
      kind: name of a NumPy dtype, "text", or "image" for encoded images; any other word if the reader does not read it.
      shape: shape of the value at one step, as far as it is known; -1 for an axis whose length may differ.
      per_episode: whether it holds one value for a whole episode.
      note: more about it, such as a number of messages.
    """

    path: str
    kind: str
    shape: tuple[int, ...] = ()
    per_episode: bool = False
    note: str = ""

    def describe(self) -> str:
        """Return kind, shape and note, such as "float32 (7,)"."""
        shape = f" ({', '.join(map(str, self.shape))}{',' if len(self.shape) == 1 else ''})" if self.shape else ""
        each = " for each episode" if self.per_episode else ""
        return f"{self.kind}{shape}{each}{f', {self.note}' if self.note else ''}"


class MissingFieldsError(SourceError):
    """A recording whose fields nobody has described.

    Attributes:
      contents: the fields that it holds.
    """

    def __init__(self, message: str, contents: Sequence[FoundField] = ()):
        super().__init__(message)
        self.contents = tuple(contents)


def missing_fields(source: str, contents: Iterable[FoundField], problem: str = "") -> MissingFieldsError:
    """Return the error that a recording needs fields, with a list of what is there and the remedy.

    Args:
      source: KIND:PATH of the recording.
      contents: the fields that it holds.
      problem: why its own are not enough, if it has some.
    """
    contents = tuple(contents)
    listed = "; ".join(f"{field.path} ({field.describe()})" for field in contents[:_LISTED])
    more = f"; and {len(contents) - _LISTED} more" if len(contents) > _LISTED else ""
    return MissingFieldsError(
        f"cannot open {source}: fields is None, expected the meaning of its fields"
        f"{f', because {problem}' if problem else ''}. Pass fields (--fields=FILE) or write fields.json beside it; "
        f"`gato convert --source='{source}' --propose_fields=FILE` writes one to start from. It holds: "
        f"{listed or 'nothing'}{more}",
        contents,
    )


def unnamed_fields(
    where: str, contents: Iterable[FoundField], fields: Fields, read: Collection[str] = ()
) -> list[Omission]:
    """Return an omission of each field of a recording that `fields` do not name.

    Args:
      where: the recording, the beginning of each location.
      contents: the fields that it holds.
      fields: the fields that are read.
      read: paths that are read although the fields do not name them, such as flags of the format.
    """
    named = {path.name for path, _ in fields.paths} | set(read)

    def is_read(path: str) -> bool:
        return path in named or any(
            path.startswith(f"{name}{mark}") or name.startswith(f"{path}{mark}") for name in named for mark in "/:."
        )

    return [
        Omission(f"{where}: {field.path}", f"no field names it; it is {field.describe()}")
        for field in contents
        if not is_read(field.path)
    ]
