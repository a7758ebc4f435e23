"""Script that writes docs/datasets.md from the tables of datasets in the code.

    python docs/list_datasets.py

A test fails if the page is not up to date.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

from gato_jax.episodes import Continuous, Discrete, Modality
from gato_jax.sources.rlds.tables import RLDS_DATASETS, RldsEntry
from gato_jax.sources.rlds.tfds_text import TFDS_TEXT

PAGE = Path(__file__).with_name("datasets.md")
_HEAD = """# Datasets that are known by name

`python docs/list_datasets.py` writes this page from `gato_jax/sources/rlds/tables/` and
`gato_jax/sources/rlds/tfds_text.py`. Change it there.

A dataset is opened by its folder, `rlds:FOLDER`, which contains TFDS's `dataset_info.json`, or by its name,
`rlds:viola`. The folder may be in a bucket (`rlds:gs://gresearch/robotics/viola/0.1.0`, with `pip install gcsfs`). A
name is looked up in `$TFDS_DATA_DIR` or `~/tensorflow_datasets`. The files may be ArrayRecord or TFRecord; neither
needs TensorFlow. When a dataset is opened for the first time, all of it is read once to count the lengths of its
episodes, which are then stored beside the files. For a dataset that is not listed here, give a file of fields.

The limits of actions are for scaling: values outside are clipped when they become tokens. A comment at each entry gives
the reason for its limits and any open question. Images are averaged to 64 by 64 pixels unless another size is given.
"""


def page() -> str:
    """Return the text of the page."""
    return "\n".join([_HEAD, *_open_x(), "", *_families(), "", *_texts(), ""])


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows)]


def _open_x() -> list[str]:
    """Return the section on Open X-Embodiment, with one row for each dataset."""
    rows = []
    for name, entry in sorted(RLDS_DATASETS.items()):
        fields, body = entry.fields, entry.fields.embodiment
        if fields.suite == "open_x" and body is not None:
            cameras = ", ".join(_camera(entry, camera.key) for camera in body.cameras)
            gripper = body.gripper.kind if body.gripper else "none"
            rate, licence = f"{fields.control_rate_hz:g}", fields.provenance.licence
            actions = "; ".join(f"`{key}` {_limits(modality)}" for key, (_, modality) in fields.action.items())
            rows.append(
                (
                    f"`{name}`",
                    body.robot,
                    rate,
                    cameras,
                    gripper,
                    actions,
                    entry.action_meaning,
                    licence,
                    entry.location or "",
                )
            )
    columns = ("name", "robot", "Hz", "cameras", "gripper", "actions", "meaning of actions", "licence", "location")
    return [
        "## Open X-Embodiment",
        "",
        "Every step has an action. The licence is that of the release for everything except software, or the",
        "laboratory's own. The reader exchanges the channels of images that are stored as BGR.",
        "",
        *_table(columns, rows),
    ]


def _camera(entry: RldsEntry, key: str) -> str:
    """Return the name of a camera, marked as BGR if its images are stored so."""
    return f"`{key}`" + (" (BGR)" if entry.fields.observation[key][0].startswith("bgr_to_rgb") else "")


def _limits(modality: Modality) -> str:
    """Describe the limits of a modality, for example `3 in [-0.05, 0.05], 1 in [0, 1]`."""
    if isinstance(modality, Discrete):
        return f"one of {modality.n}"
    if not isinstance(modality, Continuous):
        return "text"
    runs = [(len(list(run)), limits) for limits, run in itertools.groupby(zip(*modality.limits, strict=True))]
    return ", ".join(f"{count} in [{low:.3g}, {high:.3g}]" for count, (low, high) in runs)


def _families() -> list[str]:
    """Return the section on RL Unplugged, D4RL, robomimic and robosuite, with one row for each suite."""
    suites: dict[str, list[RldsEntry]] = {}
    for entry in RLDS_DATASETS.values():
        if entry.fields.suite != "open_x":
            suites.setdefault(entry.fields.suite, []).append(entry)
    rows = []
    for suite, entries in sorted(suites.items()):
        fields = entries[0].fields
        rates = sorted({entry.fields.control_rate_hz for entry in entries if entry.fields.control_rate_hz})
        observation = ", ".join(f"`{key}`" for key in fields.observation)
        rows.append(
            (
                f"`{suite}/{fields.task}`",
                str(len(entries)),
                ", ".join(f"{rate:g}" for rate in rates) or "-",
                observation,
                _limits(fields.action["action"][1]),
                entries[0].action_meaning,
                fields.provenance.licence,
            )
        )
    columns = ("name of the first", "datasets", "Hz", "observation", "action", "meaning of the action", "licence")
    return [
        "## RL Unplugged, D4RL, robomimic, robosuite",
        "",
        "TFDS prepares these datasets: `tfds build NAME --file_format=array_record`. The last step of an episode holds",
        "its final observation without an action. Frames of Atari are grey and repeated to three channels. `unknown`",
        "means that neither the release nor TFDS names a licence.",
        "",
        *_table(columns, rows),
    ]


def _texts() -> list[str]:
    """Return the section on datasets of text."""
    rows = [
        (
            f"`{name}`",
            entry.suite,
            ", ".join(f"`{key}`" for key in entry.observation) or "-",
            ", ".join(f"`{key}`" for key in entry.action),
            f"each of `{entry.repeated_field}`" if entry.repeated_field else "each example",
            entry.licence,
        )
        for name, entry in sorted(TFDS_TEXT.items())
    ]
    return [
        "## TFDS's text, captions, questions and dialogue",
        "",
        "Open with `tfds_text:FOLDER` or `tfds_text:NAME/CONFIG`. An episode is one step whose action is text.",
        "",
        *_table(("name", "suite", "observation", "action", "one episode for", "licence"), rows),
    ]


if __name__ == "__main__":
    PAGE.write_text(page())
