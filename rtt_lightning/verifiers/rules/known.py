"""All built-in rules by id, and what sentences ask for by them.

The scope of a rule says what is relevant to a criterion, by the paper's taxonomy: with a global one that is the whole
answer, also where spans tell the places of what is counted. Spans are the characters that decide: all of them for a
length; what satisfies a positive rule when it is met, and what violates a negative one when it is not; else none.
"""

from rtt_lightning.verifiers.rules import counts, documents, edges, language, letters, marks, structure, tables, words
from rtt_lightning.verifiers.rules.grammar import bare
from rtt_lightning.verifiers.rules.rule import Arguments, Rule

FAMILIES = (words, edges, counts, marks, letters, language, documents, tables, structure)
RULES = {rule.id: rule for family in FAMILIES for rule in vars(family).values() if isinstance(rule, Rule)}


def parse_description(description: str) -> tuple[str, Arguments] | None:
    """The checker id and its arguments that a constraint in words asks for; ``None`` where no rule is certain.

    A description is understood to the last word or not at all: what is left over goes to a judge, never to a guess.
    """
    sentence = bare(description)
    for name, rule in RULES.items():
        if rule.read and (arguments := rule.read(sentence)) is not None:
            return name, arguments
    return None
