"""Reads a server's answer to a chat completion request."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx

from rtt_lightning.runtime.servers import content_of, describe_answer, is_page, messages_in
from rtt_lightning.verifiers.judge.silence import why_silent


@dataclass(frozen=True)
class Reply:
    """What the model wrote, and why it cannot be read (``silence``, empty if it can)."""

    text: str
    silence: str


@dataclass(frozen=True)
class Completion:
    """A reply with the server's counts of prompt and reply tokens; 0 if it does not count them."""

    reply: Reply
    prompt_tokens: int
    completion_tokens: int


class NoCompletion(Exception):
    """An answer without a reply. ``status``: of HTTP, or that named by an error inside an answer of status 200."""

    def __init__(self, said: str, status: int) -> None:
        super().__init__(said)
        self.status = status


def read_completion(answer: httpx.Response) -> Completion:
    """The first choice of a chat completion.

    Raises:
        NoCompletion: For anything else (an error, also with status 200, a web page, an event stream, nothing), with the
            server's own words.
    """
    content, status = content_of(answer), answer.status_code
    if not answer.is_success:
        raise NoCompletion(describe_answer(answer), status)
    if not isinstance(content, dict):
        what = "the URL is no API, it answers with" if is_page(answer) else "it answers with no chat completion but"
        raise NoCompletion(f"{what} {describe_answer(answer)}", status)
    choices = content.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    message = choice.get("message") if isinstance(choice, dict) else None
    error = content.get("error") or (choice.get("error") if isinstance(choice, dict) else None)
    if error or not isinstance(message, dict):
        said = messages_in(error or content)
        raise NoCompletion(
            said if error else f"it answers with no chat completion but {said}", _status(error) or status
        )
    message = _plain(message)
    usage = content.get("usage")
    counts = [usage.get(name) if isinstance(usage, dict) else 0 for name in ("prompt_tokens", "completion_tokens")]
    prompt, own = (count if isinstance(count, int) and count > 0 else 0 for count in counts)
    return Completion(Reply(message["content"], why_silent(message, choice.get("finish_reason"))), prompt, own)


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message whose content is text: joins content in parts, and separates reasoning and a refusal."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    typed = [part if isinstance(part, dict) else {"type": "text", "text": part} for part in parts]
    text = "".join(str(part.get("text") or "") for part in typed if part.get("type", "text") in ("text", "output_text"))
    beside = {name: part for part in typed for name in ("thinking", "reasoning", "refusal") if part.get("type") == name}
    reasoning = beside.get("thinking") or beside.get("reasoning")
    refusal = beside.get("refusal", {}).get("refusal")
    found = {"reasoning": reasoning, "refusal": refusal}
    return {**message, **{name: value for name, value in found.items() if value}, "content": text}


def _status(error: Any) -> int | None:
    """The status named by an error inside an answer, as a number or in digits."""
    if not isinstance(error, dict):
        return None
    for name in ("code", "status", "status_code"):
        digits = str(error.get(name))
        if digits.isdecimal() and 400 <= int(digits[:9]) < 600:
            return int(digits)
    return None
