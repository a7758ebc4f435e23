"""The Jinja environment of the pages of reports, and the markup that several pages share."""

from __future__ import annotations

from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from gato_jax.reports import summary

_FORMATS = (
    "number", "short", "duration", "interval", "gigabytes", "percent", "group_elements", "score", "share", "shares",
)  # fmt: skip  # functions of summary
_VALUES = 3  # the most values of a list of provenances that a cell of a table shows


def page_environment(*folders: Path) -> jinja2.Environment:
    """Return a Jinja environment for the pages of reports.

    It finds templates in `folders` first, then in the folder of this module, which holds the base page and the style
    sheet. It escapes values for HTML, and an undefined variable is an error. Its filters in
    _FORMATS are functions of `reports.summary`, `name` and `first_values` those of this module.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(summary, name) for name in _FORMATS}
    environment.filters |= {"name": break_name, "first_values": first_values}
    return environment


def break_name(name: str, strong: bool = False) -> Markup:
    """Return the name of a task or dataset as markup that breaks lines after a "/" only, not at a hyphen.

    A part that is wider than its container still breaks anywhere. With `strong`, the parts after the first are bold,
    or the only one.
    """
    *heads, tail = name.split("/")
    parts = [escape(f"{head}/") for head in heads] + [escape(tail)]
    bold = [strong and (number > 0 or len(parts) == 1) for number in range(len(parts))]
    spans = (f"<b>{part}</b>" if is_bold else f"<span>{part}</span>" for part, is_bold in zip(parts, bold, strict=True))
    return Markup(f'<span class="name">{"".join(spans)}</span>')


def first_values(joined: str) -> str:
    """Shorten values that are joined by "; " to the first three: "A; B; C and 4 more"."""
    values = joined.split("; ")
    if len(values) <= _VALUES + 1:
        return joined
    return f"{'; '.join(values[:_VALUES])} and {len(values) - _VALUES} more"
