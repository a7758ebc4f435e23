"""Line charts as inline SVG: they take the width of their box and the colours of the page's scheme.

Only the curves are stretched (a nested viewBox, strokes that do not scale). Axes and labels stand at percentages of
the width, so that their type keeps its size from a phone to a desktop.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from gato_jax.reports.summary import short

PALETTE = 8  # colours that the style sheet names --s0 to --s7; beyond them the dashes tell curves apart
_UNITS = 1000  # the stretched viewBox, left to right
_POINTS = 400  # more than the eye and the screen resolve


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """One curve. Without an index into the palette it is drawn last and strongest, in the colour of the text."""

    name: str
    x: np.ndarray
    y: np.ndarray
    index: int | None = None
    noisy: bool = True

    @property
    def smoothed(self) -> np.ndarray:
        """What is drawn strongly; a schedule, which has no noise, is drawn as it is."""
        return smooth(self.y) if self.noisy else self.y

    @property
    def last(self) -> float:
        """Where the smoothed curve ends."""
        finite = self.smoothed[np.isfinite(self.y)]
        return float(finite[-1]) if len(finite) else math.nan

    @property
    def style(self) -> str:
        """The curve's colour, and its dashes where the palette has come round again."""
        if self.index is None:
            return "--c:var(--ink)"
        dash = ("none", "5 3", "1.5 2.5")[self.index // PALETTE % 3]
        return f"--c:var(--s{self.index % PALETTE});--dash:{dash}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Axis:
    """Data to the unit interval, linear or logarithmic, with the ticks that belong to it."""

    low: float
    high: float
    log: bool = False
    count: int = 5

    def __call__(self, value: float | np.ndarray) -> np.ndarray:
        low, high, value = (np.log(v) if self.log else v for v in (self.low, self.high, np.asarray(value, float)))
        return np.asarray((value - low) / (high - low))

    @property
    def ticks(self) -> list[float]:
        if not self.log:
            return _round_ticks(self.low, self.high, self.count)
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        within = (1, 2, 5) if self.high < 1e3 * self.low else (1,)
        ticks = [m * 10.0**d for d in decades for m in within]
        return [tick for tick in ticks if self.low <= tick <= self.high]


def line_chart(
    series: Sequence[Series],
    *,
    label: str,
    height: int = 260,
    log: bool = False,
    log_x: bool = False,
    zero: bool = False,
) -> Markup:
    """Smoothed curves over their faint raw values, with the steps on the horizontal axis.

    `zero` starts the vertical axis there; `log` makes it logarithmic where every value is positive. `log_x` makes the
    horizontal axis logarithmic, from the first x to the last; all must be positive.
    """
    values = np.concatenate([s.y for s in series])
    values = values[np.isfinite(values)]
    if not len(values):
        return Markup('<p class="absent">No finite value was logged.</p>')
    low, high = values.min(), values.max()
    log = log and low > 0
    if not log:
        margin = 0.04 * (high - low) or abs(high) or 1.0
        low, high = (0.0 if zero else low - margin), high + margin
    vertical = (
        _Axis(low=low / 1.05, high=high * 1.05, log=True) if log else _Axis(low=low, high=high, count=height // 45)
    )
    steps = np.concatenate([s.x for s in series])
    horizontal = _Axis(low=steps.min() if log_x else 0.0, high=max(1.0, steps.max()), log=log_x)

    parts = [f'<svg class="chart" height="{height + 22}" role="img" aria-label="{Markup.escape(label)}">']
    for tick in vertical.ticks:
        y = height * (1 - float(vertical(tick)))
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="-8" y="{y + 4:.1f}" text-anchor="end">{short(tick)}</text>')
    for tick in horizontal.ticks:
        x = 100 * float(horizontal(tick))
        anchor = "start" if x < 2 else "end" if x > 96 else "middle"
        parts.append(f'<text class="tick" x="{x:.2f}%" y="{height + 18}" text-anchor="{anchor}">{short(tick)}</text>')
    parts.append(f'<line class="axis" x1="0" x2="100%" y1="{height}" y2="{height}"/>')
    parts.append(f'<svg viewBox="0 0 {_UNITS} {height}" preserveAspectRatio="none" width="100%" height="{height}">')
    for layer, values in (("raw", lambda s: s.y), ("curve", lambda s: s.smoothed)):
        for s in sorted(series, key=lambda s: s.index is None):
            d = curve_path(horizontal(s.x) * _UNITS, height * (1 - vertical(values(s))))
            strong = " strong" if s.index is None else ""
            parts.append(f'<path class="{layer}{strong}" data-s="{s.index}" style="{s.style}" d="{d}"/>')
    parts.append("</svg></svg>")
    return Markup("".join(parts))


def bars(counts: Sequence[int], label: str, *, height: int = 22) -> Markup:
    """A small histogram, the lowest cell on the left, heights as square roots; a single value is still seen."""
    tall = np.sqrt(np.array(counts, float) / max([*counts, 1]))
    tall = np.where(tall > 0, 1.5 + (height - 1.5) * tall, 0.0)
    path = "".join(f"M{i} {height}v-{t:.1f}h1V{height}z" for i, t in enumerate(tall) if t)
    return Markup(
        f'<svg class="bins" viewBox="0 0 {len(tall)} {height}" preserveAspectRatio="none" width="104" '
        f'height="{height}" role="img" aria-label="{Markup.escape(label)}"><path d="{path}"/></svg>'
    )


def smooth(y: np.ndarray) -> np.ndarray:
    """The mean over a window of a thirtieth of the curve, centred (no lag) and narrower at the ends."""
    window = np.ones(2 * (len(y) // 60) + 1)
    if len(window) == 1:
        return y
    finite = np.isfinite(y)
    total = np.convolve(np.where(finite, y, 0.0), window, mode="same")
    count = np.convolve(finite, window, mode="same")
    return np.where(finite, total / np.maximum(count, 1), np.nan)


def curve_path(x: np.ndarray, y: np.ndarray) -> str:
    """The path through finite points, lifted over the others; of many points, each stretch keeps its extremes."""
    if len(x) > _POINTS:
        edges = np.linspace(0, len(x), _POINTS // 2 + 1).astype(int)
        stretches = [(i, y[i:j]) for i, j in zip(edges[:-1], edges[1:], strict=True)]
        keep = sorted({int(i + pick(part)) for i, part in stretches for pick in (np.argmin, np.argmax)})
        x, y = x[keep], y[keep]
    words, pen_down = [], False
    for px, py in zip(x, y, strict=True):
        if np.isfinite(py):
            words.append(f"{'L' if pen_down else 'M'}{px:.1f} {py:.1f}")
        pen_down = bool(np.isfinite(py))
    return "".join(words)


def _round_ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` multiples of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((m * power for m in (1, 2, 5, 10)), key=lambda size: abs(size - raw))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]
