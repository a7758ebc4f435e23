"""The token inspector: a self-contained HTML page that shows training rows token by token."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gato_jax.reports.inspection import InspectedRow
from gato_jax.reports.templates import page_environment
from gato_jax.runtime.paths import as_path

KINDS = ("text", "discrete", "continuous", "image patch", "image code", "separator", "task text")


def write_inspection(rows: Sequence[InspectedRow], path: Path) -> Path:
    """Write the inspector page of `rows`, an HTML file, to `path`, make the folders above it, and return `path`."""
    path = as_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(rows), encoding="utf-8")
    return path


def render(rows: Sequence[InspectedRow]) -> str:
    """Return the inspector page of `rows` as HTML; its script draws one row at a time from embedded JSON."""
    environment = page_environment()
    # The JSON is ASCII with <, > and & escaped, so that the text of a token cannot end the script element around it.
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": True, "allow_nan": False, "separators": (",", ":")}
    names = list(dict.fromkeys(row.dataset for row in rows))
    return environment.get_template("inspector.html").render(
        data={"kinds": KINDS, "rows": [_columns(row) for row in rows]}, datasets=names, rows=rows
    )


def _columns(row: InspectedRow) -> dict[str, Any]:
    """Return a row as JSON with one list for each token field, a quarter of the size of one object for each token.

    `position` is left out, as it is the index in each list; `kind` is an index into KINDS, and bools are 0 or 1.
    """
    fields = [field.name for field in dataclasses.fields(row.tokens[0])] if row.tokens else []
    columns = {name: [getattr(token, name) for token in row.tokens] for name in fields if name != "position"}
    columns |= {name: [int(value) for value in columns[name]] for name in ("in_loss", "prompt") if row.tokens}
    columns["kind"] = [KINDS.index(token.kind) for token in row.tokens]
    images = [dataclasses.asdict(image) for image in row.images]
    return {"row": row.row, "dataset": row.dataset, "context": row.context, "tokens": columns, "images": images}
