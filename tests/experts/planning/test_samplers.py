import numpy as np
import pytest

from gato_jax.experts.planning import CEM, MPPI, ColouredNoise, PredictiveSampling, SplinedNoise

HORIZON, SIZE = 24, 3
SAMPLERS = [
    PredictiveSampling(noise=SplinedNoise(knots=6, order="cubic"), sigma=0.5, fine=0.2),
    PredictiveSampling(noise=SplinedNoise(knots=6, order="hold"), sigma=0.5, fine=0.2, fresh=0.25),
    MPPI(noise=SplinedNoise(knots=6), sigma=0.5),
    CEM(noise=ColouredNoise(exponent=2.0), sigma=0.5),
    CEM(noise=ColouredNoise(exponent=3.0), sigma=0.5, execute_best=False),
]


@pytest.fixture
def generator():
    return np.random.default_rng(0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_climbs_within_the_limits(sampler, generator):
    goal = 0.8 * np.sin(np.linspace(0, 3, HORIZON))[:, None] * np.array([1.0, -1.0, 0.5])
    search = sampler.start(HORIZON, SIZE)
    distances = [np.square(search.plan - goal).mean()]
    for _ in range(30):
        sequences = sampler.propose(search, 32, generator)
        assert sequences.shape == (32, HORIZON, SIZE) and np.abs(sequences).max() <= 1
        np.testing.assert_array_equal(sequences[0], search.mean)
        search = sampler.refine(search, sequences, -np.square(sequences - goal).sum(axis=(1, 2)))
        distances.append(np.square(search.plan - goal).mean())
    assert distances[-1] < 0.3 * distances[0]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_warm_start_continues_the_plan(sampler, generator):
    sequences = sampler.propose(sampler.start(HORIZON, SIZE), 16, generator)
    search = sampler.refine(sampler.start(HORIZON, SIZE), sequences, generator.standard_normal(16))
    shifted = sampler.shift(search, 3)
    for before, after in ((search.plan, shifted.mean), *zip(search.elites, shifted.elites, strict=True)):
        np.testing.assert_array_equal(after[:-3], before[3:])
        np.testing.assert_array_equal(after[-3:], np.tile(before[-1], (3, 1)))
    np.testing.assert_array_equal(shifted.deviation, np.full((HORIZON, SIZE), sampler.sigma))
    proposed = sampler.propose(shifted, 16, generator)
    for elite in shifted.elites:
        assert (proposed == elite).all(axis=(1, 2)).any()


@pytest.mark.parametrize("horizon", [31, 32])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.5])
def test_the_spectrum_of_coloured_noise(horizon, exponent, generator):
    noise = ColouredNoise(exponent=exponent).draw(generator, 2000, horizon, 2)
    assert noise.shape == (2000, horizon, 2)
    np.testing.assert_allclose(noise.std(), 1.0, rtol=0.05)
    power = (np.abs(np.fft.rfft(noise, axis=1)) ** 2).mean(axis=(0, 2))[1 : (horizon - 1) // 2]
    frequencies = np.fft.rfftfreq(horizon)[1 : (horizon - 1) // 2]
    slope = np.polyfit(np.log(frequencies), np.log(power), 1)[0]
    np.testing.assert_allclose(slope, -exponent, atol=0.1)


@pytest.mark.parametrize("order", ["hold", "linear", "cubic"])
def test_splines_pass_through_their_knots(order):
    knots = np.random.default_rng(3).standard_normal((5, 4, 2))
    noise = SplinedNoise(knots=4, order=order).draw(np.random.default_rng(3), 5, 22, 2)
    steps = [0, 6, 11, 17] if order == "hold" else [0, 7, 14, 21]
    np.testing.assert_allclose(noise[:, steps], knots, atol=1e-12)
