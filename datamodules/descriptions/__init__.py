"""Constraints in words, such as "The answer must not exceed 5 sentences", as checks by rule.

A description is understood to the last word or not at all: what is left over goes to a judge, never to a guess.
"""

from rtt_lightning.datamodules.descriptions.bounds import parse_bounds
from rtt_lightning.datamodules.descriptions.grammar import bare
from rtt_lightning.datamodules.descriptions.structure import parse_structure
from rtt_lightning.datamodules.descriptions.wording import Check, parse_wording

UNITS = {"word": "words", "sentence": "sentences", "paragraph": "paragraphs"}


def parse_description(description: str) -> Check | None:
    """The checker id and its arguments that a constraint in words asks for; ``None`` where no rule is certain."""
    description = bare(description)
    if bounds := parse_bounds(description, UNITS):
        return f"rtt:count_{bounds.unit}", bounds.limits
    return parse_wording(description) or parse_structure(description)
