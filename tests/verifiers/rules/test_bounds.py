"""Lengths in words: 60 phrasings and more, each tried on answers of nine lengths; and what is left to a judge."""

import pytest

from rtt_lightning.verifiers.rules import RULES, parse_description

BOUNDS = {  # at least 3 and at most 5 and the like, as (low, high)
    "The answer must be at most 5 {u}": (0, 5),
    "At most 5 {u}": (0, 5),
    "At most: 5 {u}": (0, 5),
    "The answer must contain at most 5 {u}.": (0, 5),
    "The answer must be at most 5 {u} long": (0, 5),
    "The response must contain at most five {u}": (0, 5),
    "No more than 5 {u}": (0, 5),
    "The response should be no more than 5 {u}": (0, 5),
    "The answer must not be longer than 5 {u}": (0, 5),
    "The answer must be no longer than 5 {u}": (0, 5),
    "The answer must not exceed 5 {u}": (0, 5),
    "The answer must not exceed a total of 5 {u}": (0, 5),
    "Your response should not exceed a maximum of 5 {u}": (0, 5),
    "The number of {u} must not exceed 5": (0, 5),
    "The answer must not go over 5 {u}": (0, 5),
    "Not more than 5 {u}": (0, 5),
    "Do it within 5 {u}": None,
    "The answer must be within 5 {u}": (0, 5),
    "Up to 5 {u}": (0, 5),
    "The answer may be up to 5 {u}": None,
    "A maximum of 5 {u}": (0, 5),
    "Maximum 5 {u}": (0, 5),
    "Max. 5 {u}": (0, 5),
    "Maximum length: 5 {u}": (0, 5),
    "5 {u} maximum": (0, 5),
    "5 {u} at most": (0, 5),
    "5 {u} or fewer": (0, 5),
    "5 {u} or less": (0, 5),
    "Write 5 {u} or fewer.": (0, 5),
    "Answer in 5 {u} or less.": (0, 5),
    "The answer must be 5 {u} or fewer": (0, 5),
    "Respond in 5 or fewer {u}.": (0, 5),
    "Write 5 {u} at most.": (0, 5),
    "Limit the answer to 5 {u}": (0, 5),
    "Limit your response to 5 {u}.": (0, 5),
    "The answer must be limited to 5 {u}": (0, 5),
    "The answer should be limited to a maximum of 5 {u}": (0, 5),
    "Keep it to 5 {u}": (0, 5),
    "<= 5 {u}": (0, 5),
    "Less than 5 {u}": (0, 4),
    "Fewer than 5 {u}": (0, 4),
    "The answer must be shorter than 5 {u}": (0, 4),
    "The answer must be under 5 {u}": (0, 4),
    "Below 5 {u}": (0, 4),
    "At least 3 {u}": (3, None),
    "At least: 3 {u}": (3, None),
    "The answer must contain at least three {u}": (3, None),
    "The response must consist of at least 3 {u}": (3, None),
    "A minimum of 3 {u}": (3, None),
    "Minimum: 3 {u}": (3, None),
    "3 {u} minimum": (3, None),
    "3 {u} or more": (3, None),
    "Write 3 {u} or more.": (3, None),
    "Write three {u} or more": (3, None),
    "The answer must be 3 {u} or longer": (3, None),
    "Write 3 {u} or more but no more than 5.": (3, 5),
    "3+ {u}": (3, None),
    ">= 3 {u}": (3, None),
    "No less than 3 {u}": (3, None),
    "No fewer than 3 {u}": (3, None),
    "The answer must not be shorter than 3 {u}": (3, None),
    "Not less than 3 {u}": (3, None),
    "More than 3 {u}": (4, None),
    "The answer must be longer than 3 {u}": (4, None),
    "Over 3 {u}": (4, None),
    "The answer must exceed 3 {u}": (4, None),
    "Exactly 4 {u}": (4, 4),
    "The answer must contain exactly four {u}": (4, 4),
    "Write 4 {u} exactly.": (4, 4),
    "Precisely 4 {u}": (4, 4),
    "The answer must be 4 {u} long": (4, 4),
    "The answer must consist of 4 {u}": (4, 4),
    "Between 3 and 5 {u}": (3, 5),
    "The answer must be between 3 and 5 {u} long": (3, 5),
    "The answer must be between three and five {u}": (3, 5),
    "The {u} count must be between 3 and 5": (3, 5),
    "Range: 3-5 {u}": (3, 5),
    "The answer must be 3-5 {u} long": (3, 5),
    "The answer must be 3 to 5 {u}": (3, 5),
    "From 3 to 5 {u}": (3, 5),
    "The answer must be within the range of 3 to 5 {u}": (3, 5),
    "The answer must be in the range 3–5 {u}": (3, 5),
    "At least 3 {u} and at most 5 {u}": (3, 5),
    "No fewer than 3 and no more than 5 {u}": (3, 5),
    "More than 3 {u} but fewer than 5 {u}": (4, 4),
    "Ensure that your response contains at least 3 {u}": (3, None),
    "The answer must be at most 5 {u} to maintain conciseness and clarity": (0, 5),
    "At most 5 {u}, in order to ensure readability in the answer": (0, 5),
}  # fmt: skip
UNITS = ("words", "sentences", "paragraphs")
LENGTHS = (1, 2, 3, 4, 5, 6, 7, 9, 12)


