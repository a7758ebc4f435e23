"""Writes docs/datasets.md from the tables in the code: python docs/list_datasets.py. A test fails where it is stale."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

from gato_jax.episodes import Continuous, Discrete, Modality
from gato_jax.sources.rlds.tables import RLDS_DATASETS, RldsEntry
from gato_jax.sources.rlds.tfds_text import TFDS_TEXT

PAGE = Path(__file__).with_name("datasets.md")
_HEAD = """# Datasets that are known by name

Made by `python docs/list_datasets.py` from `gato_jax/sources/rlds/tables/` and `gato_jax/sources/rlds/tfds_text.py`:
change it there.

Any of them is opened by its folder, `rlds:FOLDER`, where TFDS's `dataset_info.json` lies, here or in a bucket
(`rlds:gs://gresearch/robotics/viola/0.1.0`, with `pip install gcsfs`), or by its name, `rlds:viola`, which is looked
up in `$TFDS_DATA_DIR` or `~/tensorflow_datasets`. Files may be ArrayRecord or TFRecord; neither needs TensorFlow. The
first opening reads everything once, for the lengths of the episodes, and keeps them beside the files. Fields of a
dataset that is not here are said in a file of fields.

A limit of an action is one to scale by: what lies outside is clipped when it becomes a token. Why each was chosen, and
what is open, stands as a comment at the entry. Images are averaged to 64 by 64 unless other sizes are asked for.
"""


def page() -> str:
    """The page as it should be."""
    return "\n".join([_HEAD, *_open_x(), "", *_families(), "", *_texts(), ""])


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows)]


def _open_x() -> list[str]:
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
    columns = ("name", "robot", "Hz", "cameras", "gripper", "actions", "what they mean", "licence", "where it is")
    return [
        "## Open X-Embodiment",
        "",
        "Every step acts. The licence is what the release says of all that is not software, or a laboratory's own.",
        "Images that are stored with red and blue exchanged (BGR) are turned around by the reader.",
        "",
        *_table(columns, rows),
    ]


def _camera(entry: RldsEntry, key: str) -> str:
    return f"`{key}`" + (" (BGR)" if entry.fields.observation[key][0].startswith("bgr_to_rgb") else "")


def _limits(modality: Modality) -> str:
    """`3 in [-0.05, 0.05], 1 in [0, 1]`, equal neighbours together."""
    if isinstance(modality, Discrete):
        return f"one of {modality.n}"
    if not isinstance(modality, Continuous):
        return "text"
    runs = [(len(list(run)), limits) for limits, run in itertools.groupby(zip(*modality.limits, strict=True))]
    return ", ".join(f"{count} in [{low:.3g}, {high:.3g}]" for count, (low, high) in runs)


def _families() -> list[str]:
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
    columns = ("name, the first of so many", "how many", "Hz", "observation", "action", "what it means", "licence")
    return [
        "## RL Unplugged, D4RL, robomimic, robosuite",
        "",
        "As TFDS prepares them: `tfds build NAME --file_format=array_record`. The last step of an episode holds its",
        "final observation alone. Frames of Atari are grey and repeated to three channels. `unknown` is a licence that",
        "neither the release nor TFDS names.",
        "",
        *_table(columns, rows),
    ]


def _texts() -> list[str]:
    rows = [
        (
            f"`{name}`",
            entry.suite,
            ", ".join(f"`{key}`" for key in entry.observation) or "-",
            ", ".join(f"`{key}`" for key in entry.action),
            "each of several" if entry.repeated_field else "an example",
            entry.licence,
        )
        for name, entry in sorted(TFDS_TEXT.items())
    ]
    return [
        "## TFDS's text, captions, questions and dialogue",
        "",
        "`tfds_text:FOLDER` or `tfds_text:NAME/CONFIG`; an episode is one step whose action is text.",
        "",
        *_table(("name", "suite", "observation", "action", "an episode is", "licence"), rows),
    ]


if __name__ == "__main__":
    PAGE.write_text(page())
