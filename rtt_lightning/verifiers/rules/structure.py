"""Rules of structure: headings, lists and bold text.

Where readers differ (is a list in a block of code a list?) a count is a range, as in
`rtt_lightning.verifiers.rules.counts`: the criterion is met or not if all readers agree, else unscorable.
"""

import re
from collections.abc import Iterator

from rtt_lightning.types import Span, Verdict
from rtt_lightning.verifiers.rules.bounds import read_bounds
from rtt_lightning.verifiers.rules.grammar import GIVEN, HAVE, QUOTED, SUBJECT, fits, read_quoted, reads
from rtt_lightning.verifiers.rules.rule import Arguments, Occurrences, Phrasing, decide_count, number, rule
from rtt_lightning.verifiers.rules.text import characters_of, fences, is_rule

HEADING = re.compile(r"^ {0,3}(?P<hashes>#{1,6}) +(?P<title>\S.*)$", re.MULTILINE)
UNDERLINED = re.compile(r"^(?P<title>[^\n]*)\n {0,3}(?P<line>=+|-+) *$", re.MULTILINE)


def _so_many(found: re.Match[str]) -> Arguments | None:
    number, titles = found["number"] or "a", read_quoted(found["title"] or "") or ()
    bounds = read_bounds(f"{number} headings", "heading") or {}
    if (not bounds and number.lower() not in ("a", "an")) or (found["title"] and len(titles) != 1):
        return None
    return {"level": int(found[2] or found[3]), **({"title": titles[0]} if titles else {}), **bounds}


@rule(
    "local",
    read=reads(
        rf"{SUBJECT}(?:{HAVE}|be formatted with) (?:(?P<number>an?|at least \w+|exactly \w+) )?"
        rf"(?:level[ -]?([1-6])|h([1-6])) (?:markdown )?headings?"
        rf"(?: (?:titled|named|called|with the title) (?P<title>{QUOTED}))?",
        arguments=_so_many,
    ),
)
def heading(answer: str, level: int, title: str | None = None, low: int = 1, high: int | None = None) -> Verdict:
    """From ``low`` to ``high`` Markdown headings of a level (and with a title, in any case)."""
    found = [h for h in _headings(answer) if h[1] == level and (title is None or _same(h[2], title))]
    certain = tuple(span for span, _, _, doubtful in found if not doubtful)
    return decide_count(Occurrences(certain, len(found)), low, high, "such headings")


@rule(
    "local",
    read=reads(
        rf"{SUBJECT}(?:not exceed|{HAVE} (?:at most|up to)) (?:heading )?level ([1-6]) headings?",
        r"(?:the )?heading levels (?:must|should) not exceed (?:level )?([1-6])",
        arguments=lambda found: {"high": int(found[1])},
    ),
)
def heading_levels(answer: str, low: int = 1, high: int = 6) -> Verdict:
    """All Markdown headings are of levels from ``low`` to ``high``; an answer without any is doubtful."""
    found = list(_headings(answer))
    wrong = [h for h in found if not low <= h[1] <= high]
    if certain := tuple(span for span, _, _, doubtful in wrong if not doubtful):
        return Verdict(False, "a heading of another level", certain)
    right = tuple(span for span, _, _, doubtful in found if not doubtful)
    if wrong or not right:
        return Verdict.unscorable("no certain heading, and the criterion does not say whether there must be one")
    return Verdict(True, f"{len(right)} headings", right)


def _read_bullets(sentence: str) -> Arguments | None:
    listed = r"(?:an? )?(?:bullet(?:ed)?|unordered)(?: points?| lists?)"
    if fits(sentence, rf"{SUBJECT}{HAVE} {listed}"):
        return {}
    if fits(sentence, rf"{SUBJECT}{GIVEN}(?:in|as) {listed}(?: format)?"):
        return {"only": True}
    return read_bounds(sentence, "bullet point", "bullet")


