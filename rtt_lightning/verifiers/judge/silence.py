"""Why a judge's reply has no verdict: cut off, withheld, declined, a tool call, only reasoning, or empty."""

import re
from collections.abc import Mapping
from typing import Any

LESS_REASONING = "turn its reasoning off by the judge's options"
CUT_OFF = "its reply was cut off; raise the judge's max_completion_tokens"
CUT_OFF_REASONING = f"its reasoning was cut off before any reply; raise max_completion_tokens, or {LESS_REASONING}"
BROKEN_OFF = "the judge's reply was broken off by a failure of its server"
EMPTY = "the judge's reply is empty"
REASONING_ALONE = f"the judge's reply is reasoning alone; {LESS_REASONING}"
TOOL_CALL = "the judge calls a tool and replies nothing; have its server parse no tools"
WITHHELD = "the judge's reply was withheld by a content filter of its server"

DECLINING = re.compile(
    r"\W*(?:I(?:['’]m|m| am) (?:very |so |really )?(?:sorry|unable|not able)|sorry\b|(?:I|my) apolog|as an AI\b"
    r"|(?:unfortunately,? )?I (?:can['’]?t|can ?not|won['’]?t|will not|must decline|decline|refuse)\b"
    r"(?: to)?(?: help| assist| comply| judge| evaluate| assess| rate| grade| provide| fulfil| do| continue| engage))",
    re.IGNORECASE,
)
"""Beginnings of texts that decline; used only if there is no verdict."""
CALLING = re.compile(
    r"\W*(?:tool.?calls?\b|python_tag\b|function(?:_call)?\s*=|\"?(?:name|function)\"\s*:)", re.IGNORECASE
)
"""Beginnings of texts that are a tool call, which the server did not parse."""


def why_silent(message: Mapping[str, Any], finish_reason: str | None) -> str:
    """Why a chat message has no readable text; empty if it has.

    Args:
        message: Of a choice of a chat completion.
        finish_reason: Of the same choice. A text that was cut off is not readable.
    """
    text = str(message.get("content") or "").strip()
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if finish_reason in ("error", "abort"):
        return BROKEN_OFF
    if finish_reason == "length":
        return CUT_OFF if text or not reasoning else CUT_OFF_REASONING
    if text:
        return ""
    if message.get("refusal"):
        return _declined(str(message["refusal"]))
    if finish_reason == "content_filter":
        return WITHHELD
    if message.get("tool_calls") or message.get("function_call"):
        return TOOL_CALL
    return REASONING_ALONE if reasoning else EMPTY


def without_verdict(text: str, reasoning: bool, what: str = "verdict") -> str:
    """Why a text states no verdict, by its beginning.

    Args:
        text: A reply without its reasoning.
        reasoning: Whether there was reasoning.
        what: Was asked for.
    """
    text = text.strip()
    if not text:
        return REASONING_ALONE if reasoning else EMPTY
    if CALLING.match(text):
        return TOOL_CALL
    return _declined(text) if DECLINING.match(text) else f"the judge's reply holds no {what}"


def _declined(words: str) -> str:
    return f"the judge declines: {' '.join(words.split())[:100]!r}"
