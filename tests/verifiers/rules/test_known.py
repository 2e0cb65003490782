"""All rules together: how one is asked for and how that sentence is read must mean the same."""

import random

import pytest

from rtt_lightning.verifiers.rules import RULES, parse_description
from tests.datamodules.test_constraints import EXAMPLES

ASKED = [(name, phrasing) for name, rule in RULES.items() if rule.asked for phrasing in rule.asked.phrasings]
ANSWERS = [answer for _, *both in EXAMPLES.values() for answer, _ in both]


@pytest.mark.parametrize(("name", "phrasing"), ASKED)
def test_a_sentence_that_asks_for_a_rule_is_read_as_it_or_not_at_all(name: str, phrasing: str) -> None:
    """Another rule may be meant, as `keywords` for `include_word`: verdicts that both reach are the same; but that an
    unfinished sentence is none to `sentence_count`, which asks for complete ones in its other phrasing."""
    asked = RULES[name].asked
    assert asked is not None
    for seed in range(8):
        kwargs = asked.draw(random.Random(seed), "tea")
        if (found := parse_description(phrasing.format(**kwargs))) is None:
            continue
        used = [str(word) for value in kwargs.values() for word in (value if isinstance(value, list) else [value])]
        for answer in [*ANSWERS, *used, " ".join(used * 3), "tea, Tea! tea?", "One. Two. Three?"]:
            if name == "rtt:sentence_count" and not answer.endswith((".", "!", "?")):
                continue
            asks, reads = RULES[name](answer, **kwargs).met, RULES[found[0]](answer, **found[1]).met
            assert None in (asks, reads) or asks == reads, (answer, found)
