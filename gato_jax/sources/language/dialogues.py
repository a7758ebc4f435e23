"""Text of a dialogue in the forms of OpenAI and ShareGPT, with calls of tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from gato_jax.sources.language.chatterbot import SPEAKERS, format_dialogue
from gato_jax.sources.reader import EpisodeRejected

_USER, _AGENT = SPEAKERS
_Role = Literal["system", "user", "agent", "tool"]
# The names that OpenAI, ShareGPT and their users give the speakers. The first two are named in messages.
_NAMES: Mapping[_Role, tuple[str, ...]] = {
    "system": ("system", "developer"),
    "user": ("user", "human"),
    "agent": ("assistant", "gpt", "chatgpt", "function_call"),
    "tool": ("tool", "function", "observation"),
}
_FOLLOWERS: Mapping[_Role, tuple[_Role, ...]] = {
    "system": ("user",),
    "user": ("agent",),
    "agent": ("user", "tool"),
    "tool": ("agent", "tool"),
}
_TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}


class _Turn(NamedTuple):
    """A message of a dialogue.

    Attributes:
      role: who speaks.
      text: the text, with one line for each call of a tool.
      tool: name of the tool whose result it is. Empty if it is none, or the name is unknown.
    """

    role: _Role
    text: str
    tool: str = ""


def dialogue_text(dialogue: Mapping[str, Any], location: str) -> str:
    r"""Return a dialogue as one text, in which each turn begins on a new line with its speaker.

    Args:
      dialogue: {"turns": [text, ...]}, of which the user says the first, then user and agent alternate; OpenAI's
        {"messages": [{"role", "content"}, ...]}; or ShareGPT's {"conversations": [{"from", "value"}, ...]}. The
        content of a message is text, or a list of parts of text, which become lines. Messages and conversations may
        begin with a system message, which may also be the entry `system` of the dialogue; it becomes the first line,
        without a speaker. A call of a tool becomes the line `call NAME ARGUMENTS` of the agent, and its result the turn
        of `Tool NAME`.
      location: file and position of the dialogue, the beginning of error messages.

    Raises:
      EpisodeRejected: the dialogue has none of these forms; user and agent do not alternate, but for results of tools
        after the agent; there are no turns; a text is missing, blank or no text; a result belongs to no call; or a
        message has weight 0, which says that it must not be learned.
    """
    match dialogue:
        case {"turns": list(turns)}:
            if not turns or not all(isinstance(text, str) and text.strip() for text in turns):
                raise EpisodeRejected(location, f"its turns are {turns!r:.60}, expected texts")
            return format_dialogue(turns)
        case {"messages": list(messages)}:
            turns = _read_messages(messages, "role", "content", location)
        case {"conversations": list(messages)}:
            turns = _read_messages(messages, "from", "value", location)
        case _:
            fields = ", ".join(dialogue) or "no fields"
            raise EpisodeRejected(location, f"it has {fields}, expected turns, messages or conversations")
    if system := dialogue.get("system"):
        if not isinstance(system, str) or (turns and turns[0].role == "system"):
            raise EpisodeRejected(location, f"its system message is {system!r:.40}, expected one text")
        turns = [_Turn("system", system), *turns]
    if not any(turn.role != "system" for turn in turns):
        raise EpisodeRejected(location, f"its turns are {messages!r:.60}, expected texts")
    return "\n".join(_format_turn(turn) for turn in turns)


def _format_turn(turn: _Turn) -> str:
    """Return the lines of a turn, which begin with the speaker, except for a system message, which is as recorded."""
    speakers = {"user": _USER, "agent": _AGENT, "tool": f"Tool {turn.tool}".strip()}
    return turn.text if turn.role == "system" else f"{speakers[turn.role]}: {turn.text.strip()}"


def _read_messages(messages: list[Any], role_key: str, text_key: str, location: str) -> list[_Turn]:
    """Return the turns of the messages of a dialogue, which are checked as `dialogue_text` says.

    Args:
      messages: parsed JSON values.
      role_key: key of the speaker in a message.
      text_key: key of the text in a message.
      location: file and position of the dialogue, the beginning of error messages.
    """
    turns: list[_Turn] = []
    tools: dict[str, str] = {}  # {id of a call: name of its tool}
    for message in messages:
        if not isinstance(message, dict) or not (
            {role_key, text_key} <= set(message) or (role_key in message and _calls(message))
        ):
            raise EpisodeRejected(location, f"a message is {message!r:.60}, expected {role_key!r} and {text_key!r}")
        number = sum(turn.role != "system" for turn in turns)
        role = _require_role(message[role_key], role_key, turns[-1].role if turns else None, number, location)
        if message.get("weight", 1) == 0:
            raise EpisodeRejected(
                location, f"the weight of turn {number} is 0, expected 1: all of a text is learned. Leave the turn out"
            )
        lines = [text] if (text := _read_text(message, text_key, number, location)) else []
        if message[role_key] == "function_call":
            lines = _read_called_text(text, location)
        for call in _calls(message):
            lines.append(_format_call(call, location))
            tools[str(call.get("id"))] = _body(call)["name"]
        said = "\n".join(lines)
        if role != "tool" and not said.strip():
            raise EpisodeRejected(location, f"the {text_key} of turn {number} is blank, expected texts")
        turns.append(_Turn(role, said, _tool_name(message, tools, number, location) if role == "tool" else ""))
    return turns


def _require_role(name: Any, key: str, before: _Role | None, number: int, location: str) -> _Role:
    """Return the role of a speaker, or raise EpisodeRejected if it cannot follow the role `before`."""
    allowed: tuple[_Role, ...] = ("system", "user") if before is None else _FOLLOWERS[before]
    for role in allowed:
        if name in _NAMES[role]:
            return role
    expected = " or ".join(_NAMES["user" if before in (None, "system", "agent") else "agent"][:2])
    raise EpisodeRejected(location, f"the {key} of turn {number} is {name!r}, expected {expected}")


def _read_text(message: Mapping[str, Any], key: str, number: int, location: str) -> str:
    """Return the text of a message, whose parts become lines; "" for null beside a call or a refusal's text."""
    content = message.get(key)
    if content is None and isinstance(refusal := message.get("refusal"), str):
        return refusal
    if content is None and _calls(message):
        return ""
    if not isinstance(content, list):
        content = [{"type": "text", "text": content}]
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get(_TEXT_PARTS.get(kind, "")) if isinstance(part, dict) and isinstance(kind, str) else part
        if not isinstance(text, str) or (isinstance(part, dict) and kind not in _TEXT_PARTS):
            shown = f"is of type {kind!r}" if kind not in (None, "text") else f"is {text!r:.40}"
            raise EpisodeRejected(location, f"a part of turn {number} {shown}, expected texts")
        texts.append(text)
    return "\n".join(texts)


