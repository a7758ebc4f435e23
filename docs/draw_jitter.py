"""Script that draws docs/jitter.svg: by how much the ticks of the control loop began later than planned.

    python docs/draw_jitter.py

The numbers are those of benchmarks/results/serving_rate.json, which `python -m benchmarks.serving rate` writes.
"""

from __future__ import annotations

import json
import math
import pathlib

ROOT = pathlib.Path(__file__).parents[1]
RESULTS, PICTURE = ROOT / "benchmarks" / "results" / "serving_rate.json", ROOT / "docs" / "jitter.svg"
WIDTH, HEIGHT, LEFT, TOP, BAR = 800, 300, 40, 40, 60


def draw(loop: dict) -> str:
    """Return the picture of the report of a control loop, with a logarithmic axis of counts."""
    counts = loop["histogram_ms"]
    scale = (HEIGHT - TOP - 60) / math.log10(1 + max(counts.values()))
    title = f"{loop['ticks']} ticks at {loop['rate_hz']:g} Hz: delay in milliseconds and number of ticks"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" fill="#444"><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{title}</text>',
    ]
    for number, (name, count) in enumerate(counts.items()):
        tall, x = scale * math.log10(1 + count), LEFT + number * (BAR + 14)
        base = HEIGHT - 40
        parts.append(f'<rect x="{x}" y="{base - tall:.1f}" width="{BAR}" height="{tall:.1f}" fill="#3b7dd8"/>')
        for y, text in ((base - tall - 5, count), (base + 18, name)):
            parts.append(f'<text x="{x + BAR / 2}" y="{y:.1f}" text-anchor="middle">{text}</text>')
    return "".join(parts) + "</svg>\n"


if __name__ == "__main__":
    PICTURE.write_text(draw(json.loads(RESULTS.read_text())["loop"]))
    print(f"drawn: {PICTURE}")
