"""Patterns to read criteria in words, such as "The answer must not exceed 5 words"."""

import re
from collections.abc import Callable

from rtt_lightning.verifiers.rules.bounds import with_digits
from rtt_lightning.verifiers.rules.rule import Arguments, Read

SUBJECT = (
    r"(?:(?:the|your|this) (?:entire |whole |final |full )?(?:answer|response|output|reply|text) |it )?"
    r"(?:(?:must|should|shall|will|has to|needs to) )?(?:also )?"
)
"""The whole answer, or nothing, with the same meaning."""
WHOLE = r"(?:the|your) (?:answer|response|output|reply|text)"
HAVE = r"(?:include|contain|use|have|mention|incorporate|feature)s?"
NOT_HAVE = (
    rf"(?:{SUBJECT}(?:not|never) (?:include|contain|use|have|mention|feature)|"
    rf"{SUBJECT}(?:do not|don't|never|avoid|exclude|omit)(?: (?:include|contain|use|using|including|mention|mentioning|"
    r"the use of|any use of))?)"
)
WRITTEN = r"(?:be )?(?:written |formatted |presented |provided |given |composed )?"
GIVEN = r"(?:be )?(?:formatted |presented |provided |given |returned |written |output |structured |expressed )?"
QUOTED = r"(?:'[^'\"]+'|\"[^\"]+\"|‘[^‘’]+’|“[^“”]+”|`[^`]+`)"
LIST = rf"{QUOTED}(?:(?:, ?(?:and )?| and ){QUOTED})*"
LIST_OR = rf"{QUOTED}(?:(?:, ?(?:and |or )?| and | or | nor ){QUOTED})*"


def reads(*patterns: str, arguments: Callable[[re.Match[str]], Arguments | None] = lambda found: {}) -> Read:
    """Reads sentences that match one of the patterns completely; ``arguments`` makes arguments from the match."""

    def read(sentence: str) -> Arguments | None:
        found = fits(sentence, *patterns)
        return None if found is None else arguments(found)

    return read


def fits(description: str, *patterns: str) -> re.Match[str] | None:
    """The match of the first pattern for a whole description, regardless of case, spaces and final full stop."""
    text = " ".join(description.split()).removesuffix(".")
    found = (re.fullmatch(pattern, text, re.IGNORECASE) for pattern in patterns)
    return next((match for match in found if match), None)


def read_quoted(text: str) -> list[str] | None:
    """Texts in quotation marks; ``None`` if a mark at an end may or may not belong to one, as in 'tea.'"""
    found = [piece[1:-1].strip() for piece in re.findall(QUOTED, text)]
    clear = all(piece and (piece[-1].isalnum() or piece[-1] not in ".,;:!?") for piece in found)
    return found if found and clear else None


def bare(description: str) -> str:
    """A description without parts that ask for nothing: "ensure that", or purposes such as "to maintain clarity"."""
    text = " ".join(description.split()).removesuffix(".")
    text = re.sub(_OPENINGS, "", text, flags=re.IGNORECASE)
    purpose = re.search(rf",? (?:in order )?to (?:{_PURPOSES})\b(.*)$", text, re.IGNORECASE)
    if purpose and not re.search(_DEMANDS, with_digits(purpose[1].lower())):
        return text[: purpose.start()]
    return text


_OPENINGS = (
    r"^(?:please )?(?:(?:ensure|ensuring|make sure)(?: that)?|it is (?:crucial|important|essential) (?:that|to)) "
)
_PURPOSES = "ensure|maintain|preserve|promote|enhance|improve|provide|meet"  # "to highlight" would name a part
_DEMANDS = (
    r"[\d'\"‘“`;]|\b(?:must|should|with|without|includ\w+|contain\w*|use|using|avoid\w*|except\w*|exceed\w*|exclud\w+|"
    r"unless|if|when|where|in(?! (?:the|your) (?:answer|response|output|reply|text)\b)|only|but|no|not|never|most|"
    r"least|more|less|fewer|once|twice|each|every|per|all|titles?|headings?|sections?|paragraphs?|sentences?|"
    r"(?:key ?)?words?|terms?)\b"
)
"""What makes a purpose more than that: another demand or number, an exception, a part of the answer."""
