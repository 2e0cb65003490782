"""Keywords, punctuation, case, language and structure in words: each description with answers that meet it or not."""

import random

import pytest

from rtt_lightning.types import Criterion
from rtt_lightning.verifiers.rules import RULES, parse_description
from rtt_lightning.verifiers.rules.checkers import Checkers
from rtt_lightning.verifiers.rules.known import FAMILIES
from rtt_lightning.verifiers.rules.rule import Rule
from tests.datamodules.test_prompt_sampler import EXAMPLES
from tests.verifiers.rules.test_bounds import BOUNDS, UNITS

CHECKERS = Checkers({})
ASKED = [(name, phrasing) for name, rule in RULES.items() if rule.phrasing for phrasing in rule.phrasing.sentences]
ANSWERS = [answer for _, *both in EXAMPLES.values() for answer, _ in both]
TABLE = "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |"

DECIDED = [  # description, an answer that meets it, one that does not
    ("Must include the keyword 'tea'", "I like Tea.", "I like coffee."),
    ("The answer must include the keyword \"green tea\".", "Green tea!", "Green and tea."),
    ("Must include the keywords 'tea' and 'milk'", "tea with milk", "tea"),
    ("The response must include the keywords 'tea', 'milk', and 'jam'", "jam, milk, tea", "jam, milk"),
    ("The answer should mention 'tea'", "tea", "coffee"),
    ("Must include the following keywords: 'tea', 'milk'", "tea milk", "milk"),
    ("Must not include the keyword 'tea'", "coffee", "tea"),
    ("The answer must not contain the words 'tea' or 'milk'", "coffee", "milk"),
    ("Do not use the word 'tea'", "coffee", "tea"),
    ("Avoid using the word 'tea'", "coffee", "Tea"),
    ("Avoid the phrase 'of course'", "Sure", "Of course not"),
    ("Must include the keyword 'tea' at least twice", "tea, tea", "tea"),
    ("The keyword 'tea' must appear at least 3 times", "tea tea tea", "tea tea"),
    ("The word 'tea' should appear exactly once", "tea", "tea tea"),
    ("Use the word 'tea' no more than 2 times", "tea tea", "tea tea tea"),
    ("The word 'tea' must appear 3 times or more.", "tea tea tea", "tea tea"),
    ("Use the word 'tea' 2 times or fewer", "tea tea", "tea tea tea"),
    ("Use the word 'tea' 2 or fewer times", "tea tea", "tea tea tea"),
    ("Ending punctuation must be a period", "Done.", "Done!"),
    ("Ending punctuation must be a question mark.", "Done?", "Done."),
    ("The answer must end with a period", "Done.", "Done"),
    ("The answer must end with an exclamation mark", "Done!", "Done."),
    ("The response should conclude with a semicolon", "Done;", "Done."),
    ("The answer must not contain any commas", "a b", "a, b"),
    ("Do not use exclamation marks", "a.", "a!"),
    ("Avoid commas", "a b", "a, b"),
    ("No commas", "a b", "a,b"),
    ("The answer must include a question mark", "a?", "a."),
    ("The answer must contain at least 2 commas", "a, b, c", "a, b"),
    ("The answer must use capitalized letters for each word", "I Like Tea", "I like Tea"),
    ("Each word in the response must begin with a capital letter", "Green Tea", "Green tea now"),
    ("Capitalize The First Letter Of Each Word", "Green Tea", "green Tea"),
    ("The answer must be in all uppercase letters.", "GREEN TEA 2", "Green TEA"),
    ("All letters must be uppercase", "GREEN", "GREeN"),
    ("The answer must be written entirely in uppercase letters", "TEA", "tEA"),
    ("The response must be in all capital letters", "TEA", "Tea"),
    ("Use only lowercase letters", "green tea 2", "Green tea"),
    ("Use lowercase letters throughout", "green tea", "Green tea"),
    ("The answer must be in small letters", "green tea", "Green tea"),
    ("The answer must be written in capitals", "TEA", "Tea"),
    ("The answer must be entirely uppercase", "TEA", "Tea"),
    ("Use all caps", "TEA", "Tea"),
    ("The answer must be in lowercase", "green", "Green"),
    ("The answer must be in Simplified Chinese", "这个国家的学习时间很长。", "這個國家的學習時間很長。"),
    ("Must use Traditional Chinese characters", "這個國家的學習時間很長。", "这个国家的学习时间很长。"),
    ("The answer must be written in English", "The weather is nice today and we walk.", "今天天气很好。"),
    ("Answer in Japanese", "今日はとてもいい天気です。", "The weather is nice today."),
    ("The answer must be in JSON format", '{"a": 1}', "a: 1"),
    ("The response must be formatted as a valid JSON object", '```json\n{"a": 1}\n```', '{"a": 1'),
    ("The answer must be a JSON array", "[1]", '{"a": 1}'),
    ("The answer must be a JSON object", '{"a": 1}', "[1]"),
    ("Object nesting levels must not exceed 3", '{"a": {"b": 1}}', '{"a": {"b": {"c": {"d": {"e": 1}}}}}'),
    ("JSON: Nesting depth must not exceed 1 level", '{"a": 1}', '{"a": {"b": {"c": 1}}}'),
    ("JSON nesting depth must be at least 2 levels", '{"a": {"b": {"c": 1}}}', '{"a": 1}'),
    ("The answer must be in XML format", "<a><b/></a>", "<a><b></a>"),
    ("The answer must include a table with no more than 2 rows", TABLE.rpartition("\n")[0], TABLE + "\n| 5 | 6 |"),
    ("The answer must include a table with no more than 2 columns", TABLE, "no table"),
    ("The answer must include a table with at most 1 column", "| a |\n|---|\n| 1 |", TABLE),
    ("If a table is used, it must not exceed 3 rows", TABLE, "\n".join([TABLE, "| 5 | 6 |", "| 7 | 8 |"])),
    ("Any table included must not exceed 3 columns", TABLE, "| a | b | c | d |\n|---|---|---|---|\n| 1 | 2 | 3 | 4 |"),
    ("Limit the table to three rows", TABLE, TABLE + "\n| 5 | 6 |\n| 7 | 8 |"),
    ("Must include a table", TABLE, "| a | b |"),
    ("Must include a level 2 heading", "## Tea\nwarm", "# Tea\nwarm"),
    ("The response must include a level 2 heading titled 'Green Tea'", "## Green Tea\nx", "## Tea\nx"),
    ("The answer must include at least two level 2 headings", "## A\n\n## B", "## A"),
    ("Use bullet points", "- a\n- b", "a\nb"),
    ("The answer must be formatted as a bullet list", "- a\n- b", "a\nb"),
    ("Heading levels must not exceed 3", "### Tea", "#### Tea"),
    ("The answer must contain at least 3 bullet points", "- a\n- b\n- c", "- a\n- b"),
    ("Write 3 bullet points or more.", "- a\n- b\n- c", "- a\n- b"),
    ("The answer must include bold text", "some **bold** text", "no bold text"),
]  # fmt: skip

