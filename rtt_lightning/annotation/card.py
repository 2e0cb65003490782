"""The data card of labels: what they are, who gave them, what is missing, how good they are, and what they cost."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from rtt_lightning.annotation.agreement import SpanAgreement
from rtt_lightning.annotation.labels import SetAside, labelled_by
from rtt_lightning.reports.completions import write_completions
from rtt_lightning.runtime.files import write_whole
from rtt_lightning.runtime.terminal import three_decimals
from rtt_lightning.types import JudgedRollout, Verdict
from rtt_lightning.verifiers.judge.evidence import characters

MET = {True: "met", False: "not met", None: "unknown"}
SHOWN = 160
"""Characters of a reason."""
COLUMNS = ("scope", "polarity", "verdict", "pairs", "without a character", "characters, median of the others", "most")


@dataclass(frozen=True)
class Facts:
    """What a card says besides what the labels show.

    Attributes:
        source: The file that was labelled.
        annotator: Name of the model, and version of its template; empty if nothing was asked.
        aside: Criteria without a label.
        agreement: With rules; none if it was not asked for.
        spent: Calls, tokens and money of this run, by who was paid.
        made: Counts of further responses that were made, by what happened to them.
    """

    source: str
    annotator: str = ""
    aside: Sequence[SetAside] = ()
    agreement: SpanAgreement | None = None
    spent: Mapping[str, float] = field(default_factory=dict)
    made: Mapping[str, int] = field(default_factory=dict)


def write_labels(output: Path, judged: Sequence[JudgedRollout], facts: Facts) -> None:
    """Write responses with labels and their card, each whole or not at all, and say so."""
    write_completions(output, judged)
    written = output.with_suffix(".md")
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    write_whole(written, card(judged, output.name, digest, facts))
    print(
        f"labels: {output}; pairs of a criterion and a response: {len(pairs(judged))} with labels, "
        f"{len(facts.aside)} set aside, {len(without_verdict(judged))} undecided; card: {written}"
    )


def card(judged: Sequence[JudgedRollout], file: str, digest: str, facts: Facts) -> str:
    """The card, as Markdown. Texts of data and models stand in it as code.

    Args:
        judged: The responses with their labels.
        file: Name of the file that holds them.
        digest: SHA-256 of that file.
        facts: What else there is to say.
    """
    known, undecided = pairs(judged), without_verdict(judged)
    by_whom = Counter(labelled_by(verdict) for verdict, _ in known)
    parts = [
        f"# Labels: {file}",
        f"{len(known)} (criterion, response) pairs with labels, of {len(judged)} responses to "
        f"{len({item.sample.id for item in judged})} prompts, made from {_code(facts.source)}.",
        f"SHA-256 of the file: `{digest}`",
        "## Who labelled",
        _table(("labelled by", "pairs"), [(_code(name), n) for name, n in by_whom.most_common()]),
        *([f"The annotator is {_code(facts.annotator)} (model, version of the prompt)."] if facts.annotator else []),
        "## Labels",
        _table(COLUMNS, _kinds(known)),
        "A global criterion is decided by all characters of the response; a local one by those that give what it asks "
        "for or violate what it forbids; by none where an absence decides.",
        "## Without a label",
        _without(undecided, facts.aside),
        *(_agreement(facts.agreement) if facts.agreement else []),
        *(["## Responses made", _table(("made", "responses"), facts.made.items())] if facts.made else []),
        "## Cost of this run",
        _table(("what", "amount"), [(name, f"{value:,.6g}") for name, value in facts.spent.items()])
        if facts.spent
        else "Nothing was asked of a paid model.",
    ]
    return "\n\n".join(parts) + "\n"


def pairs(judged: Sequence[JudgedRollout]) -> list[tuple[Verdict, int]]:
    """Verdicts with labels, each with the number of relevant characters."""
    return [
        (verdict, characters(spans))
        for item in judged
        for verdict in item.verdicts
        if item.rollout.answer and not _open(verdict)
        if (spans := verdict.relevant(len(item.rollout.answer))) is not None
    ]


def without_verdict(judged: Sequence[JudgedRollout]) -> list[Verdict]:
    """What could not be decided of responses that are not empty, and is no label either."""
    return [verdict for item in judged for verdict in item.verdicts if item.rollout.answer and _open(verdict)]


def _open(verdict: Verdict) -> bool:
    """Whether there is neither a verdict nor a label, see `rtt_lightning.datamodules.views.labelled_pairs`."""
    return verdict.met is None and verdict.spans is None


def _kinds(known: Sequence[tuple[Verdict, int]]) -> list[tuple[object, ...]]:
    """A row per scope, polarity and verdict.

    Args:
        known: Verdicts with the number of relevant characters.
    """
    kinds: dict[tuple[str, str, str], list[int]] = {}
    for verdict, size in known:
        kinds.setdefault((verdict.scope, verdict.polarity, MET[verdict.met]), []).append(size)
    rows: list[tuple[object, ...]] = []
    for kind, sizes in sorted(kinds.items()):
        some = [size for size in sizes if size]
        rows.append((*kind, len(sizes), len(sizes) - len(some), f"{median(some):g}" if some else "–", max(sizes)))
    return rows


def _without(undecided: Sequence[Verdict], aside: Sequence[SetAside]) -> str:
    """Why criteria have no label, commonest first, with an example."""
    rows = [(f"undecided: {verdict.reason}", "") for verdict in undecided]
    rows += [(f"set aside: {each.kind}", each.detail) for each in aside]
    if not rows:
        return "None: every criterion has one."
    examples = dict(reversed(rows))
    counts = Counter(kind for kind, _ in rows)
    return _table(
        ("why", "criteria", "such as"), [(_code(kind), n, _code(examples[kind])) for kind, n in counts.most_common()]
    )


def _agreement(found: SpanAgreement) -> list[str]:
    of = max(found.criteria, 1)
    rows = [
        ("criteria that both labelled", found.criteria),
        ("criteria that the annotator could not label", found.unlabelled),
        ("same scope", three_decimals(found.same_scope / of if found.criteria else math.nan)),
        ("same polarity", three_decimals(found.same_polarity / of if found.criteria else math.nan)),
        ("F1 of characters, criteria local by rule", three_decimals(found.f1)),
        ("kappa of the same characters", three_decimals(found.characters.kappa)),
    ]
    return ["## Annotator against rules", _table(("measure", "value"), rows), "The labels of these are the rules'."]


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    cells = [tuple(map(str, row)) for row in rows]
    lines = [columns, ("---",) * len(columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(text: str) -> str:
    """A text as code in a cell; what would end either is replaced."""
    line = " ".join(text.split())[:SHOWN].replace("`", "'").replace("|", "¦")
    return f"`{line}`" if line else ""
