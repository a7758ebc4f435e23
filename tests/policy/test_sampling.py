"""Ways to choose a token: which ids are kept, and that bad settings are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gato_jax.policy import Greedy, Temperature, TopK, TopP
from gato_jax.policy.sampling import choose

LOGITS = jnp.log(jnp.array([[0.1, 0.4, 0.2, 0.3, 0.9], [0.25, 0.25, 0.25, 0.25, 0.9]]))
VALID = jnp.array([[True, True, True, True, False]])


@pytest.mark.parametrize(
    "sampling, first, second",
    [
        (Temperature(), [1, 1, 1, 1, 0], [1, 1, 1, 1, 0]),
        (TopK(k=2), [0, 1, 0, 1, 0], [1, 1, 1, 1, 0]),  # ties are kept
        (TopK(k=9), [1, 1, 1, 1, 0], [1, 1, 1, 1, 0]),
        (TopP(p=0.6), [0, 1, 0, 1, 0], [1, 1, 1, 1, 0]),
        (TopP(p=0.3), [0, 1, 0, 0, 0], [1, 1, 1, 1, 0]),
        (TopP(p=0.6, temperature=0.1), [0, 1, 0, 0, 0], [1, 1, 1, 1, 0]),
        (TopP(p=1.0), [1, 1, 1, 1, 0], [1, 1, 1, 1, 0]),
    ],
    ids=str,
)
def test_the_most_probable_valid_ids_are_kept(sampling, first, second):
    kept = np.broadcast_to(sampling.keep(LOGITS, VALID), (2, 5)).astype(int)
    np.testing.assert_array_equal(kept, [first, second])


def test_only_kept_ids_are_sampled_and_the_most_probable_one_without_temperature():
    keys = jax.random.split(jax.random.key(0), 400)
    logits = jnp.tile(LOGITS[:1], (400, 1))
    drawn = np.asarray(choose(logits, VALID, keys, TopK(k=2)))
    counts = np.bincount(drawn, minlength=5) / 400
    np.testing.assert_allclose(counts, [0, 4 / 7, 0, 3 / 7, 0], atol=0.08)
    for sampling in (Greedy(), Temperature(temperature=0.0), TopK(k=3, temperature=0.0)):
        assert (np.asarray(choose(logits, VALID, keys, sampling)) == 1).all()


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: TopK(k=0), "sampling.k is 0, expected a positive whole number"),
        (lambda: TopP(p=0.0), r"sampling.p is 0.0, expected a number in \(0, 1\]"),
        (lambda: TopP(p=1.5), r"sampling.p is 1.5, expected a number in \(0, 1\]"),
    ],
)
def test_settings_out_of_range_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
