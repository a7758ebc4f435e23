"""Line charts and histograms as inline SVG that fills its container and uses the colours of the page.

Only the curves are stretched (a nested viewBox, strokes that do not scale). Axes and labels are placed at percentages
of the width, so that text has the same size on a phone and on a desktop.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape

from gato_jax.reports.summary import number, short

PALETTE = 8  # number of colours, --s0 to --s7 in the style sheet; further curves repeat them with dashes
_UNITS = 1000  # width of the stretched viewBox
_POINTS = 400  # the most points of a path; more are not visible on a screen
_LINE = 15  # height of a line of labels at the ends of curves, in pixels
_LABEL = 30  # the most characters of a name in such a label
_NEAR_END = 0.97  # a curve that ends before this share of the width has a label without a leader


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """One curve of a line chart.

    Attributes:
      name: the name in the legend.
      x, y: (N,) the points; a y that is not finite is a gap.
      index: index into the palette of 8 colours; from 8 on they repeat with dashes. A curve with None is drawn last, in
        bold and in the colour of the text.
      noisy: whether the bold line is smoothed, which needs 60 points or more; False for a schedule, without noise.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    index: int | None = None
    noisy: bool = True

    @property
    def smoothed(self) -> np.ndarray:
        """The y values of the bold line: smoothed if the series is noisy, else as given."""
        return smooth(self.y) if self.noisy else self.y

    @property
    def last(self) -> float:
        """The last finite value of the smoothed curve, NaN if it has none."""
        finite = self.smoothed[np.isfinite(self.y)]
        return float(finite[-1]) if len(finite) else math.nan

    @property
    def style(self) -> str:
        """The CSS of colour and dashes, such as `--c:var(--s1);--dash:5 3` for index 9; `--c:var(--ink)` for None."""
        if self.index is None:
            return "--c:var(--ink)"
        dash = ("none", "5 3", "1.5 2.5")[self.index // PALETTE % 3]
        return f"--c:var(--s{self.index % PALETTE});--dash:{dash}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Axis:
    """A linear or logarithmic axis from `low` to `high`; calling it maps these to 0 and 1, without clipping.

    `ticks` are its labelled values, about `count` on a linear axis.
    """

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
        span = self.high / self.low
        within = (1, 1.5, 2, 3, 5, 7) if span < 10 else (1, 2, 5) if span < 1e3 else (1,)
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
    end_labels: bool = False,
) -> Markup:
    """Draw curves over a common horizontal axis, each smoothed in bold above its faint raw values.

    Args:
      series: the curves, at least one.
      label: a description of the chart for screen readers.
      height: height of the plot in pixels, without the labels of the horizontal axis.
      log: use a logarithmic vertical axis, if every finite value is positive, and a linear one otherwise.
      log_x: use a logarithmic horizontal axis from the smallest to the largest x; each x must be positive. Otherwise
        the axis is linear and begins at 0.
      zero: start a linear vertical axis at 0.
      end_labels: write the name and the last value of each curve to the right of the plot, where the page leaves room
        for them (class `ends` of the container) or hides them, as on a phone.

    Returns:
      An <svg> element, or a <p> element with a sentence if no value is finite.
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

    parts = [f'<svg class="chart" height="{height + 22}" role="img" aria-label="{escape(label)}">']
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
            kind = layer + (" strong" if s.index is None else "") + (" dot" if np.isfinite(s.y).sum() == 1 else "")
            parts.append(f'<path class="{kind}" data-s="{s.index}" style="{s.style}" d="{d}"/>')
    parts.append("</svg>")
    if end_labels:
        parts.append(_end_labels(series, horizontal, vertical, height))
    return Markup("".join(parts) + "</svg>")


def end_width(series: Sequence[Series]) -> int:
    """Return the width in pixels that the labels at the ends of curves need to the right of the plot."""
    longest = max((min(len(s.name), _LABEL) + 1 + len(number(s.last)) for s in series), default=0)
    return 20 + round(7.4 * longest)


def _end_labels(series: Sequence[Series], horizontal: _Axis, vertical: _Axis, height: int) -> str:
    """Draw the name and last value of each curve at the height at which it ends, moved apart so that none overlap."""
    ended = [s for s in series if math.isfinite(s.last)]
    ends = [height * (1 - float(vertical(s.last))) for s in ended]
    parts = ['<svg class="ends" x="100%" width="1" height="1" overflow="visible">']
    for s, end, place in zip(ended, ends, spread_apart(ends, _LINE, height), strict=True):
        name = s.name if len(s.name) <= _LABEL else f"{s.name[:8]}\N{HORIZONTAL ELLIPSIS}{s.name[9 - _LABEL :]}"
        strong = " strong" if s.index is None else ""
        if float(horizontal(s.x[np.isfinite(s.y)][-1])) >= _NEAR_END:
            parts.append(f'<path class="leader" style="{s.style}" d="M2 {end:.1f}L12 {place:.1f}"/>')
        parts.append(
            f'<text class="end{strong}" data-s="{s.index}" style="{s.style}" x="16" y="{place + 4:.1f}">'
            f"<title>{escape(s.name)}</title>{escape(name)} <tspan>{number(s.last)}</tspan></text>"
        )
    return "".join(parts) + "</svg>"


def spread_apart(places: Sequence[float], gap: float | int, height: float | int) -> list[float]:
    """Return places near the given ones, in the same order, no two of which are nearer than `gap`.

    They lie in [0, height] if there is room for all, and begin at 0 otherwise.
    """
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = list(places)
    lowest = 0.0
    for index in order:  # downwards: none is above the one before
        moved[index] = max(moved[index], lowest)
        lowest = moved[index] + gap
    highest = max(float(height), gap * (len(places) - 1))
    for index in reversed(order):  # upwards again: none is below the plot
        moved[index] = min(moved[index], highest)
        highest = moved[index] - gap
    return moved


def bars(counts: Sequence[int], label: str, *, height: int = 22) -> Markup:
    """Draw a small histogram of `counts` as <svg>, 104 pixels wide and `height` tall, with the first count on the left.

    Heights of bars grow linearly with the square root of the count, from 1.5 pixels, so that a bar with a single value
    stays visible; a count of 0 has no bar. `label` describes the histogram to screen readers.
    """
    tall = np.sqrt(np.array(counts, float) / max([*counts, 1]))
    tall = np.where(tall > 0, 1.5 + (height - 1.5) * tall, 0.0)
    path = "".join(f"M{i} {height}v-{t:.1f}h1V{height}z" for i, t in enumerate(tall) if t)
    return Markup(
        f'<svg class="bins" viewBox="0 0 {len(tall)} {height}" preserveAspectRatio="none" width="104" '
        f'height="{height}" role="img" aria-label="{escape(label)}"><path d="{path}"/></svg>'
    )


def smooth(y: np.ndarray) -> np.ndarray:
    """Return the centred moving average of (N,) values over a window of about N / 30.

    The window is cut off at both ends. Values that are not finite are left out of the means and become NaN. Fewer than
    60 values are returned as they are.
    """
    window = np.ones(2 * (len(y) // 60) + 1)
    if len(window) == 1:
        return y
    finite = np.isfinite(y)
    total = np.convolve(np.where(finite, y, 0.0), window, mode="same")
    count = np.convolve(finite, window, mode="same")
    return np.where(finite, total / np.maximum(count, 1), np.nan)


def curve_path(x: np.ndarray, y: np.ndarray) -> str:
    """Return an SVG path through the points (x, y) with finite y, with gaps at the others, e.g. "M0.0 5.0L1.0 4.0".

    Both are (N,), in units of the drawing, to one decimal. Of more than 400 points, 200 stretches with
    equal numbers of points are drawn by their smallest and largest y only; a stretch with a NaN is a gap. A point
    between gaps is a line of no length, which round ends show as a dot.
    """
    if len(x) > _POINTS:
        edges = np.linspace(0, len(x), _POINTS // 2 + 1).astype(int)
        stretches = [(i, y[i:j]) for i, j in zip(edges[:-1], edges[1:], strict=True)]
        keep = sorted({int(i + pick(part)) for i, part in stretches for pick in (np.argmin, np.argmax)})
        x, y = x[keep], y[keep]
    drawn = np.concatenate([[False], np.isfinite(y), [False]])
    words = []
    for px, py, before, here, after in zip(x, y, drawn, drawn[1:], drawn[2:], strict=False):
        if here:
            words.append(f"{'L' if before else 'M'}{px:.1f} {py:.1f}{'' if before or after else 'h0'}")
    return "".join(words)


def _round_ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` ticks in [low, high], ascending, all multiples of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((m * power for m in (1, 2, 5, 10)), key=lambda size: abs(size - raw))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]
