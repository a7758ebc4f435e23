import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

DOCS = pathlib.Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> dict[str, pathlib.Path]:
    """The pictures that the script draws, by name; it is started elsewhere than in the repository."""
    folder = tmp_path_factory.mktemp("pictures")
    subprocess.run([sys.executable, DOCS / "draw_timesteps.py", folder / "new"], cwd=folder, check=True)
    return {path.name: path for path in (folder / "new").iterdir()}


def test_the_script_draws_six_pictures_and_the_page_shows_them_all(drawn):
    shown = re.findall(r"\(tokenization/(\w+\.png)\)", (DOCS / "tokenization.md").read_text())
    assert len(drawn) == 6 and set(drawn) <= set(shown)


def test_pictures_are_sharp_and_small(drawn):
    for path in drawn.values():
        with Image.open(path) as picture:
            assert picture.width == 1600, path
        assert path.stat().st_size < 150_000, path


def test_committed_pictures_are_what_the_script_draws(drawn):
    for name, path in drawn.items():
        with Image.open(path) as new, Image.open(DOCS / "tokenization" / name) as committed:
            same = np.array_equal(np.asarray(new), np.asarray(committed))
        assert same, f"{name} has changed: run python docs/draw_timesteps.py, look at it and commit it"
