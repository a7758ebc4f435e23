"""Script that draws docs/report_desktop.png and docs/report_phone.png: the top of a run's report in Chromium.

    PYTHONPATH=. python docs/draw_report.py --workdir=runs/quickstart

It writes the report of the run, opens it at the width of a desktop and of a phone, and keeps the top. Chromium must
be installed.
"""

from __future__ import annotations

import argparse
import io
import pathlib

from PIL import Image as Pillow

from gato_jax.reports import write_report
from tests.reports.chromium import Browser

WIDTHS = {"report_desktop.png": 1080, "report_phone.png": 390}  # in pixels
HEIGHT = 2400
COLOURS = 128


def main():
    """Write the report and draw both pictures."""
    parser = argparse.ArgumentParser(description="Draw the report of a run.")
    parser.add_argument("--workdir", type=pathlib.Path, required=True, help="Folder of the run.")
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path(__file__).parent, help="Folder to write to."
    )
    given = parser.parse_args()
    page = write_report(given.workdir).resolve()
    with Browser() as browser:
        for name, width in WIDTHS.items():
            browser.open(page, width, "light")
            height = min(HEIGHT, browser.call("Page.getLayoutMetrics")["cssContentSize"]["height"])
            picture = browser.screenshot({"x": 0, "y": 0, "width": width, "height": height})
            path = given.output / name
            Pillow.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS).save(path, optimize=True)
            print(f"{path}: {width} x {height:.0f} pixels, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
