"""Suite: the tasks of one simulator or package, with their specs, environments, packages and licence."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Collection, Mapping

from gato_jax.environments.base import Environment
from gato_jax.episodes import TaskSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class FurtherTasks:
    """Tasks of a suite that are not listed, because other packages and users register them at run time.

    Attributes:
      names: Function from the name of a task, without the suite, to the names of all tasks that are registered once the
        module that the name names is imported. The name is that of a task if it is among them.
      packages_of: Function that returns {module: pip package} of a task.
      description: Spelling of the names, as `gato tasks` prints it.
    """

    names: Callable[[str], Collection[str]]
    packages_of: Callable[[str], Mapping[str, str]]
    description: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suite:
    """The tasks of one suite.

    Only `load` and `further`, and `spec` where it asks the simulator, import the suite's packages.

    Attributes:
      name: Name of the suite, the part of a task's name before the slash.
      tasks: Names of the tasks without the suite, the part after the slash.
      packages: {module that the suite imports: pip package that contains it}.
      licence: Licence of these packages, for the provenance of episodes that are played with them.
      spec: Function that returns the TaskSpec of a task, which is named without the suite.
      load: Function that returns a new environment of a task, which is named without the suite.
      specs_in_table: True if `spec` asks the simulator, so that the registry reads the committed table instead.
      scores_of: Name of a suite whose tasks of the same names have the same dynamics and rewards, so that its random
        and human scores hold here as well; None if there is none. Such suites differ in their observations only.
      rendered: True if the observations hold images that the renderer of the process draws, see `rendering`.
      obstacle: Function that returns why none of the tasks runs here, with the remedy, empty if they do; for what is no
        Python package. None if there is nothing of that kind.
      further: Tasks beside the listed ones; None if there are none.
      remedy: Command that installs the packages, if `pip install` of them does not do; None otherwise.
    """

    name: str
    tasks: tuple[str, ...]
    packages: Mapping[str, str]
    licence: str
    spec: Callable[[str], TaskSpec]
    load: Callable[[str], Environment]
    specs_in_table: bool = False
    scores_of: str | None = None
    rendered: bool = False
    obstacle: Callable[[], str] | None = None
    further: FurtherTasks | None = None
    remedy: str | None = None

    def missing(self) -> list[str]:
        """Return the names of the suite's pip packages whose module is not installed; versions are not checked."""
        return [pip for module, pip in self.packages.items() if not _is_installed(module)]

    def packages_of(self, task: str) -> Mapping[str, str]:
        """Return {module: pip package} of a task, listed or not."""
        return self.packages if task in self.tasks or self.further is None else self.further.packages_of(task)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that contains the module is missing
        return False
