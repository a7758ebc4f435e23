"""What a made checkpoint is about, the shapes to restore it into, and damage to it."""

import jax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from gato_jax.tokenization import Contract
from tests.model.made_model import TINY
from tests.tokenization.made_tasks import ALL

CONTRACT = Contract.of(TINY.tokenization, ALL)
RUN = {"seed": 3, "optimizer": {"ema_decay": None}, "memory_steps": {"made/control": 2, "made/game": None}}
ABOUT = {"contract": CONTRACT, "model": TINY, "run": RUN}


def shapes_on(mesh, state):
    """The state's shapes, spread over fsdp where their first axis divides."""

    def place(leaf):
        spread = leaf.ndim > 1 and leaf.shape[0] % mesh.shape["fsdp"] == 0
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, P("fsdp") if spread else P()))

    return jax.tree.map(place, state)


def flip(path, bit):
    """Change one bit of a file, counted from its first."""
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def largest_file(folder):
    """The file below a folder that has most bytes: arrays, where the folder is one of arrays."""
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
