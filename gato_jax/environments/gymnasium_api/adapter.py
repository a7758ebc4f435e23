"""Any task as a Gymnasium environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gato_jax.environments.base import Environment, MissingPackageError

if TYPE_CHECKING:
    from gato_jax.environments.gymnasium_api.env import TaskEnv


def as_gymnasium(task: str | Environment, *, render_mode: str | None = None) -> TaskEnv:
    """Return a task as a `gymnasium.Env`.

    A side of the task with a single key has the space of that key; one with several keys is a Dict of flat keys
    `a/b`. An Image is a Box of uint8, Continuous a Box of float32 with the same limits, Discrete a Discrete or
    MultiDiscrete, Text a Text.

    `reset(seed=n)` starts the episode of seed n; a reset without a seed starts that of the next seed, first 0. `info`
    holds `success` where the task has a criterion of it, and on reset the episode's drawn parameters as `variation`.
    `gymnasium.make_vec(result.spec)` makes several environments of a task that was given by name.

    Args:
      task: Name `suite/task`, or an environment, which the result then owns and closes.
      render_mode: `rgb_array` for frames from `render`, None for none.

    Raises:
      UnknownTaskError: No task has this name.
      MissingPackageError: Gymnasium or a package of the task is not installed.
      ValueError: `render_mode` is another one.
    """
    try:
        from gato_jax.environments.gymnasium_api.env import TaskEnv
    except ModuleNotFoundError as error:
        if error.name != "gymnasium":
            raise
        raise MissingPackageError("as_gymnasium needs Gymnasium, which is missing: pip install gymnasium") from None
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"as_gymnasium: render_mode is {render_mode!r}, expected None or 'rgb_array'. Choose one.")
    return TaskEnv(task, render_mode)
