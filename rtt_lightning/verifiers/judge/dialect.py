"""What servers of one API take and do not take: how a request is put to one, and how else when it refuses."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rtt_lightning.types.errors import UserError

LENGTHS = ("max_completion_tokens", "max_tokens")
"""The longest reply: by OpenAI's newer name, which some servers do not know, and by the older one."""
ABOUT_FORMAT = re.compile(
    r"response.?format|json.?(?:schema|object|mode)|schema|guided|structured|grammar|constrained|outlines",
    re.IGNORECASE,
)
"""Words of a refusal that is about the schema."""
OWN = ("model", "messages", "n", "stream")
"""What a judge asks for is its own."""


def request_settings(
    longest: int, temperature: float | None, structured: bool, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields of a judge's requests, apart from the model and what it is asked.

    Args:
        longest: Tokens of a reply.
        temperature: Of sampling; null leaves it to the server.
        structured: Whether a schema is asked for.
        options: More fields. A name of `LENGTHS` in it is sent in place of ``longest``; null leaves a field out.

    Raises:
        UserError: For fields that the judge must set itself, or a length that is no number of tokens.
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
        structured: Whether it is asked to hold to a schema.
        length: The one name of `LENGTHS` that it is sent; empty for those of the configuration.
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
        """How to ask instead; ``None`` where that would not help.

        Without the schema wherever the words are about it; also after any other refusal of a server that has never
        taken it, unless the words name another field: whether the schema was the reason shows when it is asked without.

        Args:
            said: The server's words.
            body: What it was asked.
            proven: Whether it has taken this dialect before.
            is_refusal: Whether it refused the request; otherwise it failed with it.
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


def mend(said: str, body: Mapping[str, Any], options: Mapping[str, Any], may_be_schema: bool) -> str:
    """What to change of a judge whose server refuses a field, to follow its words; empty where they name none.

    Args:
        said: Its words.
        body: What it was asked.
        options: The judge's settings, as `request_settings` gives them.
        may_be_schema: Whether the schema could be why a server fails that says nothing of it.
    """
    mends = []
    for field in (field for field in _doubtful(body) if names_field(said, field)):
        if field == "temperature":
            mends.append("set the judge's temperature: null, which leaves it to the server")
        elif field in options and field not in LENGTHS:
            mends.append(f"{field} is of the judge's options, where null leaves it out")
        elif field == "seed":
            mends.append("set the judge's votes: 1, which sends no seed")
    if may_be_schema and not mends and "response_format" in body:
        mends.append("if it cannot hold to a JSON schema, set the judge's structured: false")
    return "".join(f"; {mend}" for mend in mends)


def _doubtful(body: Mapping[str, Any]) -> list[str]:
    """Fields that not every server takes."""
    return [field for field in body if field not in ("model", "messages", "response_format")]
