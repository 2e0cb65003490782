"""Prompts as conversations."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from rtt_lightning.types.errors import UserError

Message = dict[str, str]
"""One chat turn: ``{"role": ..., "content": ...}``."""
ROLES = ("system", "developer", "user", "assistant")
OTHERS = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant", "ai": "assistant"}
"""Other formats' names of the roles."""
TOOLS = ("tool_calls", "function_call", "tool_call_id")
NO_TOOLS = "tool calls are not supported: leave such rows out"


def conversation(value: Any) -> tuple[Message, ...]:
    """The turns of a prompt. A user's turn must be last: the policy answers it.

    The content of a turn is text, or a list of parts ``{"type": "text", "text": ...}``.

    Raises:
        UserError: For anything else, an unknown role, an empty turn, or tool calls.
    """
    if not isinstance(value, list | tuple) or not value:
        raise UserError(f"field `messages` must be a list of {{role, content}} objects, got {value!s:.80}")
    turns = tuple(_turn(turn, f"messages[{number}]") for number, turn in enumerate(value))
    last = turns[-1]["role"]
    if last == "assistant":
        raise UserError(
            "field `messages` ends with a turn of the assistant, which the policy would follow with another one; leave "
            "that turn out (an answer to learn from is not part of a prompt)"
        )
    if last != "user":
        raise UserError(f"field `messages` must end with a turn of the user, which the policy answers, got {last!r}")
    return turns


def refuse_tools(row: Mapping[str, Any]) -> None:
    """Raise for a row whose prompt has tools, which would be lost.

    Raises:
        UserError: If it has any.
    """
    if row.get("tools"):
        raise UserError(f"field `tools` holds tools, and {NO_TOOLS}")


def is_conversation(value: Any) -> bool:
    """Whether it is a list of {role, content} texts, at least one."""
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(
            isinstance(m, Mapping) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str)
            for m in value
        )
    )


def _turn(turn: Any, field: str) -> Message:
    if not isinstance(turn, Mapping) or not isinstance(turn.get("role"), str):
        raise UserError(f"field `{field}` must be an object with `role` and `content`, got {turn!s:.80}")
    role = turn["role"]
    if role in ("tool", "function") or any(turn.get(name) for name in TOOLS):
        raise UserError(f"field `{field}`: {NO_TOOLS}")
    if role not in ROLES:
        near = OTHERS.get(role.lower()) or next(iter(get_close_matches(role.lower(), ROLES)), None)
        hint = f"; did you mean {near!r}?" if near else ""
        raise UserError(f"field `{field}.role` must be one of {', '.join(ROLES)}, got {role!r:.40}{hint}")
    content = _content(turn.get("content"), f"{field}.content")
    if role in ("user", "assistant") and not content.strip():
        raise UserError(f"field `{field}.content` is empty; each turn must say something")
    return {"role": role, "content": content}


def _content(value: Any, field: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) and all(map(_is_text, value)):
        return "".join(part["text"] for part in value)
    raise UserError(f"field `{field}` must be a string, or a list of parts of text, got {value!s:.80}")


def _is_text(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)