DOUBTED = [  # description, an answer on which readers differ
    ("Must include the keyword 'tea'", "I like teas."),
    ("Must not include the keyword 'tea'", "I like steam."),
    ("The answer must end with a period", 'He said "done."'),
    ("The answer must use capitalized letters for each word", "The Lord of the Rings"),
    ("Object nesting levels must not exceed 1", '{"a": {"b": 1}}'),
    ("The answer must include a table with no more than 2 rows", TABLE),
    ("The table must not exceed 5 rows", "no table"),
    ("If a table is used, it must not exceed 3 rows", "no table"),
    ("Any table included must not exceed 3 rows", "no table"),
    ("The answer must include a question mark", "See https://tea.org/?q=1"),
    ("The answer must not contain any commas", "It has 1,000 rows"),
    ("Do not use colons", "At 10:30"),
    ("The answer must end with a period", "Well..."),
    ("The answer must end with an exclamation mark", "Really!?"),
    ("Avoid the phrase 'of course'", "**of** course"),
    ("The answer must be in JSON format", 'Here it is: {"a": 1}'),
    ("Object nesting levels must not exceed 3", 'Here:\n```json\n{"a": 1}\n```'),
    ("Use only lowercase letters", "茶"),
    ("Must include a level 2 heading", "Tea\n---"),
    ("Use bullet points", "```\n- a\n```"),
    ("The answer must include bold text", "`**a**`"),
    ("The answer must be in French", "12345"),
    ("At most 4 words", "a well-known green tea"),
    ("At most 1 sentence", "I met Dr. Tea. he said"),
    ("At most 2 paragraphs", "# Title\n\nOne.\n\nTwo."),
    ("At least 3 bullet points", "1. a\n2. b\n3. c"),
    ("The answer must be formatted as a bullet list", "Much prose.\n- one"),
    ("Heading levels must not exceed 3", "no heading"),
]  # fmt: skip