@rule("global", read=_read_bullets)
def bullets(answer: str, low: int = 1, high: int | None = None, only: bool = False, strict: bool = False) -> Verdict:
    """From ``low`` to ``high`` list items that begin with "-", "*", "+" or "•"; numbered ones may count as well.

    With ``only``, other text is doubtful, except for indented lines that continue an item; with ``strict``, only "-"
    and "*" begin an item.
    """
    marked = _items(answer, "-*" if strict else "-*+•")
    numbered = [] if strict else re.findall(r"^ *\d+[.)] +\S", answer, re.MULTILINE)
    verdict = decide_count(Occurrences(marked.certain, marked.most + len(numbered)), low, high, "list items")
    lines = (line for line in answer.split("\n") if line.strip() and (not line.startswith(" ") or is_rule(line)))
    if only and verdict.met and any(is_rule(line) or not re.match(r"[-*+•] |\d+[.)] ", line) for line in lines):
        return Verdict.unscorable("text stands outside the list")
    return verdict


@rule(
    "global",
    Phrasing(
        ("Use at least {n} bullet points starting with '- '.", "Give {n} or more points, each on a line with '- '."),
        number(2, 3),
        {"layout", "start", "length"},
    ),
)
def bullet_list(answer: str, n: int) -> Verdict:
    """At least ``n`` lines begin with "- " or "* "."""
    return bullets.checker(answer, n, strict=True)


@rule("local", read=reads(rf"{SUBJECT}{HAVE} bold(?: text| formatting| font)?"))
def bold(answer: str) -> Verdict:
    """Some text is in bold, as **this** or __this__; in code, in HTML or across a line end it is doubtful."""
    code = characters_of([*fences(answer), *(m.span() for m in re.finditer(r"`[^`\n]+`", answer))])
    marked = re.finditer(r"(?P<stars>\*{2,3}|__)(?=[^\s*_])(?:(?!\*\*|__).)*(?<=\S)(?P=stars)", answer)
    spans = [m.span() for m in marked]
    certain = tuple(span for span in spans if span[0] not in code)
    other = re.search(r"<(?:b|strong)\b|(?<!\*)\*\*(?=\w)[^\n*]*\n[^\n*]+\*\*", answer, re.IGNORECASE)
    return decide_count(Occurrences(certain, len(spans) + (other is not None)), 1, None, "texts in bold")


def _items(answer: str, marks: str) -> Occurrences:
    """Lines that one of the marks makes an item, with text behind it; in fences some count them."""
    code = characters_of(fences(answer))
    lines = re.finditer(rf"^ *(?P<item>[{re.escape(marks)}] +\S.*)$", answer, re.MULTILINE)
    found = [(m.start("item"), m.start("item") + len(m["item"].rstrip())) for m in lines if not is_rule(m[0])]
    return Occurrences(tuple(span for span in found if span[0] not in code), len(found))


def _headings(answer: str) -> Iterator[tuple[Span, int, str, bool]]:
    """Characters, level and title of each heading, and whether it is doubtful: underlined, or a comment in code."""
    code = characters_of(fences(answer))
    for match in HEADING.finditer(answer):
        title, start = match["title"].rstrip(), match.start("title")
        open_end = title.rstrip("#")
        title = open_end.rstrip() if not open_end or open_end.endswith(" ") else title  # a # at the end may close it
        if title:
            first = match.start("hashes")
            yield (first, start + len(title)), len(match["hashes"]), title, first in code
    for match in UNDERLINED.finditer(answer):
        title = match["title"]
        if re.search(r"\w", title) and not re.match(r" *(?:#|[-*+•>|] |\d+[.)] )", title):
            yield match.span(), 1 if match["line"][0] == "=" else 2, title, True


def _same(found: str, title: str) -> bool:
    def plain(text: str) -> str:
        return re.sub(r"[*_`\"'“”‘’:]", "", text).strip().casefold()

    return plain(found) == plain(title)
