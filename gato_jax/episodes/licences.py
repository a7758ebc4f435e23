"""Terms of licences, read from SPDX expressions. A licence that is unknown here permits nothing.

This is no legal advice: the table restates what the texts of the licences say about a copy of the work.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Collection, Sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Terms:
    """Terms of a licence; a field is None where they are unknown, and all are of a licence that is not in the table.

    Attributes:
      commercial_use: whether commercial use is permitted.
      attribution: whether every copy must carry the licence's notice or the authors' names.
      share_alike: whether derived works must have the same licence.
    """

    commercial_use: bool | None = None
    attribution: bool | None = None
    share_alike: bool | None = None


_FREE = Terms(commercial_use=True, attribution=False, share_alike=False)
_ATTRIBUTION = Terms(commercial_use=True, attribution=True, share_alike=False)
_SHARE_ALIKE = Terms(commercial_use=True, attribution=True, share_alike=True)
_NON_COMMERCIAL = Terms(commercial_use=False, attribution=True, share_alike=False)

_GROUPS: dict[Terms, tuple[str, ...]] = {
    _FREE: ("0BSD", "CC0-1.0", "MIT-0", "PDDL-1.0", "Unlicense", "Public-Domain"),
    _ATTRIBUTION: (
        "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "ISC",
        "MIT", "ODC-By-1.0", "Unicode-3.0", "Unicode-DFS-2016", "Zlib",
    ),
    _SHARE_ALIKE: (
        "AGPL-3.0", "CDLA-Sharing-1.0", "EPL-2.0", "GPL-2.0", "GPL-3.0", "LGPL-2.1", "LGPL-3.0", "MPL-2.0",
        "ODbL-1.0", "OFL-1.1",
        "C-UDA-1.0",  # applies to the data; results computed from them are free
    ),
    _NON_COMMERCIAL: ("PolyForm-Noncommercial-1.0.0",),
}  # fmt: skip
_TABLE = {name.casefold(): terms for terms, names in _GROUPS.items() for name in names}

# Spellings of package indices and dataset hubs. "BSD" alone is left out, as it has a non-commercial variant.
_SYNONYMS = {
    "apache-license-2.0": "apache-2.0", "apache-license,-version-2.0": "apache-2.0", "mit-license": "mit",
    "the-mit-license": "mit", "c-uda": "c-uda-1.0", "cc0": "cc0-1.0", "odbl": "odbl-1.0", "odc-by": "odc-by-1.0",
    "ofl": "ofl-1.1", "sil-open-font-license-1.1": "ofl-1.1", "pddl": "pddl-1.0", "public-domain": "public-domain",
}  # fmt: skip

# Identifiers of licences on the Hugging Face Hub, of those that data and code of agents have.
_HUB = {"c-uda-1.0": "c-uda", "odbl-1.0": "odbl", "odc-by-1.0": "odc-by", "pddl-1.0": "pddl"} | {
    name: name
    for name in (
        "agpl-3.0 apache-2.0 artistic-2.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 cc0-1.0 cc-by-2.0 "
        "cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 "
        "cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cdla-permissive-1.0 "
        "cdla-permissive-2.0 cdla-sharing-1.0 epl-1.0 epl-2.0 eupl-1.1 eupl-1.2 gpl-2.0 gpl-3.0 isc lgpl-2.1 lgpl-3.0 "
        "mit mpl-2.0 ms-pl ncsa ofl-1.1 postgresql unlicense wtfpl zlib"
    ).split()
}

# All versions, and all ports to the law of a country, have the same terms.
_CREATIVE_COMMONS = re.compile(r"cc-by(?P<nc>-nc)?(?P<last>-sa|-nd)?(-\d\.\d(-(at|au|de|fr|igo|jp|nl|uk|us))?)?")
_VERSION_RANGE = re.compile(r"(\+|-only|-or-later)$")

# Each of these permits more than its licence alone. Others, such as the Commons Clause, permit less.
_EXCEPTIONS = {
    "autoconf-exception-3.0", "bison-exception-2.2", "classpath-exception-2.0", "font-exception-2.0",
    "gcc-exception-3.1", "llvm-exception", "openjdk-assembly-exception-1.0",
}  # fmt: skip


_Combine = Callable[[Sequence[bool | None]], bool | None]


@dataclasses.dataclass(frozen=True)
class _Expression:
    """Operands of one operator, "AND" or "OR", in a parsed expression; an operand that is one licence is its name."""

    operator: str
    parts: tuple[str | _Expression, ...]


def parse_terms(expression: str) -> Terms:
    """Return the terms of an SPDX expression, or of the name of a licence.

    Under AND, a use is permitted if both licences permit it, and a duty holds if either licence has it. Under OR, it is
    the other way round. Operands with unknown terms leave a field None unless another operand decides it. A text that
    is not an expression counts as the name of one licence. Case does not matter, and common spellings such as
    `Apache License 2.0` are known.
    """
    tree = _parse(expression)

    def evaluate(field: str, over_and: _Combine, over_or: _Combine) -> bool | None:
        return _evaluate(tree, lambda name: getattr(_terms(name), field), over_and, over_or)

    return Terms(
        commercial_use=evaluate("commercial_use", _all, _any),
        attribution=evaluate("attribution", _any, _all),
        share_alike=evaluate("share_alike", _any, _all),
    )


def hub_licence(expression: str) -> str | None:
    """Return the identifier of a licence on the Hugging Face Hub, such as "mit"; None if the Hub has none for it.

    An expression of several licences has none.
    """
    return _HUB.get(_VERSION_RANGE.sub("", _normalise(expression)))


def commercial_use(expression: str) -> bool | None:
    """Return whether a licence or SPDX expression permits commercial use; None if it is unknown."""
    return parse_terms(expression).commercial_use


def is_allowed(expression: str, allowed: Collection[str]) -> bool:
    """Return whether all licences that an SPDX expression requires are in `allowed`, ignoring case.

    Of the operands of OR, one suffices. Versions and exceptions count as part of the name: `GPL-3.0-only` and
    `GPL-2.0 WITH Classpath-exception-2.0` are other names than `GPL-3.0` and `GPL-2.0`. An item of `allowed` may be a
    whole expression.
    """
    names = {_normalise(name) for name in allowed}
    if _normalise(expression) in names:
        return True
    return bool(_evaluate(_parse(expression), lambda name: _normalise(name) in names, _all, _any))


def _all(values: Sequence[bool | None]) -> bool | None:
    return False if False in values else None if None in values else True


def _any(values: Sequence[bool | None]) -> bool | None:
    return True if True in values else None if None in values else False


def _evaluate(
    tree: str | _Expression, leaf: Callable[[str], bool | None], over_and: _Combine, over_or: _Combine
) -> bool | None:
    """Evaluate a parsed expression, or the name of one licence, to True, False or None for unknown.

    Args:
      tree: the expression or name, from `_parse`.
      leaf: function of the name of one licence.
      over_and: function that joins the results of the operands of AND.
      over_or: function that joins the results of the operands of OR.
    """
    if isinstance(tree, str):
        return leaf(tree)
    verdicts = [_evaluate(part, leaf, over_and, over_or) for part in tree.parts]
    return (over_and if tree.operator == "AND" else over_or)(verdicts)


def _normalise(name: str) -> str:
    """Return the spelling of a name in lower case, with hyphens and without synonyms: `cc-by-4.0` for `CC BY 4.0`."""
    spelling = re.sub(r"[\s_]+", "-", name.strip().casefold())
    return _SYNONYMS.get(spelling, spelling)


def _terms(name: str) -> Terms:
    name, _, exception = name.partition(" WITH ")
    if exception and exception.casefold() not in _EXCEPTIONS:
        return Terms()
    spelling = _normalise(_VERSION_RANGE.sub("", name))
    if (found := _CREATIVE_COMMONS.fullmatch(spelling)) is not None:
        return Terms(commercial_use=found["nc"] is None, attribution=True, share_alike=found["last"] == "-sa")
    return _TABLE.get(spelling, Terms())


@functools.lru_cache(maxsize=256)
def _parse(expression: str) -> str | _Expression:
    """Parse an SPDX expression, in which WITH binds closest, then AND, then OR, each in upper or lower case.

    One licence is returned as its name, e.g. `GPL-2.0 WITH Classpath-exception-2.0`, and a text that is no expression
    unchanged.
    """
    words = re.findall(r"[()]|[^\s()]+", expression)
    tree = _parse_alternatives(words)
    return expression if tree is None or words else tree


def _parse_alternatives(words: list[str]) -> str | _Expression | None:
    return _parse_operands(words, "OR", lambda: _parse_operands(words, "AND", lambda: _parse_operand(words)))


def _parse_operands(
    words: list[str], operator: str, read: Callable[[], str | _Expression | None]
) -> str | _Expression | None:
    """Take the operands that an operator joins off the front of `words`, in place, and return them as one expression.

    A single operand is returned as it is. The result is None if an operand is missing or malformed.

    Args:
      words: the words and parentheses that are left of the expression.
      operator: "AND" or "OR".
      read: function that takes one operand off `words` and returns it, or None.
    """
    parts = [read()]
    while words and words[0].upper() == operator:
        words.pop(0)
        parts.append(read())
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return known[0] if len(known) == 1 else _Expression(operator, tuple(known))


def _parse_operand(words: list[str]) -> str | _Expression | None:
    if words and words[0] == "(":
        words.pop(0)
        inner = _parse_alternatives(words)
        return inner if words and words.pop(0) == ")" else None
    name = _parse_name(words)
    if name and words and words[0].upper() == "WITH":
        words.pop(0)
        exception = _parse_name(words)
        return f"{name} WITH {exception}" if exception else None
    return name or None


def _parse_name(words: list[str]) -> str:
    """Take a name off the front of `words`, in place; neighbouring words are one name, as in `CC BY 4.0`.

    The name ends before a parenthesis, AND, OR or WITH, and is empty if one of these comes first.
    """
    taken = []
    while words and words[0] not in ("(", ")") and words[0].upper() not in ("AND", "OR", "WITH"):
        taken.append(words.pop(0))
    return " ".join(taken)
