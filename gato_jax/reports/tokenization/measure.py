"""Measurement of all settings of a grid in one pass over the episodes of a dataset.

Errors depend on mu, M and bins, numbers of tokens on the patch: each distinct codec runs once for all settings.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable

import numpy as np

from gato_jax.episodes import Episode, TaskSpec
from gato_jax.reports.continuous import ContinuousSums
from gato_jax.reports.degeneracy import degeneracy_reasons
from gato_jax.reports.errors import ReportError
from gato_jax.reports.tokenization.accumulators import CodecErrors, SeenValues, TextTokens
from gato_jax.reports.tokenization.dimensions import describe_fit, dimensions
from gato_jax.reports.tokenization.findings import Dimension, ExactKey, KeyTokens, Setting, TokenizationReport
from gato_jax.reports.tokenization.grid import Grid
from gato_jax.reports.tokenization.sweep import sweep
from gato_jax.tokenization import (
    ContinuousCodec,
    DiscreteCodec,
    ImageCodec,
    Layout,
    TextCodec,
)
from gato_jax.tokenization.columns import Column
from gato_jax.tokenization.error_context import episode_context, key_context

_SIDES = ("observation", "action")


def measure(
    spec: TaskSpec, episodes: Iterable[Episode], grid: Grid, *, context: int = 1024, available: int | None = None
) -> TokenizationReport:
    """Tokenize episodes under each setting, decode the tokens, and return the errors and numbers of tokens.

    Args:
      spec: the task of the episodes.
      episodes: the episodes; only the steps at which an action was taken are measured.
      grid: the settings.
      context: length of the context in tokens.
      available: number of episodes of the dataset; None if it is not known.

    Raises:
      TokenizationError: a setting cannot represent a key of the task, or a value has no token; the message names the
        key and, for a value, the episode and the step.
      ReportError: no episode has a step at which an action was taken.
    """
    layouts, article_layouts = (
        [Layout(spec, tokenization) for tokenization in g.tokenizations()] for g in (grid, grid.with_article_formula())
    )
    totals = _Totals(spec, [*layouts, *article_layouts])
    count = 0
    for episode in episodes:
        totals.add(episode, count)
        count += 1
    if not totals.texts.steps:
        raise ReportError(
            f"Cannot measure {spec.name}: no action was taken in {count} episodes. Record episodes with actions."
        )
    return TokenizationReport(
        dataset=spec.name,
        episodes=count,
        steps=totals.texts.steps,
        context=context,
        available=available,
        settings=tuple(totals.setting(layout, context) for layout in layouts),
        article_settings=tuple(totals.setting(layout, context) for layout in article_layouts),
        sweep=tuple(sweep(grid)),
        exact=tuple(totals.exact(layouts)),
    )


class _Totals:
    """Running statistics of each distinct column of several layouts; columns with equal codecs are shared."""

    def __init__(self, spec: TaskSpec, layouts: list[Layout]):
        self.spec = spec
        columns = dict.fromkeys(column for layout in layouts for column in _columns(layout))
        self.sums: dict[tuple[str, str], ContinuousSums] = {}
        self.errors: dict[Column, CodecErrors] = {}
        self.seen: dict[tuple[str, str], tuple[DiscreteCodec, SeenValues]] = {}
        self.text_codecs: dict[tuple[str, str], TextCodec] = {}
        self.texts = TextTokens()
        for column in columns:
            name = column.side, column.key
            match column.codec:
                case ContinuousCodec() as codec:
                    self.sums.setdefault(name, ContinuousSums(codec.modality))
                    self.errors[column] = CodecErrors(codec)
                case DiscreteCodec() as codec:
                    self.seen[name] = codec, SeenValues(codec.modality)
                case TextCodec() as codec:
                    self.text_codecs[name] = codec

    def add(self, episode: Episode, number: int):
        steps = episode.acting_steps
        values = {("observation", key): array[:steps] for key, array in episode.observation.items()}
        values |= {("action", key): array[:steps] for key, array in episode.action.items()}
        with episode_context(self.spec.name, number):
            for column, errors in self.errors.items():
                with key_context(column.side, column.key):
                    errors.add(values[column.side, column.key])
            for name, (codec, seen) in self.seen.items():
                with key_context(*name):
                    seen.add(codec, values[name])
            lengths = {}
            for name, codec in self.text_codecs.items():
                with key_context(*name):
                    lengths[name] = np.array([len(ids) for ids in codec.encode_each(values[name])], np.int64)
        for name, sums in self.sums.items():
            sums.add(values[name])
        self.texts.add(steps, lengths)

    def setting(self, layout: Layout, context: int) -> Setting:
        """Return the results of one of the layouts, for a context of `context` tokens."""
        errors = [self.errors[column] for column in _columns(layout) if column in self.errors]
        values = sum(e.count * len(e.clipped) for e in errors)
        seen = [e.seen.any(axis=0) for e in errors]
        tokens = self._tokens(layout)
        fixed = {side: sum(c.codec.token_count or 0 for c in _columns(layout) if c.side == side) for side in _SIDES}
        separator = int(layout.has_observation)
        observed = fixed["observation"] + self.texts.most_observed + separator
        mean = math.fsum(key.mean for key in tokens)
        return Setting(
            tokenization=layout.tokenization,
            mean_abs_error=float(sum(e.error_sum.sum() for e in errors) / values) if values else None,
            max_abs_error=float(max(e.error_max.max(initial=0.0) for e in errors)) if values else None,
            clip_rate=float(sum(e.clipped.sum() for e in errors) / values) if values else None,
            bins_used=float(np.any(seen, axis=0).mean()) if values else None,
            tokens_per_step=mean,
            max_tokens_per_step=sum(fixed.values()) + self.texts.most + separator,
            context_share=mean / context,
            max_observation_tokens=observed,
            exceeds_local_positions=observed > layout.tokenization.local_positions - 1,
            tokens=tokens,
            dimensions=tuple(
                dimension
                for column in _columns(layout)
                if column in self.errors
                for dimension in self._dimensions(column)
            ),
        )

    def _dimensions(self, column: Column) -> Iterable[Dimension]:
        name = column.side, column.key
        return dimensions(column, self.errors[column], self.sums[name].moments, self._reasons[name])

    @functools.cached_property
    def _reasons(self) -> dict[tuple[str, str], list[str]]:
        """{(side, key): for each element why it is degenerate} of all continuous keys, after the last episode."""
        return {name: degeneracy_reasons(self.spec, *name, sums) for name, sums in self.sums.items()}

    def _tokens(self, layout: Layout) -> tuple[KeyTokens, ...]:
        """Return the mean number of tokens in a step of each key and of the separator, in the order of a step."""
        keys = []
        for side, key, codec in _columns(layout):
            count = codec.token_count
            mean = self.texts.key_sum[side, key] / self.texts.steps if count is None else float(count)
            keys.append(KeyTokens(side=side, key=key, mean=mean))
        if layout.has_observation:
            keys.insert(len(layout.observation_columns), KeyTokens(side="", key="separator", mean=1.0))
        return tuple(keys)

    def exact(self, layouts: list[Layout]) -> Iterable[ExactKey]:
        """Yield the keys that are not continuous, observations first; images have the fits of all layouts' patches."""
        for side, key, codec in _columns(layouts[0]):
            match codec:
                case DiscreteCodec():
                    counts = self.seen[side, key][1].seen.sum(axis=1).tolist()
                    yield ExactKey(side=side, key=key, kind="discrete", n=codec.modality.n, values=tuple(counts))
                case TextCodec():
                    yield ExactKey(side=side, key=key, kind="text")
                case ImageCodec(modality=image):
                    patches = dict.fromkeys(layout.tokenization.patch for layout in layouts)
                    fits = {patch: describe_fit(ImageCodec(modality=image, patch=patch)) for patch in patches}
                    yield ExactKey(side=side, key=key, kind="image", fits=fits)


def _columns(layout: Layout) -> tuple[Column, ...]:
    return layout.observation_columns + layout.action_columns