def _calls(message: Mapping[str, Any]) -> list[Any]:
    """Return the calls of tools in a message of OpenAI, also in the older form `function_call`."""
    calls = message.get("tool_calls") or []
    older = message.get("function_call")
    return [*(calls if isinstance(calls, list) else [calls]), *([older] if older else [])]


def _body(call: Any) -> Any:
    """Return the part of a call that holds its name and arguments, in any of its forms."""
    return (call.get("function") or call.get("custom") or call) if isinstance(call, dict) else call


def _format_call(call: Any, location: str) -> str:
    """Return a call of a tool as the line `call NAME ARGUMENTS`, or raise EpisodeRejected if it has another form."""
    body = _body(call)
    name = body.get("name") if isinstance(body, dict) else None
    arguments = body.get("arguments", body.get("input", "")) if isinstance(body, dict) else None
    if not isinstance(name, str) or not name.strip() or not isinstance(arguments, (str, dict, list)):
        raise EpisodeRejected(location, f"a call is {call!r:.60}, expected a name and arguments")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return f"call {name} {text}".strip()


def _read_called_text(text: str, location: str) -> list[str]:
    """Return the lines of a turn `function_call` of ShareGPT, which is a JSON object or a list of them, or any text."""
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError:
        return [text]
    return [_format_call(call, location) for call in (parsed if isinstance(parsed, list) else [parsed])]


def _tool_name(message: Mapping[str, Any], tools: Mapping[str, str], number: int, location: str) -> str:
    """Return the name of the tool of a result; "" if it is unknown. Raise EpisodeRejected if it belongs to no call."""
    if (call := message.get("tool_call_id")) is None:
        return name if isinstance(name := message.get("name"), str) else ""
    if not isinstance(call, str) or call not in tools:
        raise EpisodeRejected(location, f"the tool_call_id of turn {number} is {call!r}, expected that of a call")
    return tools[call]
