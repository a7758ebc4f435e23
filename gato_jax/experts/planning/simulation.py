"""Parallel simulation of action sequences on a copy of a live MuJoCo model, with the sensors that a planner reads."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_NOT_COPIED = ("name", "sensor_", "tex_", "paths")  # what differs with more sensors, and what only a renderer sees


@dataclasses.dataclass(frozen=True)
class Sensor:
    """A quantity that MuJoCo computes for an element of the model; the key by which a value function reads it.

    Attributes:
      kind: Kind of the sensor in MJCF, such as `framepos`, `framezaxis`, `framelinvel`, `subtreelinvel`.
      element: Kind of the element: `body` (its inertial frame), `xbody`, `geom`, `site` or `joint`.
      name: Name of the element.
    """

    kind: str
    element: str
    name: str


@dataclasses.dataclass(frozen=True, eq=False)
class Readings:
    """States of simulated sequences. The leading axes of all arrays are the same, (samples, horizon) in a plan.

    Attributes:
      model: MjModel with the parameters of this episode, such as sizes and the places of targets.
      qpos: Positions, (..., nq).
      qvel: Velocities, (..., nv).
      action: Controls that led to the states, (..., nu).
    """

    model: Any
    qpos: np.ndarray
    qvel: np.ndarray
    action: np.ndarray
    _sensordata: np.ndarray
    _slices: Mapping[Sensor | str, slice]

    def __getitem__(self, sensor: Sensor | str) -> np.ndarray:
        """Return the readings (..., dimension) of a sensor of the objective, or of the model's own by its name.

        Raises:
          KeyError: The objective does not list the sensor, and the model has none of this name.
        """
        return self._sensordata[..., self._slices[sensor]]

    def position(self, joint: str) -> np.ndarray:
        """Return the position (...) of a hinge or slide joint."""
        return self.qpos[..., self.model.joint(joint).qposadr[0]]

    def velocity(self, joint: str) -> np.ndarray:
        """Return the velocity (...) of a hinge or slide joint."""
        return self.qvel[..., self.model.joint(joint).dofadr[0]]


def last_compiled_spec(model: Any, assets: Mapping[str, bytes] | None = None) -> Any:
    """Return the MjSpec of the model that this process has just compiled from XML.

    Args:
      model: The MjModel; no other model may have been compiled since.
      assets: Contents of the files that the XML names.
    """
    import mujoco

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.xml"
        mujoco.mj_saveLastXML(str(path), model)  # pyright: ignore[reportAttributeAccessIssue]  it has no stubs
        text = path.read_text()
    return mujoco.MjSpec.from_string(text, assets=dict(assets or {}))  # pyright: ignore[reportAttributeAccessIssue]


def default_threads() -> int:
    """Return the number of cores of this process, or 1 in a worker, beside which others play."""
    return 1 if multiprocessing.parent_process() else len(os.sched_getaffinity(0))


class Simulator:
    """Simulation of many action sequences from one state, on a copy of a model that has more sensors.

    The results do not depend on the number of threads. The live model and state are only read.

    Args:
      spec: MjSpec of the live model, to which the sensors are added.
      sensors: Sensors to read.
      threads: Number of threads; None takes `default_threads`.
    """

    def __init__(self, spec: Any, sensors: Sequence[Sensor], *, threads: int | None = None):
        import mujoco
        from mujoco import rollout

        for sensor in sensors:
            spec.add_sensor(
                name=_sensor_name(sensor),
                type=getattr(mujoco.mjtSensor, f"mjSENS_{sensor.kind.upper()}"),  # pyright: ignore[reportAttributeAccessIssue]
                objtype=getattr(mujoco.mjtObj, f"mjOBJ_{sensor.element.upper()}"),  # pyright: ignore[reportAttributeAccessIssue]
                objname=sensor.name,
            )
        self.model = spec.compile()
        self._slices = _sensor_slices(self.model, sensors)
        threads = threads or default_threads()
        self._datas = [mujoco.MjData(self.model) for _ in range(threads)]  # pyright: ignore[reportAttributeAccessIssue]
        self._rollout = rollout.Rollout(nthread=threads if threads > 1 else 0)

    def copy_parameters(self, live: Any, coarsening: int = 1) -> None:
        """Give the copy the numbers of the live MjModel, such as those of a random body and of a drawn target.

        Args:
          live: MjModel that was compiled from the same description.
          coarsening: Factor on the time step of the live model.

        Raises:
          ValueError: The live model has other elements.
        """
        for size in ("nq", "nv", "nu", "na", "nbody", "ngeom", "nsite", "njnt"):
            if getattr(live, size) != getattr(self.model, size):
                raise ValueError(
                    f"planner: {size} of the live model is {getattr(live, size)}, expected "
                    f"{getattr(self.model, size)}. Give the simulator the description of the same model."
                )
        for field in _numeric_fields(self.model):
            np.copyto(getattr(self.model, field), getattr(live, field))
        for field in (field for field in dir(live.opt) if not field.startswith("_")):
            value = getattr(live.opt, field)
            if isinstance(value, np.ndarray):
                np.copyto(getattr(self.model.opt, field), value)
            elif isinstance(value, int | float):
                setattr(self.model.opt, field, value)
        self.model.opt.timestep = live.opt.timestep * coarsening

    def simulate(self, live: Any, actions: np.ndarray, substeps: int) -> Readings:
        """Simulate action sequences from the state of the live MjData.

        Args:
          live: MjData, which is not changed.
          actions: Controls, (samples, horizon, nu), each held for `substeps` steps of the simulator.
          substeps: Number of steps of the simulator for each action.

        Returns:
          Readings of (samples, horizon) after each action.
        """
        state = _state(self.model, live)
        samples = len(actions)
        # One step more than the actions need: its sensors, computed before it moves, are those after the last action.
        controls = np.repeat(actions, substeps, axis=1)
        controls = np.concatenate([controls, controls[:, -1:]], axis=1)
        states, sensordata = self._rollout.rollout(
            self.model,
            self._datas,
            np.tile(state, (samples, 1)),
            controls,
            initial_warmstart=np.tile(live.qacc_warmstart, (samples, 1)),
        )
        states = np.asarray(states)[:, substeps - 1 : -1 : substeps]
        split = 1 + self.model.nq  # a full state begins with time, positions, velocities
        return Readings(
            model=self.model,
            qpos=states[..., 1:split],
            qvel=states[..., split : split + self.model.nv],
            action=actions,
            _sensordata=np.asarray(sensordata)[:, substeps::substeps],
            _slices=self._slices,
        )

    def read(self, live: Any) -> Readings:
        """Return the readings of the state of the live MjData itself, with arrays without leading axes."""
        import mujoco

        data = self._datas[0]
        kind = mujoco.mjtState.mjSTATE_FULLPHYSICS  # pyright: ignore[reportAttributeAccessIssue]  it has no stubs
        mujoco.mj_setState(self.model, data, _state(self.model, live), kind)  # pyright: ignore[reportAttributeAccessIssue]
        data.ctrl[:] = live.ctrl
        mujoco.mj_forward(self.model, data)  # pyright: ignore[reportAttributeAccessIssue]
        return Readings(
            model=self.model,
            qpos=data.qpos.copy(),
            qvel=data.qvel.copy(),
            action=data.ctrl.copy(),
            _sensordata=data.sensordata.copy(),
            _slices=self._slices,
        )


def _state(model: Any, live: Any) -> np.ndarray:
    """Return the full physics state of a live MjData, whose model has the same state as `model`."""
    import mujoco

    kind = mujoco.mjtState.mjSTATE_FULLPHYSICS  # pyright: ignore[reportAttributeAccessIssue]  it has no stubs
    state = np.zeros(mujoco.mj_stateSize(model, kind))  # pyright: ignore[reportAttributeAccessIssue]
    mujoco.mj_getState(model, live, state, kind)  # pyright: ignore[reportAttributeAccessIssue]
    return state


def _sensor_name(sensor: Sensor) -> str:
    return f"planner:{sensor.kind}:{sensor.element}:{sensor.name}"


def _sensor_slices(model: Any, sensors: Sequence[Sensor]) -> dict[Sensor | str, slice]:
    """Return the columns of sensordata of the model's own sensors, by name, and of the added ones."""
    slices: dict[Sensor | str, slice] = {}
    for number in range(model.nsensor):
        start = model.sensor_adr[number]
        slices[model.sensor(number).name] = slice(start, start + model.sensor_dim[number])
    return slices | {sensor: slices[_sensor_name(sensor)] for sensor in sensors}


def _numeric_fields(model: Any) -> list[str]:
    """Return the names of the arrays of parameters that a model shares with a copy that has more sensors."""
    names = (name for name in dir(model) if not name.startswith(("_", *_NOT_COPIED)))
    return [name for name in names if isinstance(getattr(model, name), np.ndarray)]
