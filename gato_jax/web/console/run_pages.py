"""The pages of one run that are made on request: its report, its films and its training rows, token by token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gato_jax.reports import animations, inspector, page, reading
from gato_jax.reports.errors import ReportError
from gato_jax.reports.inspection import inspect_row
from gato_jax.reports.templates import page_environment
from gato_jax.runtime.sessions import FILE as SESSIONS
from gato_jax.training import open_image_tokenizer, open_run_mixture, read_config
from gato_jax.web.console.discovery import METRICS, read_state

MOST_ROWS = 16  # training rows of one page
_FILM_BYTES = 600_000
_REPORT_FILES = (
    "results.json", "finetune.json", "finetune_start.json", "config.json", "data.json", "captions.json",
    "dialogue.json", SESSIONS,
)  # fmt: skip

Signature = tuple[tuple[str, int, int], ...]


def sign_report(folder: Path) -> Signature:
    """Return the state of the files of a run's report; metrics count unless the run is in training."""
    names = [*_REPORT_FILES, *([] if read_state(folder).name == "training" else [METRICS])]
    return _sign([folder / name for name in names] + _arrays(folder, "rollouts") + _arrays(folder, "predictions"))


def sign_films(folder: Path) -> Signature:
    """Return the state of the files of a run's films."""
    return _sign(_arrays(folder, "rollouts"))


def sign_tokens(folder: Path) -> Signature:
    """Return the state of the file that says what a run is trained on."""
    return _sign([folder / "config.json"])


def make_report(folder: Path) -> str:
    """Return the report of a run as HTML.

    Raises:
      ReportError: A file of the run is missing or damaged.
    """
    return page.render(reading.read_run(folder))


def make_films(folder: Path) -> str:
    """Return a page with the films of a run's rollouts; one that cannot be read has its error in its place.

    Raises:
      ReportError: There is none.
    """
    if not (paths := _arrays(folder, "rollouts")):
        raise ReportError(
            f"{folder.name} has no films yet. Run `gato evaluate --workdir={folder}`, which records them."
        )
    environment = page_environment(Path(__file__).parent)
    return environment.get_template("films.html").render(cards=list(_films(paths)))


def make_tokens(folder: Path, first: int, count: int) -> str:
    """Return the page of the token inspector with some rows that a run trains on.

    Args:
      folder: Folder of the run.
      first: Index of the first row.
      count: Number of rows; fewer are shown at the end of the run.

    Raises:
      ReportError: The run has no such row.
      ConfigError: The config of the run is missing or damaged.
      ValueError: The data of the run cannot be opened.
    """
    config = read_config(folder)
    total = config.steps * config.batch_size
    if not 0 <= first < total:
        raise ReportError(f"the row is {first}, expected 0 to {total - 1} (steps times batch size). Name such a row.")
    mixture, images = open_run_mixture(config, folder), open_image_tokenizer(config, folder)
    rows = range(first, min(first + min(count, MOST_ROWS), total))
    return inspector.render([inspect_row(mixture, row, images) for row in rows])


def _films(paths: list[Path]) -> Iterator[dict[str, object]]:
    for path in paths:
        card = {"task": path.stem.replace("__", "/"), "film": None, "problem": ""}
        try:
            rollout = reading.read_rollout(path)
            film = animations.animate(rollout.frames, _FILM_BYTES)
            card |= {"film": film, "score": rollout.score, "steps": len(rollout.rewards), "seed": rollout.seed}
        except ReportError as error:
            card["problem"] = str(error)
        yield card


def _arrays(folder: Path, name: str) -> list[Path]:
    return sorted((folder / name).glob("*.npz"))


def _sign(paths: list[Path]) -> Signature:
    """Return name, time and size of the files that exist."""
    signature = []
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            continue
        signature.append((str(path), found.st_mtime_ns, found.st_size))
    return tuple(signature)


def notice(title: str, text: str, *, again: bool = False) -> str:
    """Return a short page of a title and a text; with `again` a browser asks for its address again after a second."""
    environment = page_environment(Path(__file__).parent)
    return environment.get_template("notice.html").render(title=title, text=text, again=again)
