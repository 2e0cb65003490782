"""Bounds in words: from "no more than 150 words" to a unit, a lowest and a highest count.

Nothing is guessed. Each number must belong to a known phrase next to its unit, and every other word must be one that
changes nothing; any other description gives no bounds.
"""

import re
from collections.abc import Mapping, Sequence

_NO_MORE = r"(?:no|not|cannot|can not|can't|never|without)(?: (?:be|go|to|contain|have|include|use))?"
_MAX = r"(?:maximum|max\.?|upper limit|limit)(?: length| limit| number| count| total)?(?: is| of|:)*"
_MIN = r"(?:minimum|min\.?|lower limit)(?: length| limit| number| count| total)?(?: is| of|:)*"
_WHOLE = r"(?: (?:the|your|its|it|total|overall|answer|response|output|text|length|of|tables?))*"
_LIMITED = r"(?:or (?:more|longer|fewer|less|shorter)|at (?:the )?(?:most|least)|maximum|max|minimum|min|exactly)\b"
_AND = r"(?: and | to | ?[-–—~] ?)"

_PHRASES = (  # N and M stand for numbers, U for the unit; the first pattern that fits at a place wins
    (rf"(?:in |within )?(?:a |the )?range(?: is| of| from)?:? ?(?:between |from )?N(?: U)?{_AND}M", "range"),
    (rf"(?:anywhere |somewhere )?(?:in )?between:? N(?: U)?{_AND}M", "range"),
    (r"from N(?: U)? (?:up )?to M", "range"),
    (rf"(?:within )?N{_AND}M", "range"),
    (rf"{_NO_MORE} (?:more|longer|greater|higher|larger) than N", "most"),
    (rf"{_NO_MORE} (?:above|over|beyond) N", "most"),
    (rf"{_NO_MORE} (?:exceed|surpass)(?:s|ing)?(?: (?:a|the) (?:{_MAX}|total of|length of))? N", "most"),
    (rf"{_NO_MORE} (?:less|fewer|shorter|smaller|lower) than N", "least"),
    (rf"{_NO_MORE} (?:below|under|fall below) N", "least"),
    (r"at (?:the |a )?(?:most|maximum)(?: of)?:? N", "most"),
    (rf"(?:up to|within|(?:limited|restricted|confined|kept) to|capped at)(?: (?:a|the) {_MAX})? N", "most"),
    (rf"(?:limit|restrict|confine|keep)(?:ed)?{_WHOLE} to N", "most"),
    (rf"(?:a |the )?{_MAX} N", "most"),
    (r"(?:<=|≤) ?N", "most"),
    (r"at (?:the |a )?(?:least|minimum)(?: of)?:? N", "least"),
    (rf"(?:a |the )?{_MIN} N", "least"),
    (r"(?:>=|≥) ?N", "least"),
    (r"(?:less|fewer|shorter|smaller|lower) than N", "below"),
    (r"(?:under|below|<) ?N", "below"),
    (r"(?:more|longer|greater|higher|larger) than N", "above"),
    (r"(?:over|above|exceeds?|exceeding|>) ?N", "above"),
    (r"(?:exactly|precisely|equal to):? N", "exactly"),
    (r"N or M", "either"),
    (r"N(?: U)? or (?:fewer|less)", "most"),
    (r"N(?: U)? (?:at (?:the )?most|maximum|max\.?|or shorter)", "most"),
    (r"N(?: U)? or (?:more|longer)", "least"),
    (r"N(?: U)? (?:at (?:the )?least|minimum|min\.?)", "least"),
    (r"N ?\+", "least"),
    (r"N(?: U)? exactly", "exactly"),
    (rf"(?:be|is|in|of|using|write) (?:a )?N(?=[ -]U(?! {_LIMITED}))", "exactly"),  # "contain 3" may mean "at least 3"
    (r"(?:be|is|in|of|using|write) (?:only |just )?(?:a )?single(?= U)", "one"),
)
_BETWEEN = re.compile(r"(?: ?[,;.)]*| U\b.*| (?:and|but|or)\b.*|[,;] .*|-U.*)$", re.DOTALL)
"""What may follow a phrase: nothing, its unit, or another phrase."""
_FILLERS = frozenset(
    "a also an and answer be but comprise composed consist consisting consists contain containing contains count does "
    "entire full have has in include includes including is it its keep length made must number of output overall reply "
    "respond response shall should text the this to total use using whole will with write written your".split()
)
_PUNCTUATION = frozenset(".,:;()-")
_ONES: Sequence[str] = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen".split()
)
_TENS: Sequence[str] = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_TOKEN = re.compile(r"\w+|[^\w\s]|\s+")


