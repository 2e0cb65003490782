"""Finds the characters that decide verdicts of IFEval's and IFBench's evaluators, which do not report them.

As in `rtt_lightning.verifiers.rules.known`: the whole answer for a length or a language, what satisfies a positive
instruction that is met, what violates a negative one that is not met; else nothing. What an evaluator counts is found
as the evaluator finds it, without white space around it. ``None`` for instructions of IFBench about some place of the
answer.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from rtt_lightning.types import Span

Spans = tuple[Span, ...]
Arguments = Mapping[str, Any]

GLOBAL = frozenset(
    """
    language:response_language length_constraints:number_sentences length_constraints:number_paragraphs
    length_constraints:number_words length_constraints:nth_paragraph_first_word detectable_format:json_format
    combination:two_responses change_case:english_capital change_case:english_lowercase
    count:word_count_range count:unique_word_count count:conjunctions count:pronouns count:punctuation
    ratio:stop_words ratio:sentence_type ratio:sentence_balance ratio:overlap ratio:sentence_words
    words:alphabet words:vowel words:prime_lengths words:repeats words:odd_even_syllables words:last_first
    words:paragraph_last_first words:no_consecutive sentence:increment sentence:alliteration_increment
    format:newline format:line_indent format:title_case format:no_whitespace format:emoji
    custom:multiples custom:reverse_newline custom:word_reverse custom:character_reverse custom:sentence_alphabet
    custom:european_capitals_sort custom:csv_city custom:csv_special_character custom:csv_quotes
    custom:date_format_list repeat:repeat_change repeat:repeat_simple repeat:repeat_span
    """.split()
)
COUNTED = frozenset(
    """
    keywords:frequency keywords:letter_frequency change_case:capital_word_frequency
    detectable_content:number_placeholders detectable_format:number_bullet_lists
    detectable_format:number_highlighted_sections detectable_format:multiple_sections
    """.split()
)
"""Also global by the paper's taxonomy, although spans tell the places of what is counted."""


def deciding_spans(name: str, answer: str, met: bool, arguments: Arguments) -> Spans | None:
    """The characters that decide a verdict.

    Args:
        name: Id of the instruction.
        answer: The answer.
        met: The verdict.
        arguments: Of the instruction, without nulls.

    Returns:
        Half-open ranges in order; ``None`` where they cannot be told.
    """
    if name in GLOBAL:
        return ((0, len(answer)),)
    if name not in LOCAL:
        return None
    negative = name in NEGATIVE or any(arguments.get(key) == "less than" for key in RELATIONS)
    if met == negative:
        return ()
    try:
        return LOCAL[name](answer, arguments) or None
    except re.error:  # some patterns are valid only alone
        return None


NEGATIVE = frozenset({"keywords:forbidden_words", "punctuation:no_comma"})
"""Those that forbid what the spans tell."""
RELATIONS = ("relation", "let_relation", "capital_relation")
"""Arguments that say whether a count should be at least a number, or less."""


def _words(answer: str, arguments: Arguments) -> Spans:
    """Keywords are patterns to the evaluators."""
    return _matches("|".join(f"(?:{word})" for word in arguments["keywords"]), answer)


def _forbidden(answer: str, arguments: Arguments) -> Spans:
    return _matches("|".join(rf"\b(?:{word})\b" for word in arguments["forbidden_words"]), answer)


def _letters(answer: str, arguments: Arguments) -> Spans:
    letter = arguments["letter"].strip().lower()
    return tuple((i, i + 1) for i, character in enumerate(answer) if letter in character.lower())


def _capitals(answer: str, arguments: Arguments) -> Spans:
    """By the tokens of NLTK, which splits "I'm" in two."""
    import nltk

    spans, position = [], 0
    for token in nltk.word_tokenize(answer):
        start = answer.find(token, position)
        if start < 0 or token in ("``", "''"):  # quotation marks, which NLTK rewrites
            continue
        position = start + len(token)
        if token.isupper():  # it may start with a quotation mark
            spans.append((position - len(token.lstrip("'")), position))
    return tuple(spans)


def _bullets(answer: str, arguments: Arguments) -> Spans:
    found = (*_matches(r"^\s*\*[^\*].*$", answer, re.MULTILINE), *_matches(r"^\s*-.*$", answer, re.MULTILINE))
    return tuple(sorted(found))


def _highlights(answer: str, arguments: Arguments) -> Spans:
    """Each span once, with all of its asterisks; the evaluator counts text between double asterisks twice."""
    double, single = r"\*\*[^\n\*]*\*\*", r"\*[^\n\*]*\*"
    pairs = [span for span in _matches(double, answer) if answer[slice(*span)].strip("* ")]
    others = [span for span in _matches(single, answer) if answer[slice(*span)].strip("* ")]
    return tuple(sorted({*pairs, *(s for s in others if not any(a <= s[0] and s[1] <= b for a, b in pairs))}))


def _postscript(answer: str, arguments: Arguments) -> Spans:
    marker = arguments["postscript_marker"].strip()
    known = {"P.P.S": r"p\.\s?p\.\s?s.*$", "P.S.": r"p\.\s?s\..*$"}
    return _matches(known[marker] if marker in known else marker + ".*$", answer, re.IGNORECASE | re.MULTILINE)


def _title(answer: str, arguments: Arguments) -> Spans:
    return tuple(span for span in _matches(r"<<[^\n]+>>", answer) if answer[slice(*span)].strip("<>").strip())


def _options(answer: str, arguments: Arguments) -> Spans:
    return _matches(r"My answer is (?:yes|no|maybe)\.", answer, 0)


def _sections(answer: str, arguments: Arguments) -> Spans:
    return _matches(rf"{arguments['section_spliter'].strip()}\s?\d+", answer, 0)


def _repeated_prompt(answer: str, arguments: Arguments) -> Spans:
    return _matches(rf"\A\s*{re.escape(arguments['prompt_to_repeat'].strip())}", answer)


def _ending(answer: str, arguments: Arguments) -> Spans:
    return _matches(rf"{re.escape(arguments['end_phrase'].strip())}(?=[\s\"]*\Z)", answer)


def _quotation_marks(answer: str, arguments: Arguments) -> Spans:
    return _matches(r"\A\s*\"|\"(?=\s*\Z)", answer)


def _matches(pattern: str, answer: str, flags: int = re.IGNORECASE) -> Spans:
    """Spans of matches, without white space at their ends."""
    found = ((match.start(), match[0]) for match in re.finditer(pattern, answer, flags))
    bare = ((start + len(text) - len(text.lstrip()), start + len(text.rstrip()), text) for start, text in found)
    return tuple((start, end) for start, end, text in bare if text.strip())


LOCAL: dict[str, Callable[[str, Arguments], Spans]] = {
    "keywords:existence": _words,
    "keywords:frequency": lambda answer, arguments: _matches(arguments["keyword"].strip(), answer),
    "keywords:forbidden_words": _forbidden,
    "keywords:letter_frequency": _letters,
    "detectable_content:number_placeholders": lambda answer, _: _matches(r"\[.*?\]", answer),
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": _options,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:title": _title,
    "combination:repeat_prompt": _repeated_prompt,
    "startend:end_checker": _ending,
    "change_case:capital_word_frequency": _capitals,
    "punctuation:no_comma": lambda answer, _: _matches(",", answer),
    "startend:quotation": _quotation_marks,
}
