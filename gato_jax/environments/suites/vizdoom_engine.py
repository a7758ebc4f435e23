"""ViZDoom's engine: a process that plays one level, and that ends whenever the process that started it ends."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import psutil

# ViZDoom's own engine waits for ever if its controller is killed. This shell waits for the end of its standard input,
# which the kernel closes when the controller ends, and then kills the engine and removes what it has left.
_WATCH = 'read -r _; kill -9 "$1" 2>/dev/null; shift; rm -rf "$@"'
_SHARED_MEMORY = pathlib.Path("/dev/shm")
_SHARED_NAMES = ("ViZDoomMQCtr", "ViZDoomMQDoom", "ViZDoomSM")
_OWN_FOLDER = pathlib.Path("_vizdoom")  # the engine makes it in the working directory, and leaves it empty
_starting = threading.Lock()


class Thing(NamedTuple):
    """Something in a level: its number in the engine, the name of its kind, and its position (2,)."""

    number: int
    name: str
    position: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """Positions in a level, in the units of its map.

    Attributes:
      position: Position of the player, (2,).
      angle: Direction in which the player looks, in degrees counterclockwise from the first axis.
      things: All objects, the player included; the names of corpses begin with `Dead`.
      walls: Ends of the walls, (n, 4): both coordinates of one end, then of the other.
    """

    position: np.ndarray
    angle: float
    things: tuple[Thing, ...]
    walls: np.ndarray


class Engine:
    """A started engine without window and sound.

    Args:
      level: Name of a scenario that comes with ViZDoom.
      buttons: Names of the buttons that `act` holds.
      height: Height of the screen, in pixels, one that ViZDoom has.
      width: Width of the screen.
    """

    def __init__(self, level: str, buttons: Sequence[str], *, height: int, width: int):
        import vizdoom

        folder = tempfile.mkdtemp(prefix="vizdoom.")
        self._game = vizdoom.DoomGame()
        self._game.load_config(str(pathlib.Path(vizdoom.scenarios_path, f"{level}.cfg")))
        self._game.set_doom_config_path(str(pathlib.Path(folder, "vizdoom.ini")))
        self._game.set_window_visible(False)
        self._game.set_sound_enabled(False)
        self._game.set_mode(vizdoom.Mode.PLAYER)
        self._game.set_screen_format(vizdoom.ScreenFormat.RGB24)
        self._game.set_screen_resolution(getattr(vizdoom.ScreenResolution, f"RES_{width}X{height}"))
        self._game.set_available_buttons([getattr(vizdoom.Button, button) for button in buttons])
        self._game.set_objects_info_enabled(True)
        self._game.set_sectors_info_enabled(True)
        self._game.set_episode_timeout(0)  # the TaskSpec has the limit
        watch = _start_watched(self._game, folder)
        self._finalizer = weakref.finalize(self, _end, os.getpid(), self._game, watch, folder)

    def start(self, seed: int) -> np.ndarray:
        """Start the episode of a seed and return the first screen, (height, width, 3) uint8."""
        self._game.set_seed(seed)
        self._game.new_episode()
        return self._game.get_state().screen_buffer

    def act(self, pressed: Sequence[bool], tics: int) -> tuple[float, np.ndarray | None]:
        """Hold buttons for some tics, and return the reward and the screen, None if the episode has ended."""
        reward = self._game.make_action(list(pressed), tics)
        return reward, None if self._game.is_episode_finished() else self._game.get_state().screen_buffer

    def scene(self) -> Scene:
        """Return where everything is, during an episode."""
        import vizdoom

        state, read = self._game.get_state(), self._game.get_game_variable
        variables = vizdoom.GameVariable
        lines = (line for sector in state.sectors for line in sector.lines)
        return Scene(
            position=np.array([read(variables.POSITION_X), read(variables.POSITION_Y)]),
            angle=float(read(variables.ANGLE)),
            things=tuple(
                Thing(found.id, found.name, np.array([found.position_x, found.position_y])) for found in state.objects
            ),
            walls=np.array([(line.x1, line.y1, line.x2, line.y2) for line in lines if line.is_blocking]).reshape(-1, 4),
        )

    @property
    def is_player_dead(self) -> bool:
        return self._game.is_player_dead()

    def close(self) -> None:
        self._finalizer()


def _start_watched(game: Any, folder: str) -> subprocess.Popen | None:
    """Start the engine of a game, and the shell that kills it if this process ends without closing it."""
    with _starting:
        before = {child.pid for child in psutil.Process().children()}
        game.init()
        with contextlib.suppress(OSError):  # another engine has removed it, or somebody has put files there
            _OWN_FOLDER.rmdir()
        for child in psutil.Process().children():
            words = child.cmdline() if child.pid not in before else []
            if "+viz_instance_id" in words:
                instance = words[words.index("+viz_instance_id") + 1]
                left = [folder, *(str(_SHARED_MEMORY / f"{name}{instance}") for name in _SHARED_NAMES)]
                return subprocess.Popen(
                    ["sh", "-c", _WATCH, "sh", str(child.pid), *left],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C does not reach it
                )
    return None


def _end(process: int, game: Any, watch: subprocess.Popen | None, folder: str) -> None:
    """End an engine, unless this is another process than the one that started it."""
    if os.getpid() != process:
        return
    game.close()
    if watch is not None and watch.stdin is not None:
        watch.kill()
        watch.stdin.close()
        watch.wait()
    shutil.rmtree(folder, ignore_errors=True)