def read_bounds(description: str, *units: str, fillers: frozenset[str] = frozenset()) -> dict[str, int] | None:
    """How many of a unit there may be, see `parse_bounds`; ``units`` are words for one of it."""
    found = parse_bounds(description, dict.fromkeys(units, ""), fillers)
    return found and found[1]


def parse_bounds(
    description: str, units: Mapping[str, str], fillers: frozenset[str] = frozenset()
) -> tuple[str, dict[str, int]] | None:
    """A unit and the bounds that a description states with certainty: ``low``, and ``high`` where there is a limit.

    Args:
        description: Such as "The answer must be between 50 and 100 words long".
        units: Names of units by words for one of them, such as ``{"word": "words"}``; one may occur.
        fillers: More words that change nothing.
    """
    text = with_digits(" ".join(description.lower().replace(",", " , ").split()))
    words = "|".join(units)
    found = {units[match[1]] for match in re.finditer(rf"\b({words})s?\b", text)}
    if len(found) != 1:
        return None
    text = re.sub(rf"\b(?:{words})s?(?: long| in total| in (?:total )?length)?\b", "U", text)
    low, high, stated, position = 0, None, False, 0
    while position < len(text):
        length, meaning, numbers = _phrase_at(text, position)
        if length:
            if not _BETWEEN.match(text, position + length):
                return None
            least, most = _range_of(meaning, numbers)
            if (low and least) or (high is not None and most is not None):
                return None  # in "not under 50 and over 100", the "not" may go on
            low, high = low or least, high if most is None else most
            position, stated = position + length, True
            continue
        token = _TOKEN.match(text, position)
        assert token is not None
        word = token[0].strip()
        if word and word != "U" and word not in _FILLERS and word not in fillers and word not in _PUNCTUATION:
            return None
        position = token.end()
    if not stated or (high is not None and high < low):
        return None
    return found.pop(), {"low": low} if high is None else {"low": low, "high": high}


def _phrase_at(text: str, position: int) -> tuple[int, str, list[int]]:
    """Length, meaning and numbers of the phrase that begins here; length 0 without one."""
    if position and text[position - 1].isalnum():
        return 0, "", []
    for pattern, meaning in _COMPILED:
        if match := pattern.match(text, position):
            return match.end() - position, meaning, [int(number) for number in match.groups()]
    return 0, "", []


def _range_of(meaning: str, numbers: list[int]) -> tuple[int, int | None]:
    """Least and most."""
    first, last = (numbers[0], numbers[-1]) if numbers else (1, 1)
    return {
        "range": (first, last),
        "either": (first, last) if last == first + 1 else (1, 0),  # 3 or 7 is no range; an empty one is refused
        "most": (0, last),
        "below": (0, last - 1),
        "least": (first, None),
        "above": (first + 1, None),
        "exactly": (first, first),
        "one": (1, 1),
    }[meaning]


def with_digits(text: str) -> str:
    """Numbers in small letters and with separators as digits: "two hundred" and "1 , 000" as 200 and 1000."""
    text = re.sub(r"(\d) , (\d{3})\b", r"\1\2", text)
    ones, tens = "|".join(_ONES[1:]), "|".join(_TENS)
    number = rf"\b(?:(?:({ones}) )?(hundred|thousand)|({tens})(?:[- ]({'|'.join(_ONES[1:10])}))?|({ones}))\b"

    def digits(match: re.Match[str]) -> str:
        count, scale, ten, one, small = match.groups()
        if scale:
            return str((_ONES.index(count) if count else 1) * (100 if scale == "hundred" else 1000))
        if ten:
            return str((_TENS.index(ten) + 2) * 10 + (_ONES.index(one) if one else 0))
        return str(_ONES.index(small))

    return re.sub(number, digits, re.sub(r"\ba (?=hundred\b|thousand\b)", "", text))


_COMPILED = tuple(
    (re.compile(pattern.replace("N", r"(\d+)").replace("M", r"(\d+)") + r"(?!\w)(?![.,]\d)(?! ?%)"), meaning)
    for pattern, meaning in _PHRASES
)