LEFT = [
    "The answer must be formal",
    "Each sentence must end with a period",
    "The script must end with a period",
    "Must include the keyword 'to' as part of the infinitive.",
    "Must include the keyword 'Qatar.'",  # is the full stop part of it?
    "Must include the keyword 'tea' or 'milk'",
    "Must include the keyword 'tea' twice",  # at least, or exactly?
    "Use the word 'tea' 3 times or more in each paragraph",
    "Use the word 'tea' 3 times or not at all",
    'The names "LSU" and "Zach Wilson" must appear multiple times in the text',
    "The answer must use capitalized letters for each section title",
    "The title must be in uppercase letters",
    "The answer must include a table with exactly three columns: Component, Minimum, and Description",
    "The list must not exceed 10 rows",
    "A table with exactly three rows must be included in the description",
    "Use at least three heading levels to organize the case study",
    "The answer must include a level 2 heading with the book's title.",
    "Number of attributes must be exactly 5",  # of what?
    "The answer must be in Klingon",
    "Do not use the word 'tea' in the title",
    "The answer must not end with a period",
    "The answer must not be in English",
    "Must not use commas to ensure clarity except in lists",
    "Must not use commas to ensure clarity in lists",
    "Use at most 3 exclamation marks to emphasize points in each paragraph",
    "Include a table to provide the nutritional values of each fruit",
    "Use all caps to highlight important information",
    "The answer must start with a level 1 heading",
    "Nesting depth must not exceed 2 levels",  # of what?
    "Use capital letters",
    "Use caps",
    "The answer must use capital letters",
    "Use uppercase letters to highlight section titles",
    "The answer should be small",
    "The answer must not contain both 'tea' and 'coffee'",
    "Do not use all the words 'tea' and 'milk'",
    "Avoid using each of the words 'tea' and 'milk'",
]


def test_no_two_rules_share_an_id() -> None:
    ids = [rule.id for family in FAMILIES for rule in vars(family).values() if isinstance(rule, Rule)]
    assert len(ids) == len(RULES) > 40


def test_every_rule_has_a_test_of_its_verdicts_and_of_its_reading() -> None:
    sentences = [row[0] for row in DECIDED] + [phrasing.format(u=unit) for phrasing in BOUNDS for unit in UNITS]
    read = {check[0] for sentence in sentences if (check := parse_description(sentence))}
    assert {name for name, rule in RULES.items() if rule.read} == read, "add a sentence to DECIDED, or to BOUNDS"
    assert {*RULES} == read | {*EXAMPLES}, "add what meets the new rule, and what does not, to EXAMPLES"


def verdict_on(description: str, answer: str) -> bool | None:
    check = parse_description(description)
    assert check is not None, "not understood"
    return CHECKERS.decide(Criterion(description, *check), answer).met


@pytest.mark.parametrize(("description", "met", "unmet"), DECIDED, ids=[row[0] for row in DECIDED])
def test_descriptions_are_decided_as_a_reader_would(description: str, met: str, unmet: str) -> None:
    assert verdict_on(description, met) is True
    assert verdict_on(description, unmet) is False
    assert verdict_on(description, "  \n") is not True


@pytest.mark.parametrize(("description", "answer"), DOUBTED)
def test_where_readers_differ_nothing_is_decided(description: str, answer: str) -> None:
    assert verdict_on(description, answer) is None


@pytest.mark.parametrize("description", LEFT)
def test_what_is_not_certain_is_left_to_a_judge(description: str) -> None:
    assert parse_description(description) is None


@pytest.mark.parametrize(("name", "phrasing"), ASKED)
def test_a_sentence_that_asks_for_a_rule_is_read_as_it_or_not_at_all(name: str, phrasing: str) -> None:
    """Another rule may be meant, as `keywords` for `include_word`: verdicts that both reach are the same; but that an
    unfinished sentence is none to `sentence_count`, which asks for complete ones in its other phrasing."""
    sampled = RULES[name].phrasing
    assert sampled is not None
    for seed in range(8):
        kwargs = sampled.draw(random.Random(seed), "tea")
        if (found := parse_description(phrasing.format(**kwargs))) is None:
            continue
        used = [str(word) for value in kwargs.values() for word in (value if isinstance(value, list) else [value])]
        for answer in [*ANSWERS, *used, " ".join(used * 3), "tea, Tea! tea?", "One. Two. Three?"]:
            if name == "rtt:sentence_count" and not answer.endswith((".", "!", "?")):
                continue
            asks, reads = RULES[name](answer, **kwargs).met, RULES[found[0]](answer, **found[1]).met
            assert None in (asks, reads) or asks == reads, (answer, found)
