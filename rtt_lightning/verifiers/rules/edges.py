"""Rules of how an answer begins and ends."""

import re

from rtt_lightning.types import Verdict
from rtt_lightning.verifiers.rules.marks import END
from rtt_lightning.verifiers.rules.rule import Occurrences, Phrasing, choice, decide_absent, decide_count, rule
from rtt_lightning.verifiers.rules.text import CLOSERS, folded, is_blank, is_combining, last_marks
from rtt_lightning.verifiers.rules.words import literally

OPENINGS = (
    "Today", "Honestly", "Imagine", "Once", "Of course", "In short", "First of all", "Well", "Long ago", "Dear friend",
)  # fmt: skip
ENDINGS = (
    "that is all", "thank you", "best wishes", "see you soon", "the end", "enjoy it", "try it yourself", "take care",
)  # fmt: skip

QUOTES = '"“”„«»＂'
"""Double quotation marks, for use in a character class."""


@rule(
    "local",
    Phrasing(
        ("Begin your answer with '{phrase}'.", "Start with the words '{phrase}'."),
        choice("phrase", OPENINGS),
        {"start", "layout", "case"},
    ),
)
def start_with(answer: str, phrase: str) -> Verdict:
    """The answer begins with the phrase, in any case; symbols before it are doubtful."""
    pattern = rf"(?P<before>[\W_]*?)(?P<phrase>{literally(phrase)})(?![^\W_])"
    match = re.match(pattern, answer, re.IGNORECASE)
    if match and not _goes_on(answer, match.end("phrase")):
        if match["before"].strip():
            return Verdict.unscorable(f"{match['before'].strip()!r} stands before {phrase!r}")
        return Verdict(True, "found", (match.span("phrase"),))
    text = folded(answer)
    lenient = re.match(rf"[\W_]*{re.escape(folded(phrase))}(?!\w)", text)
    return decide_absent(lenient is not None and not _goes_on(text, lenient.end()), f"does not begin with {phrase!r}")


@rule(
    "local",
    Phrasing(
        ("End your answer with '{phrase}'.", "Finish with the words '{phrase}'."), choice("phrase", ENDINGS), {"end"}
    ),
)
def end_with(answer: str, phrase: str) -> Verdict:
    """The answer ends with the phrase, in any case; punctuation may follow, other symbols are doubtful."""
    pattern = rf"(?<![^\W_])(?P<phrase>{literally(phrase)})(?P<behind>[\W_]*)\Z"
    match = re.search(pattern, answer, re.IGNORECASE)
    if match and not _goes_on(answer, match.end("phrase")):
        if re.fullmatch(rf"[\s{END}…{CLOSERS}]*", match["behind"]):
            return Verdict(True, "found", (match.span("phrase"),))
        return Verdict.unscorable(f"{match['behind'].strip()!r} stands behind {phrase!r}")
    text = folded(answer)
    lenient = re.search(rf"(?<!\w)(?P<phrase>{re.escape(folded(phrase))})[\W_]*\Z", text)
    doubtful = lenient is not None and not _goes_on(text, lenient.end("phrase"))
    return decide_absent(doubtful, f"does not end with {phrase!r}")


@rule(
    "local",
    Phrasing(("Finish your last sentence.", "End with a complete sentence."), conflicts={"end", "layout", "finish"}),
)
def end_punctuation(answer: str) -> Verdict:
    """The last sentence is finished: by a full stop, an exclamation mark or a question mark.

    An ellipsis, and symbols after the mark such as an emoji, are doubtful; quotation marks and brackets are not.
    """
    tail = last_marks(answer)
    ends = list(re.finditer(rf"[{END}…]+", tail))
    if not ends:
        return Verdict(False, "the last sentence is not finished", ())
    if re.search(r"…|\.\.", tail) or not re.fullmatch(rf"[\s{CLOSERS}{END}]*", tail[ends[0].end() :]):
        return Verdict.unscorable(f"unfinished for some readers: it ends with {tail.strip()!r}")
    first = len(answer) - len(tail)
    return Verdict(True, "found", ((first + ends[-1].start(), first + ends[-1].end()),))


@rule(
    "local",
    Phrasing(
        ("Put your whole answer in double quotation marks.", "Wrap the answer in double quotes."),
        conflicts={"start", "end", "layout"},
    ),
)
def quoted(answer: str) -> Verdict:
    """The whole answer is in double quotation marks; other ones inside, or symbols outside, are doubtful."""
    text, start = answer.strip(), len(answer) - len(answer.lstrip())
    inside = text[1:-1]
    if text[:1] in ('"', "“") and text[-1:] in ('"', "”") and not re.search(f"[{QUOTES}]", inside):
        marks = (start, start + 1), (start + len(text) - 1, start + len(text))
        return Verdict(True, "found", marks) if inside.strip() else Verdict(False, "nothing is quoted", ())
    first, last = re.match(r"[\W_]*", text), last_marks(text)
    doubtful = first is not None and re.search(f"[{QUOTES}]", first[0]) and re.search(f"[{QUOTES}]", last)
    return decide_absent(bool(doubtful), "not wrapped in double quotation marks")


@rule(
    "local",
    Phrasing(
        ("Add a postscript that starts with 'P.S.'.", "End with a note that begins with 'P.S.'."),
        conflicts={"end", "layout", "finish", "case"},
    ),
)
def postscript(answer: str) -> Verdict:
    """A postscript "P.S." with text is at the end: as a line or a sentence of the last paragraph, after others.

    Anywhere else, and in another form such as "PS:", it is doubtful.
    """
    last = max((match.end() for match in re.finditer(r"\n *\n", answer.rstrip())), default=0)
    for match in re.compile(r"(?<!\w)P\.S\.(?=[\W_]*\w)").finditer(answer, last):
        before = answer[: match.start()].rstrip(" *_>#")
        if re.search(r"\w", before) and before[-1] in f"\n{END}…:;,{CLOSERS}":
            return Verdict(True, "found", (match.span(),))
    lenient = re.search(r"(?<!\w)(?:P\. ?)?(?:P\. ?S\b|PS(?=[.:])|PS$)[\W_]*\w", answer, re.IGNORECASE | re.MULTILINE)
    return decide_absent(lenient is not None, 'no "P.S." with text')


@rule(
    "local",
    Phrasing(
        ("Give it a title in double angular brackets, like <<title>>.", "Add a title written as <<title>>."),
        conflicts={"start", "layout"},
    ),
)
def title(answer: str) -> Verdict:
    """A title in double angular brackets, as <<title>>."""
    marked = re.finditer(r"<<([^<>\n]+)>>", answer)
    found = tuple(match.span() for match in marked if not is_blank(match[1]))
    return decide_count(Occurrences(found, len(found)), 1, None, "titles as <<title>>")


def _goes_on(answer: str, end: int) -> bool:
    """Whether a vowel sign or an accent continues the word that ends here."""
    return end < len(answer) and is_combining(answer[end])
