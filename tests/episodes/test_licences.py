"""What licences permit: known ones by their terms, expressions by their parts, unknown ones never."""

import pytest

from gato_jax.episodes.licences import Terms, commercial_use, hub_licence, is_allowed, parse_terms


@pytest.mark.parametrize(
    "licence, commercial, attribution, share_alike",
    [
        ("CC0-1.0", True, False, False), ("CC-BY-4.0", True, True, False), ("CC-BY-3.0", True, True, False),
        ("CC-BY-3.0-US", True, True, False), ("CC-BY-SA-4.0", True, True, True), ("CC-BY-ND-4.0", True, True, False),
        ("CC-BY-NC-4.0", False, True, False), ("CC-BY-NC-SA-4.0", False, True, True),
        ("CC-BY-NC-ND-4.0", False, True, False), ("MIT", True, True, False), ("Apache-2.0", True, True, False),
        ("BSD-2-Clause", True, True, False), ("BSD-3-Clause", True, True, False), ("OFL-1.1", True, True, True),
        ("ODC-By-1.0", True, True, False), ("GPL-2.0", True, True, True), ("GPL-3.0-or-later", True, True, True),
        ("GPL-2.0-only", True, True, True), ("GPL-2.0+", True, True, True), ("Unicode-3.0", True, True, False),
        ("C-UDA-1.0", True, True, True), ("PolyForm-Noncommercial-1.0.0", False, True, False),
    ],
)  # fmt: skip
def test_a_known_licence_has_its_terms(licence, commercial, attribution, share_alike):
    known = Terms(commercial_use=commercial, attribution=attribution, share_alike=share_alike)
    assert parse_terms(licence) == parse_terms(licence.lower()) == known


@pytest.mark.parametrize("said", ["CC BY 4.0", "cc_by_4.0", " Apache License 2.0 ", "MIT License", "odc-by", "cc0"])
def test_the_usual_other_names_are_known(said):
    assert commercial_use(said) is True


@pytest.mark.parametrize(
    "said",
    ["", " ", "none", "unknown", "other", "BSD License", "CC-BY-XX-4.0", "CC-BY-ND-NC", "CC-BY-4.0-NC",
     "LicenseRef-mine", "MIT-1",
     "proprietary", "(MIT", "MIT)", "MIT AND", "OR MIT", "MIT (see README)", "MIT WITH", "()",
     "Apache-2.0 WITH Commons-Clause", "free for research"],
)  # fmt: skip
def test_whatever_else_is_unknown_and_not_free(said):
    assert parse_terms(said) == Terms()


@pytest.mark.parametrize(
    "expression, commercial",
    [
        ("MIT AND Apache-2.0", True), ("MIT AND CC-BY-NC-4.0", False), ("MIT OR CC-BY-NC-4.0", True),
        ("MIT AND LicenseRef-mine", None), ("MIT OR LicenseRef-mine", True),
        ("CC-BY-NC-4.0 AND LicenseRef-mine", False),
        ("CC-BY-NC-4.0 OR LicenseRef-mine", None), ("mit and cc by nc 4.0", False),
        ("MIT OR MIT AND CC-BY-NC-4.0", True),  # AND binds closer
        ("(MIT OR MIT) AND CC-BY-NC-4.0", False), ("((MIT))", True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", True), ("Apache-2.0 WITH LLVM-exception OR CC-BY-NC-4.0", True),
    ],
)  # fmt: skip
def test_an_expression_is_judged_by_its_parts(expression, commercial):
    assert commercial_use(expression) is commercial


def test_what_is_asked_for_adds_up_and_a_choice_lets_off():
    assert parse_terms("CC0-1.0 AND CC-BY-SA-4.0") == parse_terms("CC-BY-SA-4.0")
    assert parse_terms("CC0-1.0 OR CC-BY-SA-4.0") == parse_terms("CC0-1.0")
    assert parse_terms("MIT OR LicenseRef-mine").share_alike is False


def test_allowed_are_expressions_whose_parts_are():
    allowed = ("mit", "CC BY 4.0", "LicenseRef-mine")
    assert (
        is_allowed("MIT", allowed)
        and is_allowed("CC-BY-4.0 AND MIT", allowed)
        and is_allowed("LicenseRef-mine", allowed)
    )
    assert is_allowed("GPL-3.0 OR MIT", allowed) and is_allowed("MIT AND (GPL-3.0 OR CC-BY-4.0)", allowed)
    assert (
        not is_allowed("GPL-3.0 AND MIT", allowed)
        and not is_allowed("", allowed)
        and not is_allowed("CC-BY-3.0", allowed)
    )
    assert is_allowed("free, but ask (us)", ["Free, but ask (us)"])


@pytest.mark.parametrize(
    ("licence", "found"),
    [
        ("MIT", "mit"), ("The MIT License", "mit"), ("Apache License 2.0", "apache-2.0"), ("GPL-2.0-only", "gpl-2.0"),
        ("CC BY 4.0", "cc-by-4.0"), ("ODbL-1.0", "odbl"), ("MIT AND Apache-2.0", None), ("ask us", None), ("", None),
    ],
)  # fmt: skip
def test_the_hub_has_an_identifier_of_single_well_known_licences(licence, found):
    assert hub_licence(licence) == found
