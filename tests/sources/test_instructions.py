"""Tests of generated instructions and of the checks of instructions."""

import pytest

from gato_jax.sources import SourceError
from gato_jax.sources.instructions import (
    Template,
    classify_style,
    fill_templates,
    find_problems,
    generate_instructions,
    group_by_instruction,
)

META_WORLD = """
assembly basketball bin-picking box-close button-press-topdown button-press-topdown-wall button-press button-press-wall
coffee-button coffee-pull coffee-push dial-turn disassemble door-close door-lock door-open door-unlock hand-insert
drawer-close drawer-open faucet-open faucet-close hammer handle-press-side handle-press handle-pull-side handle-pull
lever-pull pick-place-wall pick-out-of-hole pick-place plate-slide plate-slide-side plate-slide-back
plate-slide-back-side peg-insert-side peg-unplug-side soccer stick-push stick-pull push push-wall push-back reach
reach-wall shelf-place sweep-into sweep window-open window-close
""".split()


def plain(name, metadata=None):
    return generate_instructions(name, metadata, count=1)[0]


def test_every_task_of_meta_world_has_an_instruction_of_its_own_in_several_phrasings():
    said = {task: generate_instructions(f"meta_world/{task}-v3") for task in META_WORLD}
    assert len({phrasings[0] for phrasings in said.values()}) == len(META_WORLD) == 50
    for task, phrasings in said.items():
        assert len(set(phrasings)) == 4 and {classify_style(text) for text in phrasings} == {"imperative"}, task
        assert not any(" task" in text or "{" in text for text in phrasings), task
    assert said["button-press"][0] == "press the button"
    assert said["push-wall"][0] == "push the puck past the wall to the goal"
    assert said["button-press-topdown-wall"][0] == "press the button from above past the wall"


@pytest.mark.parametrize(
    "name, said",
    [
        ("dm_control/cartpole/swingup_sparse", "swing up the pole and balance it on the cart"),
        ("dm_control/walker/run", "run forward"),
        ("dm_control/finger/turn_hard", "turn the body to the target with the finger"),
        ("fetch/pick_and_place", "pick up the block and place it at the target"),
        ("atari/space_invaders", "play space invaders"),
        ("lab/PutRedCupInBowl-v2", "put the red cup in the bowl"),
        ("lab/open_drawer_and_take_cup", "open the drawer and take the cup"),
        ("lab/turn_left", "turn left"),
        ("lab/oven-open", "open the oven"),
        ("lab/bridge_dataset", "complete the bridge dataset task"),
    ],
)
def test_any_task_name_is_read(name, said):
    assert plain(name) == said


def test_phrasings_have_an_order_that_the_seed_decides():
    def said(seed):
        return generate_instructions("meta_world/door-close-v3", count=9, seed=seed)

    assert said(0) == said(0) and said(0) != said(1) and set(said(0)[1:]) != set(said(1)[1:])
    assert said(0)[0] == said(1)[0] == "close the door"


def test_metadata_replace_what_the_name_is_about():
    assert plain("meta_world/push-v3", {"colour": "red"}) == "push the red puck to the goal"
    metadata = {"object": {"name": "cube", "color": "blue", "size": "small"}, "target": "green_circle"}
    assert plain("meta_world/push-v3", metadata) == "push the small blue cube to the green circle"
    assert plain("lab/pick_up_red_cup", {"colour": "red"}) == "pick up the red cup"