def answer_of(unit: str, n: int) -> str:
    if unit == "words":
        return " ".join(["tea"] * n)
    return {"sentences": " ", "paragraphs": "\n\n"}[unit].join(["Tea is warm."] * n)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("phrasing", BOUNDS)
def test_phrasings_of_lengths_are_decided_as_a_reader_would(phrasing: str, unit: str) -> None:
    bounds, check = BOUNDS[phrasing], parse_description(phrasing.format(u=unit))
    if bounds is None:
        assert check is None
        return
    assert check is not None
    low, high = bounds
    for n in LENGTHS:
        expected = low <= n and (high is None or n <= high)
        assert RULES[check[0]](answer_of(unit, n), **check[1]).met is expected, (n, check)


@pytest.mark.parametrize(
    ("description", "bounds"),
    [
        ("The answer must be no more than 1,000 words", (0, 1000)),
        ("Between two hundred and three hundred words", (200, 300)),
        ("At least twenty-five words", (25, None)),
        ("A single paragraph", None),
        ("The answer must be a single paragraph", (1, 1)),
        ("The answer must be one paragraph", (1, 1)),
        ("At most a hundred words", (0, 100)),
    ],
)
def test_numbers_in_words_and_with_separators(description: str, bounds: tuple[int, int | None] | None) -> None:
    check = parse_description(description)
    found = check and (check[1]["low"], check[1].get("high"))
    assert found == bounds


@pytest.mark.parametrize(
    "description",
    [
        "Each paragraph must be at most 50 words",
        "Each sentence must contain at least 5 words",
        "Limit each section to 50 words",
        "The introduction must be at most 50 words",
        "The rephrased statement must be at most 50 words.",
        "About 100 words",
        "Approximately 3 paragraphs",
        "Use at least 3 long words",
        "At least 3 different words",
        "The answer must contain 3 sentences",  # at least, or exactly?
        "Exactly 3 or 7 sentences",
        "At most 50% words",
        "At least 2.5 sentences",
        "Between 100 and 50 words",
        "The answer must not be at least 3 words",
        "At least 3 sentences must mention tea",
        "The third sentence must be short",
        "At most 5 characters",
        "The answer must be at most 100 words and include a table",
        "The answer must be at most 100 words to ensure that the reader must use 3 sentences",
        "must contain at least 150 words to ensure detail, but no more than a hundred and eighty words",
        "at least 100 words to ensure detail but not exceeding ten sentences",
        "at most 100 words to maintain brevity, excluding the title",
        "at least 100 words to ensure detail, eighty of them your own",
        "at most 100 words to ensure clarity in the summary",
        "must not be less than 50 words and more than 100 words",  # does "not" go on?
        "must not be more than 100 words and less than 50 words",
        "must not be less than 50 words or more than 100 words",
        "must not be under 50 words, over 100 words",
        "Do not write 20 words or more.",
        "Never answer in 20 words or less.",
        "Write about 20 words or more.",
        "Write 20 words or so.",
        "Write 20 words or a poem.",
        "Write 20 words or more per paragraph.",
        "Write 20 words or more than one paragraph.",
        "Write 20 words or more, or fewer than 5.",
        "Write 20 words or less, not more.",
        "Write at most 30 words or more.",
        "Write 20-30 words or more.",
        "Write 20 different words or more.",
        "The introduction must be 20 words or fewer.",
        "Each sentence must be 20 words or fewer.",
        "Every sentence is 20 words or fewer.",
        "Every sentence is exactly 5 words.",
        "All paragraphs must be 3 sentences or less.",
        "The answer must not be 20 words or fewer.",
        "The answer must be 20 words or fewer, each.",
        "Answer in 20 words or fewer sentences.",
        "Respond to the 3 sentences.",
        "must be of 50 words to a maximum of 100 words",
        "",
        "words",
    ],
)
def test_what_is_not_certain_is_left_to_a_judge(description: str) -> None:
    assert parse_description(description) is None
