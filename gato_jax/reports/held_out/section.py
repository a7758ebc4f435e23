"""The contents of the section on held-out data, and the reader of the episodes that it shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from gato_jax.episodes.errors import describe_error
from gato_jax.reports.animations import Animation, animate
from gato_jax.reports.errors import ReportError
from gato_jax.reports.held_out.drawings import compared_strip, error_bar, horizon_chart
from gato_jax.reports.held_out.records import ActionErrors, HeldOut, Prediction
from gato_jax.runtime.archives import ARCHIVE_ERRORS

_FILM_BYTES = 600_000  # size limit of each animation
_FILMS, _STRIPS = 8, 16  # the most films of a page, and dimensions of a film, those with the largest errors


@dataclasses.dataclass(frozen=True, kw_only=True)
class ErrorDetails:
    """Errors of one dataset by dimension, each with its bar, and by horizon.

    Attributes:
      held: the measurement.
      dimensions: name, errors and bar of each dimension; the largest error comes first.
      horizon: chart of the errors by steps since the start; None if they are not known.
    """

    held: HeldOut
    dimensions: tuple[tuple[str, ActionErrors, Markup], ...]
    horizon: Markup | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Film:
    """One held-out episode with its drawings; `left_out` counts the dimensions that are not shown."""

    prediction: Prediction
    animation: Animation | None
    strips: tuple[Markup, ...]
    left_out: int


def error_details(measured: Sequence[HeldOut]) -> tuple[ErrorDetails, ...]:
    """Return the details of the measurements that have errors by dimension."""
    return tuple(_details(held) for held in measured if held.by_dimension)


def films(predictions: Sequence[Prediction]) -> tuple[Film, ...]:
    """Return the films of at most eight predictions."""
    return tuple(_film(one) for one in predictions[:_FILMS])


def read_predictions(folder: Path, measured: Sequence[HeldOut]) -> tuple[Prediction, ...]:
    """Read the predictions of a run, of the datasets and the agents that were measured.

    Args:
      folder: folder of the files, which may be absent.
      measured: the measurements of the run.

    Raises:
      ReportError: a file is damaged.
    """
    found = []
    for held in measured:
        path = folder / f"{held.name.replace('/', '__')}.npz"
        if held.by_dimension and path.exists():
            prediction = _read_prediction(path, held.name)
            found += [prediction] if held.step in (None, prediction.step) else []
    return tuple(found)


def _read_prediction(path: Path, dataset: str) -> Prediction:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Prediction(
                dataset=dataset,
                frames=arrays["frames"],
                recorded=arrays["recorded"],
                predicted=arrays["predicted"],
                names=tuple(map(str, arrays["names"])),
                low=arrays["low"],
                high=arrays["high"],
                episode=int(arrays["episode"]),
                step=int(arrays["step"]),
            )
    except (ReportError, *ARCHIVE_ERRORS) as error:
        raise ReportError(
            f"{path} holds no predictions ({describe_error(error)}). Run `gato evaluate --held_out`, or delete it."
        ) from None


def _details(held: HeldOut) -> ErrorDetails:
    known = [
        value
        for errors in held.by_dimension.values()
        for value in (errors.value, errors.baseline, errors.repeat_baseline)
        if value is not None
    ]
    ordered = sorted(held.by_dimension.items(), key=lambda item: -item[1].value)
    return ErrorDetails(
        held=held,
        dimensions=tuple((name, errors, error_bar(errors, max(known))) for name, errors in ordered),
        horizon=horizon_chart(held.by_horizon, held.baseline) if held.by_horizon else None,
    )


def _film(prediction: Prediction) -> Film:
    errors = prediction.errors
    shown = sorted(np.argsort(-errors, kind="stable")[:_STRIPS].tolist())
    return Film(
        prediction=prediction,
        animation=animate(prediction.frames, _FILM_BYTES) if len(prediction.frames) else None,
        strips=tuple(
            compared_strip(
                prediction.names[index], prediction.recorded[:, index], prediction.predicted[:, index],
                float(prediction.low[index]), float(prediction.high[index]), float(errors[index]),
            )
            for index in shown
        ),
        left_out=len(errors) - len(shown),
    )  # fmt: skip