def test_attributes_stand_in_english_order_and_relations_are_said_in_full():
    template = Template("push the {object} {relation} the {reference}")
    metadata = {
        "object": "block", "material": "wooden", "colour": "red", "size": "small", "shape": "round",
        "relation": "left_of", "reference": "bowl", "reference_colour": "blue",
    }  # fmt: skip
    assert template.fill(metadata) == "push the small round red wooden block to the left of the blue bowl"
    between = {"object": "spoon", "relation": "between", "reference": [{"name": "cup", "colour": "red"}, "bowl"]}
    assert template.fill(between) == "push the spoon between the red cup and the bowl"
    assert Template("take the {colour} {object}").fill(metadata) == "take the red block"
    templates = [template, Template("move the {object} {relation} the {reference}"), template]
    assert fill_templates({**between, "relation": "on top of", "reference": "cup"}, templates) == [
        "push the spoon on top of the cup", "move the spoon on top of the cup"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "template, metadata, said",
    [
        (
            "push the {object}",
            {"colour": "red"},
            r"\{object\} has no value, the metadata hold 'colour'. Add 'object' to the metadata",
        ),
        ("push the {object}", {"object": [0.1, 0.2]}, "cannot read metadata: 'object' is 0.1, expected text"),
        ("go {relation} the {reference}", {"relation": "inisde", "reference": "cup"}, "nearest known: 'inside'"),
        (
            "go {relation} the {reference}",
            {"relation": "between", "reference": "cup"},
            "between has one reference, expected two",
        ),
        ("push the {Object}", {}, "Write a slot as {object}"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(template, metadata, said):
    with pytest.raises(SourceError, match=said):
        Template(template).fill(metadata)


@pytest.mark.parametrize(
    "style, texts",
    [
        ("imperative", ["pick up the cup", "Please, carefully open it.", "swing up the pole", "empty the box"]),
        ("declarative", ["the robot picks up the cup", "picked up the cup", "it is moving", "Robot opened the door."]),
        ("gerund", ["picking up the cup", "slowly wobbling along", "putting it down"]),
        ("question", ["can you pick up the cup", "where is the cup?", "pick up the cup?"]),
        (None, ["the red cup", "to pick up the cup", "", "nimm die Tasse"]),
    ],
)
def test_a_style_is_known_by_its_first_words(style, texts):
    assert [classify_style(text) for text in texts] == [style] * len(texts)


def test_mixed_styles_and_slips_are_found_with_their_episodes():
    texts = ["pick up the cup"] * 6 + [
        "the robot picks up the cup", "picking up the cup", "Pick up the cup.", "open  it", "", "push " * 41 + "it"
    ]  # fmt: skip
    found = {(finding.problem, finding.episodes): finding for finding in find_problems(group_by_instruction(texts))}
    assert set(found) == {
        ("mixed style", (6,)), ("mixed style", (7,)), ("mixed case", (8,)), ("mixed punctuation", (8,)),
        ("duplicate", (8,)), ("stray spaces", (9,)), ("empty", (10,)), ("too long", (11,)),
    }  # fmt: skip
    assert found["mixed style", (6,)].evidence == "declarative, where 9 of 11 episodes are imperative"
    assert found["too long", (11,)].evidence == "42 words, more than 40"


def test_one_style_and_one_instruction_in_many_episodes_are_no_findings():
    assert find_problems(group_by_instruction(["pick up the cup", "open the drawer", "pick up the cup"])) == []


@pytest.mark.parametrize(
    "text, metadata, said",
    [
        ("pick up the cup", {"object": "spoon"}, "it names cup, the metadata's object is spoon"),
        ("put the cup in the bowl", {"object": "cup", "target": "drawer"}, "names bowl, the metadata's target is"),
        ("pick up the blue cup", {"object": "cup", "colour": "red"}, "it calls the cup blue, the metadata's colour of"),
        ("take the big cup", {"object": {"name": "cup", "size": "small"}}, "calls the cup large, the metadata's size"),
        ("pick up the blue one", {"object": "cup", "color": "red"}, "it calls it blue, the metadata's colour of the"),
        ("put it in the grey bowl", {"object": "cup", "target": "bowl", "target_colour": "white"}, "the bowl grey"),
        ("push it to the right", {"direction": "left"}, "it says right, the metadata's direction is left"),
        ("turn it counter-clockwise", {"direction": "clockwise"}, "it says counterclockwise"),
        ("open the top drawer", {"side": "bottom"}, "it says top, the metadata's side is bottom"),
        ("put it right of the cup", {"object": "cup", "relation": "left_of"}, "it says right"),
        ("open the gripper", {"gripper": "closed"}, "it says open, the metadata's gripper is closed"),
    ],
)  # fmt: skip
def test_a_contradiction_with_the_metadata_is_found(text, metadata, said):
    others = {1: {"object": "cup"}, 2: {"object": "bowl"}}
    (finding,) = find_problems({text: (0,)}, {0: metadata, **others})
    assert finding.problem == "contradiction" and finding.episodes == (0,) and said in finding.evidence


@pytest.mark.parametrize(
    "text, metadata",
    [
        ("pick it up", {"object": "spoon", "direction": "down", "colour": "red"}),
        ("put the red cup in the blue bowl", {"object": "cup", "colour": "red", "target": "bowl"}),
        ("take the gray cups", {"object": "cup", "colour": "grey"}),
        ("push the cup left, to the right of the bowl", {"object": "cup", "direction": "left"}),
        ("fill the cup holder", {"object": "cup holder"}),
        ("open the drawer", {"gripper": "closed"}),
        ("put the cup down", {"object": "cup", "direction": "up"}),
    ],
)
def test_what_is_left_open_or_said_of_another_is_no_contradiction(text, metadata):
    assert find_problems({text: (0,)}, {0: metadata, 1: {"object": "cup"}, 2: {"object": "bowl"}}) == []


def test_a_contradiction_lists_those_episodes_alone_that_it_is_of():
    metadata = {number: {"object": "cup", "colour": "red" if number < 3 else "blue"} for number in range(5)}
    (finding,) = find_problems({"take the red cup": range(5)}, metadata)
    assert finding.episodes == (3, 4)
