"""The judge's prompt: a template from a file, with texts that can neither expand in it nor break out of it."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtt_lightning.types import Message
from rtt_lightning.types.errors import UserError

DEFAULT, WITH_EVIDENCE = (Path(__file__).with_name(name) for name in ("template.txt", "evidence.txt"))
PLACES = ("prompt", "response", "criteria")
STEERING = re.compile(
    r"\b(?:grade|mark|rate|score|judge|count|consider) (?:this|it|the response|my response|all|every criteri\w+)\b"
    r".{0,40}\b(?:met|satisfied|passed|correct|true|yes|perfect|10)\b"
    r"|\b(?:ignore|disregard|forget) (?:all |any |the |your )*(?:previous|prior|above|earlier) "
    r"(?:instructions|criteria)"
    r"|[\"']?\b(?:met|verdicts?)\b[\"']?\s*:\s*(?:true|\[)"
    r"|\b(?:dear|note to|attention,?|as) (?:the )?(?:judge|grader|evaluator)\b"
    r"|\ball (?:the )?(?:criteria|constraints|requirements) (?:are|have been|were) (?:fully )?"
    r"(?:met|satisfied|followed)\b",
    re.IGNORECASE | re.DOTALL,
)
"""Words in a response that address its judge."""


@dataclass(frozen=True)
class Template:
    """Two messages with places for the prompt, the response and, after both, the criteria.

    So servers can share the work on what comes before the criteria.

    Attributes:
        system: The system message.
        user: The user message.
        version: The first 12 hex digits of the file's SHA-256; verdicts of different versions are kept apart.
    """

    system: str
    user: str
    version: str


def read_template(path: Path, like: Path = DEFAULT) -> Template:
    """A file of ``[system]`` and ``[user]``, with ``{{prompt}}``, ``{{response}}`` and ``{{criteria}}`` in the latter;
    ``like`` is one to learn from.

    Raises:
        UserError: If the file is missing, or has another form.
    """
    if not path.is_file():
        raise UserError(f"no template at {path}; copy {like} and change it")
    text = path.read_text(encoding="utf-8")
    match = re.fullmatch(r"\[system\]\n(.*)\n\[user\]\n(.*)", text, re.DOTALL)
    if match is None:
        raise UserError(f"{path} must hold a line [system], its text, a line [user], and its text; see {like}")
    found = re.findall(r"\{\{(\w+)\}\}", match[2])
    if sorted(found) != sorted(PLACES) or found[-1] != "criteria":
        raise UserError(
            f"the [user] part of {path} must hold {{{{prompt}}}} and {{{{response}}}}, and after them "
            f"{{{{criteria}}}}, once each; it holds {found}"
        )
    return Template(match[1].strip(), match[2].strip(), hashlib.sha256(text.encode()).hexdigest()[:12])


def render(template: Template, conversation: str, response: str, criteria: Sequence[str]) -> list[Message]:
    """The messages that ask about some criteria of a response.

    Args:
        template: With places for the texts; inserted texts are not expanded.
        conversation: That the response answers.
        response: To judge.
        criteria: To decide; numbered from 1.
    """
    numbered = "\n".join(f"{number}. {' '.join(text.split())}" for number, text in enumerate(criteria, start=1))
    fence = _fence(conversation, response)
    texts = {"prompt": f"{fence}\n{conversation}\n{fence}", "response": f"{fence}\n{response}\n{fence}"}
    texts["criteria"] = numbered
    texts = {name: text.encode("utf-8", "replace").decode() for name, text in texts.items()}  # no lone surrogates
    user = re.sub(r"\{\{(\w+)\}\}", lambda match: texts[match[1]], template.user)
    return [{"role": "system", "content": template.system}, {"role": "user", "content": user}]


def shortened(text: str, limit: int) -> str:
    """Beginning and end of a text longer than ``limit`` characters, and how much is left out between."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters are left out here ...]\n{text[-half:]}"


def steers(response: str) -> bool:
    """Whether a response addresses its judge."""
    return STEERING.search(response) is not None


def _fence(*texts: str) -> str:
    """A fence longer than any in the texts."""
    runs = (len(run) for text in texts for run in re.findall("~+", text))
    return "~" * max(8, max(runs, default=0) + 1)
