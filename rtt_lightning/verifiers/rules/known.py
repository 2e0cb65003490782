"""All built-in rules by id, and how to find the rule that a sentence asks for.

The scope of a rule says what is relevant to a criterion, by the paper's taxonomy: the whole answer for a global one,
even if spans tell the places of what is counted. Spans are the characters that decide: all for a length; what satisfies
a positive rule that is met; what violates a negative one that is not; else none.
"""

from rtt_lightning.verifiers.rules import counts, documents, edges, language, letters, marks, structure, tables, words
from rtt_lightning.verifiers.rules.grammar import bare
from rtt_lightning.verifiers.rules.rule import Arguments, Rule

FAMILIES = (words, edges, counts, marks, letters, language, documents, tables, structure)
RULES = {rule.id: rule for family in FAMILIES for rule in vars(family).values() if isinstance(rule, Rule)}


def parse_description(description: str) -> tuple[str, Arguments] | None:
    """The checker id and arguments that a criterion in words asks for; ``None`` if no rule is certain.

    A description is understood to the last word or not at all: the rest needs a judge, never a guess.
    """
    sentence = bare(description)
    for name, rule in RULES.items():
        if rule.read and (arguments := rule.read(sentence)) is not None:
            return name, arguments
    return None
