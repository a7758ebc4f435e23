"""An environment with the real LeRobot, for slow tests.

LeRobot brings PyTorch, which takes gigabytes: the variable GATO_LEROBOT_PYTHON names the interpreter of an environment
that has it and the others of PACKAGES. Without it, one is made.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import venv

import pytest

CLIENTS = pathlib.Path(__file__).parents[2] / "clients"
PACKAGES = ("lerobot==0.4.4", "gymnasium-robotics==1.4.2", "mujoco==3.3.0")


def lerobot_python(folder: pathlib.Path) -> str:
    """Return the interpreter; skip the test where the package index is not reached."""
    if given := os.environ.get("GATO_LEROBOT_PYTHON"):
        return given
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    installed = subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"cannot install {PACKAGES}: {installed.stderr[-200:]}")
    return python


def install_clients(folder: pathlib.Path) -> pathlib.Path:
    """Install our client and the policy for LeRobot into a folder, and return it."""
    shutil.copytree(CLIENTS, folder / "sources")  # pip builds beside the sources
    packages = [folder / "sources" / name for name in ("gato_jax_client", "lerobot_policy_gato")]
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, *packages]
    installed = subprocess.run(command, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"cannot build {packages}: {installed.stderr[-300:]}")
    return folder
