"""The errors of damaged .npz files are all listed."""

import io

import numpy as np

from gato_jax.runtime.archives import ARCHIVE_ERRORS


def test_no_other_error_is_raised_whichever_bit_is_changed():
    content = io.BytesIO()
    np.savez_compressed(content, text="many words", numbers=np.arange(9), table=np.zeros((3, 2), np.float32))
    kinds = set()
    for place in range(content.tell()):
        for bit in range(8):
            damaged = bytearray(content.getvalue())
            damaged[place] ^= 1 << bit
            try:
                with np.load(io.BytesIO(damaged), allow_pickle=False) as arrays:
                    [arrays[name] for name in ("text", "numbers", "table")]
            except ARCHIVE_ERRORS as error:
                kinds.add(type(error))
    assert {KeyError, NotImplementedError, RuntimeError, ValueError} <= kinds
