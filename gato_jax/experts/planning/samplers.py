"""Searches for good action sequences: predictive sampling, MPPI and the cross-entropy method (CEM, iCEM).

A search works on sequences of actions in [-1, 1], of shape (horizon, size), and is deterministic under its generator.
Sums are taken in a fixed order, without BLAS, so that the number of cores has no influence.
"""

from __future__ import annotations

import abc
import dataclasses

import numpy as np

from gato_jax.experts.planning.noise import Noise


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """State of a search.

    Attributes:
      plan: Sequence to execute, (horizon, size).
      mean: Centre of the next samples, (horizon, size).
      deviation: Standard deviation of the next samples, (horizon, size).
      elites: Sequences to be tried again as they are, (elites, horizon, size).
    """

    plan: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    elites: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampler(abc.ABC):
    """A rule that draws action sequences around the last plan and makes a new plan of their values.

    Attributes:
      noise: Noise that separates the samples from the mean.
      sigma: Standard deviation of the noise, as a fraction of half the action range.
      fine: Factor on sigma for the second half of the samples, which refines the plan instead of exploring.
      fresh: Fraction of the samples that are drawn around zero instead of around the plan.
    """

    noise: Noise
    sigma: float
    fine: float = 1.0
    fresh: float = 0.0

    def start(self, horizon: int, size: int) -> Search:
        """Return the state before the first plan, which is zero."""
        zero = np.zeros((horizon, size))
        return Search(plan=zero, mean=zero, deviation=np.full_like(zero, self.sigma), elites=zero[None][:0])

    def shift(self, search: Search, steps: int) -> Search:
        """Return the state after the first `steps` actions were executed: a warm start, with the deviation renewed."""
        plan = _shift(search.plan, steps)
        deviation = np.full_like(plan, self.sigma)
        return Search(plan=plan, mean=plan, deviation=deviation, elites=_shift(search.elites, steps))

    def propose(self, search: Search, samples: int, generator: np.random.Generator) -> np.ndarray:
        """Return sequences (samples, horizon, size): the mean, the elites, and noise around the mean and zero."""
        horizon, size = search.mean.shape
        noise = self.noise.draw(generator, samples, horizon, size)
        scales = np.where(np.arange(samples) < samples // 2, 1.0, self.fine)[:, None, None]
        sequences = search.mean + noise * scales * search.deviation
        fresh = round(self.fresh * samples)
        sequences[samples - fresh :] = noise[samples - fresh :] * self.sigma
        kept = min(len(search.elites), samples - 1)
        sequences[0] = search.mean
        sequences[1 : 1 + kept] = search.elites[:kept]
        return np.clip(sequences, -1.0, 1.0)

    @abc.abstractmethod
    def refine(self, search: Search, sequences: np.ndarray, values: np.ndarray) -> Search:
        """Return the state after the sequences (samples, horizon, size) were found to have these values (samples,)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictiveSampling(Sampler):
    """Predictive sampling (MJPC, arXiv 2212.00541, section 4.3): the plan is the best sample."""

    def refine(self, search: Search, sequences: np.ndarray, values: np.ndarray) -> Search:
        best = sequences[int(np.argmax(values))]
        return dataclasses.replace(search, plan=best, mean=best)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MPPI(Sampler):
    """Model predictive path integral control (arXiv 1509.01149): the plan is the mean of the samples, by value.

    Attributes:
      temperature: Temperature of the exponential weights, as a fraction of the standard deviation of the values.
    """

    fine: float = 0.35
    temperature: float = 0.15

    def refine(self, search: Search, sequences: np.ndarray, values: np.ndarray) -> Search:
        weights = np.exp((values - values.max()) / max(self.temperature * values.std(), 1e-6))
        mean = np.einsum("n,nhu->hu", weights / weights.sum(), sequences)
        return dataclasses.replace(search, plan=mean, mean=mean)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CEM(Sampler):
    """The cross-entropy method with the improvements of iCEM (arXiv 2008.06389): elites stay, the best is executed.

    Attributes:
      elites: Number of best samples to which mean and deviation are fitted.
      kept: Number of elites that are tried again in the next iteration and, shifted, for the next plan.
      momentum: Share of the old mean and deviation in the new ones.
      execute_best: True if the plan is the best sample, False if it is the mean of the elites.
    """

    elites: int = 8
    kept: int = 3
    momentum: float = 0.1
    execute_best: bool = True

    def refine(self, search: Search, sequences: np.ndarray, values: np.ndarray) -> Search:
        order = np.argsort(-values, kind="stable")[: self.elites]
        best = sequences[order]
        mean = self.momentum * search.mean + (1 - self.momentum) * best.mean(axis=0)
        deviation = self.momentum * search.deviation + (1 - self.momentum) * best.std(axis=0)
        plan = best[0] if self.execute_best else mean
        return Search(plan=plan, mean=mean, deviation=deviation, elites=best[: self.kept])


def _shift(sequences: np.ndarray, steps: int) -> np.ndarray:
    """Drop the first steps of sequences (..., horizon, size) and repeat their last action in their place."""
    horizon = sequences.shape[-2]
    return sequences[..., np.minimum(np.arange(horizon) + steps, horizon - 1), :]
