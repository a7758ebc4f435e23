"""Dialogues in JSON files, as ShareGPT and OpenAI write them: written and read by the standard json."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.sources.mutations.damage import NotPossible, pick_file
from tests.sources.mutations.harness import Format, Row, cached_by_content
from tests.sources.mutations.text_formats import change_json_value

_SPEAKERS = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "Human"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "function_call"), "Agent"),
    **dict.fromkeys(("tool", "function", "observation"), "Tool"),
}
_AFTER = {
    None: ("system", "Human"),
    "system": ("Human",),
    "Human": ("Agent",),
    "Agent": ("Human", "Tool"),
    "Tool": ("Agent", "Tool"),
}


def _share_gpt(number: int) -> dict[str, Any]:
    said = [
        {"from": "human", "value": f"Where is number {number}?"},
        {"from": "gpt", "value": "On the table. \u2028 Yes\x85no."},
        {"from": "human", "value": "And the next?"},
        {"from": "function_call", "value": json.dumps({"name": "look", "arguments": {"at": number}})},
        {"from": "observation", "value": f"a bowl and {number} cups"},
        {"from": "gpt", "value": "In the bowl."},
    ]
    return {"id": f"n{number}", "system": "Be brief.", "conversations": said[: (2, 6)[number % 2]]}


def _openai(number: int) -> dict[str, Any]:
    call = {"id": f"call_{number}", "type": "function", "function": {"name": "find", "arguments": '{"cup": 1}'}}
    parts = [{"type": "text", "text": "Find the cup."}, {"type": "text", "text": f"It has number {number}."}]
    said = [
        {"role": "system", "content": "You are a robot."},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"call_{number}", "content": f"at {number}, 3"},
        {"role": "assistant", "content": [{"type": "text", "text": "I found it."}]},
    ]
    return {"messages": said}


def _write(folder: Path):
    """Write an array of one line, an array of many, and a file of values in a row."""
    (folder / "more").mkdir()
    (folder / "a.json").write_text(json.dumps([_share_gpt(number) for number in range(5)], ensure_ascii=False))
    (folder / "more" / "b.json").write_text(json.dumps([_openai(number) for number in range(4)], indent=2))
    values = [json.dumps(_share_gpt(number), indent=1) for number in (11, 12)]
    (folder / "c.json").write_text("\n\n".join(values))


@cached_by_content
def _dialogues(file: Path) -> list[Any]:
    """Return the dialogues of a file: the elements of its array, or the values that follow each other."""
    content = file.read_bytes().decode("utf-8-sig").strip(" \t\r\n")
    try:
        values = json.loads(content)
        return values if isinstance(values, list) else [values]
    except ValueError:
        values, decoder = [], json.JSONDecoder()
        if content[:1] == "[":
            raise
        while content:
            value, stop = decoder.raw_decode(content)
            values.append(value)
            content = content[stop:].lstrip(" \t\r\n")
        return values


def _read(folder: Path) -> Iterator[Row | None]:
    found = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    for file in sorted(file for file in found if file.suffix == ".json" and file.name[0] != "."):
        try:
            dialogues = _dialogues(file)
        except Exception:  # noqa: BLE001
            dialogues = [None]
        for dialogue in dialogues:
            try:
                text = _text(dialogue)
                text.encode()
                yield {"action/text": [text]}
            except Exception:  # noqa: BLE001
                yield None


def _text(dialogue: Any) -> str:
    """Return the text of a dialogue, written out from the description of the forms in the documentation."""
    if isinstance(turns := dialogue.get("turns"), list):
        if not turns or not all(text.strip() for text in turns):
            raise ValueError("no turns")
        return "\n".join(f"{('Human', 'Agent')[number % 2]}: {text.strip()}" for number, text in enumerate(turns))
    form = ("messages", "role", "content") if isinstance(dialogue.get("messages"), list) else None
    said, speaker, content = form or ("conversations", "from", "value")
    lines, before, names = [], None, {}
    if system := dialogue.get("system"):
        lines, before = [system], "system"
    for message in dialogue[said]:
        role = _SPEAKERS[message[speaker]]
        if role not in _AFTER[before] or message.get("weight", 1) == 0:
            raise ValueError(f"{role} after {before}")
        calls = list(message.get("tool_calls") or ()) + [one for one in [message.get("function_call")] if one]
        parts = [_part(message, content, calls)]
        if message[speaker] == "function_call":
            parts = _called(parts[0])
        for call in calls:
            parts.append(_call(call))
            names[str(call.get("id"))] = (call.get("function") or call.get("custom") or call)["name"]
        text = "\n".join(part for part in parts if part)
        if role != "Tool" and not text.strip():
            raise ValueError("a blank turn")
        if role == "Tool":
            called = message.get("tool_call_id")
            name = names[called] if called is not None else message.get("name")
            role = f"Tool {name if isinstance(name, str) else ''}".strip()
        lines.append(text if role == "system" else f"{role}: {text.strip()}")
        before = _SPEAKERS[message[speaker]]
    if before in (None, "system"):
        raise ValueError("no turns")
    return "\n".join(lines)


def _part(message: Any, key: str, calls: list[Any]) -> str:
    content = message.get(key)
    if content is None:
        if isinstance(message.get("refusal"), str):
            return message["refusal"]
        if calls:
            return ""
        raise ValueError("no text")
    if isinstance(content, str):
        return content
    kinds = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
    return "\n".join(one if isinstance(one, str) else one[kinds[one["type"]]] for one in content)


def _call(call: Any) -> str:
    body = call.get("function") or call.get("custom") or call
    arguments = body.get("arguments", body.get("input", ""))
    if not body["name"].strip() or not isinstance(arguments, (str, dict, list)):
        raise ValueError("no call")
    said = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return f"call {body['name']} {said}".strip()


def _called(text: str) -> list[str]:
    try:
        parsed = json.loads(text)
    except ValueError:
        return [text]
    return [_call(one) for one in (parsed if isinstance(parsed, list) else [parsed])]


def _change_value(folder: Path, chance: random.Random) -> str:
    """Change one value at any depth, or the form of the file around its dialogues."""
    file = pick_file(folder, chance, ".json")
    try:
        values = _dialogues(file)
    except ValueError:
        raise NotPossible from None
    way = chance.choice(("value", "value", "value", "in lines", "in a row", "with a mark", "with a comma", "nested"))
    ascii_only = chance.random() < 0.5
    texts = [
        json.dumps(one, ensure_ascii=ascii_only)
        for one in (change_json_value(values, chance) if way == "value" else values)
    ]
    content = f"[{', '.join(texts)}]"
    match way:
        case "in lines":
            content = "\n".join(texts)
        case "in a row":
            content = " ".join(texts) + chance.choice(("", "\n", ",", "]"))
        case "with a mark":
            content = f"\ufeff{content}"
        case "with a comma":
            content = f"{content[:-1]},]"
        case "nested":
            content = f'{{"data": {content}}}'
    file.write_text(content)
    return f"{file.relative_to(folder)}: {way}"


FORMATS = {
    "dialogue_json": Format(
        write=_write,
        source="dialogue:{}",
        read=_read,
        damages=(_change_value,),
        splits=("train", "test"),
    )
}
