"""Differences between servers of one API: the form of a request, and other forms if a server refuses it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rtt_lightning.types.errors import UserError

LENGTHS = ("max_completion_tokens", "max_tokens")
"""Names of the longest reply: OpenAI's newer one, which some servers do not know, and the older one."""
ABOUT_FORMAT = re.compile(
    r"response.?format|json.?(?:schema|object|mode)|schema|guided|structured|grammar|constrained|outlines",
    re.IGNORECASE,
)
"""Words of a refusal because of the schema."""
OWN = ("model", "messages", "n", "stream")
"""Fields that the judge sets itself."""


def request_settings(
    longest: int, temperature: float | None, structured: bool, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields of a judge's requests, without model and messages.

    Args:
        longest: Tokens of a reply.
        temperature: Of sampling; ``None`` leaves it to the server.
        structured: Whether to request a schema.
        options: More fields. A name of `LENGTHS` here replaces ``longest``; null leaves a field out.

    Raises:
        UserError: For fields that the judge sets itself, or a length that is not a number of tokens.
    """
    if fixed := {*OWN, *(["response_format"] if structured else [])} & set(options):
        other = "; response_format needs structured: false" if "response_format" in fixed else ""
        raise UserError(f"the judge's options must not hold {', '.join(sorted(fixed))}, which it sets itself{other}")
    for name in LENGTHS:
        tokens = options.get(name)
        if tokens is not None and (type(tokens) is not int or tokens < 1):
            raise UserError(f"{name} of the judge's options must be a number of tokens, got {tokens!r}")
    length = {} if set(LENGTHS) & set(options) else {LENGTHS[0]: longest}
    fields = {**length, "temperature": temperature, **options}
    return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True)
class Dialect:
    """How one server is asked.

    Attributes:
        structured: Whether it is asked to follow a schema.
        length: The name of `LENGTHS` to send; empty for the configured one.
    """

    structured: bool
    length: str = ""

    def body(self, request: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a request, in this dialect."""
        body = dict(request)
        if self.length:
            body[self.length] = next(value for value in [body.pop(name, None) for name in LENGTHS] if value is not None)
        if self.structured:
            format = {"name": "verdicts", "schema": dict(schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": format}
        return body

    def after(self, said: str, body: Mapping[str, Any], proven: bool, is_refusal: bool) -> "Dialect | None":
        """How to ask instead; ``None`` if that would not help.

        Without the schema if the server's words are about it; also after any other refusal by a server that has never
        accepted it, unless the words name another field: the next attempt shows whether the schema was the reason.

        Args:
            said: The server's words.
            body: The request.
            proven: Whether it has accepted this dialect before.
            is_refusal: Whether it refused the request; otherwise it failed.
        """
        if is_refusal and not proven and not self.length:
            for name, other in (LENGTHS, LENGTHS[::-1]):
                if name in body and names_field(said, name):
                    return replace(self, length=other)
        if not self.structured:
            return None
        is_guess = is_refusal and not proven and not any(names_field(said, field) for field in _doubtful(body))
        return replace(self, structured=False) if ABOUT_FORMAT.search(said) or is_guess else None


def names_field(said: str, field: str) -> bool:
    """Whether a server's words name a field of the request."""
    return re.search(rf"\b{re.escape(field)}\b", said, re.IGNORECASE) is not None


def suggest_fix(said: str, body: Mapping[str, Any], options: Mapping[str, Any], may_be_schema: bool) -> str:
    """Which of a judge's settings to change if its server refuses a field; empty if its words name none.

    Args:
        said: The server's words.
        body: The request.
        options: The judge's settings, from `request_settings`.
        may_be_schema: Whether the schema may be the reason although the server does not say so.
    """
    fixes = []
    for field in (field for field in _doubtful(body) if names_field(said, field)):
        if field == "temperature":
            fixes.append("set the judge's temperature: null, which leaves it to the server")
        elif field in options and field not in LENGTHS:
            fixes.append(f"{field} is of the judge's options, where null leaves it out")
        elif field == "seed":
            fixes.append("set the judge's votes: 1, which sends no seed")
    if may_be_schema and not fixes and "response_format" in body:
        fixes.append("if it cannot follow a JSON schema, set the judge's structured: false")
    return "".join(f"; {fix}" for fix in fixes)


def _doubtful(body: Mapping[str, Any]) -> list[str]:
    """Fields that not every server accepts."""
    return [field for field in body if field not in ("model", "messages", "response_format")]
