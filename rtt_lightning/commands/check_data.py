"""`rtt data check`: shows what a file of data holds and what is wrong with it, before a run."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from textwrap import shorten
from typing import Any, NamedTuple

from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rtt_lightning.datamodules.adapters import Adapter, adapter_named
from rtt_lightning.datamodules.lengths import render_prompts
from rtt_lightning.datamodules.records import sift
from rtt_lightning.datamodules.rows import read_rows
from rtt_lightning.lm.tokenizers import load_tokenizer
from rtt_lightning.runtime.terminal import counted, listed
from rtt_lightning.types import Criterion, RubricSample
from rtt_lightning.verifiers.base import CODE, JUDGE
from rtt_lightning.verifiers.code import code_problem
from rtt_lightning.verifiers.rules import parse_description
from rtt_lightning.verifiers.rules.checkers import Checkers

BINS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
"""Upper ends of the histogram of prompt lengths."""
LISTED = 20
"""Most criteria that are listed with what decides them."""


class Inspection(NamedTuple):
    """What an inspection of a file found."""

    samples: list[RubricSample]
    problems: list[str]
    """What must be fixed; decides the exit code."""
    notes: list[str]


def command(name: str, args: Sequence[str]) -> int:
    """`rtt data check`."""
    code: Any = auto_cli(check_data, args=[*args], prog=f"rtt {name}", as_positional=True)
    return code


def check_data(file: str, format: Adapter | str = "rtt", val: str | None = None, tokenizer: str | None = None) -> int:
    """Check a file of prompts with rubrics; exit code 1 if something is wrong.

    Args:
        file: JSONL, JSON or parquet file, or a dataset of the hub as owner/name or owner/name:split.
        format: Of its rows: rtt, ifeval, ifbench, muldimif, verif, hir, advancedif, weighted, trl or labels; or the
            class path of your own adapter.
        val: Data to validate on, in the same format; no prompt may be in both.
        tokenizer: Folder or hub name: measure prompts in tokens of its chat template, not in words.
    """
    found = inspect_file(file, format)
    if val:
        held_out = inspect_file(val, format)
        found.problems.extend(held_out.problems)
        texts = {sample.text for sample in held_out.samples}
        shared = [sample.id for sample in found.samples if sample.text in texts]
        if shared:
            found.problems.append(f"{len(shared)} prompts are in {val} as well: {_some(shared)}")
    console = Console()
    if found.samples:
        for title, table in _tables(found.samples, _lengths(found, tokenizer)):
            console.print(Text(title, style="bold"), table, sep="\n")
    for style, lines in (("yellow", found.notes), ("red", found.problems)):
        for line in lines:
            console.print(Text(line, style=style))
    wrong = "something is wrong with it, see above; lines count from 1, entries in brackets from 0"
    console.print(wrong if found.problems else "nothing is wrong with it")
    return 1 if found.problems else 0


def inspect_file(file: str, format: Adapter | str = "rtt") -> Inspection:
    """Read a file and try its checkers.

    Raises:
        ValueError: If it cannot be read at all, or the format is unknown.
    """
    adapter = adapter_named(format) if isinstance(format, str) else format
    rows = read_rows(file)
    records, bad_rows, bad = sift(rows, adapter)
    samples = [record.sample for record in records]
    checkers = Checkers({})
    problems = _places(samples, partial(_problem, checkers))
    if bad_rows:
        problems.insert(0, f"{counted(bad, 'bad row')}\n{listed(bad_rows)}")
    elif not samples:
        problems.append("it holds no rows")
    notes = _places(samples, checkers.lacking)
    weights = [criterion.weight for sample in samples for criterion in sample.criteria]
    if {*weights} - {1}:
        unwanted = sum(weight < 0 for weight in weights)
        notes.append(f"weights of criteria range from {min(weights):g} to {max(weights):g}; unwanted: {unwanted}")
    counts = Counter(sample.text for sample in samples)
    if repeated := [text for text, count in counts.items() if count > 1]:
        notes.append(f"{len(repeated)} prompts occur more than once: {_some(repeated)}")
    return Inspection(samples, *([f"{rows.name}: {text}" for text in said] for said in (problems, notes)))


def _places(samples: Sequence[RubricSample], said: Callable[[Criterion], str]) -> list[str]:
    """What ``said`` returns for criteria, each text once, with the places."""
    seen: dict[str, list[str]] = {}
    for sample in samples:
        for number, criterion in enumerate(sample.criteria):
            if text := said(criterion):
                seen.setdefault(text, []).append(f"{sample.id} criteria[{number}]")
    return [f"{text} ({len(places)}: {_some(places)})" for text, places in seen.items()]


def _problem(checkers: Checkers, criterion: Criterion) -> str:
    """What is wrong: an unknown checker, arguments that it does not take, or code that does not compile."""
    if criterion.checker == JUDGE:
        return ""
    return code_problem(criterion) if criterion.checker == CODE else checkers.problem(criterion)


def _lengths(found: Inspection, tokenizer: str | None) -> tuple[str, list[int]]:
    """A unit and the length of each prompt in it; words, and a problem, if some cannot be rendered as tokens."""
    if tokenizer:
        loaded = load_tokenizer(tokenizer)
        try:
            return "tokens", [len(ids) for ids in render_prompts(found.samples, loaded)]
        except ValueError as error:
            found.problems.append(str(error))
    return "words", [len(sample.text.split()) for sample in found.samples]


def _tables(samples: Sequence[RubricSample], measured: tuple[str, list[int]]) -> Iterator[tuple[str, Table]]:
    criteria = [criterion for sample in samples for criterion in sample.criteria]
    kinds, checkers = Counter(criterion.checker for criterion in criteria), Checkers({})
    rules = sum(count for name, count in kinds.items() if checkers.find(name))
    by = {"rule": rules, "a judge": kinds[JUDGE], "code": kinds[CODE]}
    by["no known checker"] = len(criteria) - sum(by.values())
    shares = ", ".join(f"{count} by {name} ({count / len(criteria):.1%})" for name, count in by.items() if count)
    yield (
        f"{counted(len(samples), 'prompt')} with {len(criteria)} criteria: {shares}",
        _table("checker", kinds.most_common()),
    )
    yield "what decides each criterion (*: as its sentence is read)", _deciders(criteria)
    numbers = Counter(len(sample.criteria) for sample in samples)
    yield "criteria per prompt", _table("criteria", sorted(numbers.items()))
    unit, lengths = measured
    bins = Counter(next((end for end in BINS if length <= end), float("inf")) for length in lengths)
    rows = [(f"up to {end:g}", count) for end, count in sorted(bins.items())]
    yield f"length of prompts: {min(lengths)} to {max(lengths)} {unit}", _table(unit, rows)


def _deciders(criteria: Sequence[Criterion]) -> Table:
    table = Table("criterion", "decided by")
    table.add_column("times", justify="right")
    found = {(criterion.text, _decider(criterion)): criterion for criterion in criteria}
    counts = Counter((criterion.text, _decider(criterion)) for criterion in criteria)
    for key, count in counts.most_common(LISTED):
        sentence, decider = (shorten(text, 90, placeholder=" …") for text in key)
        table.add_row(Text(sentence), Text(decider + " *" * _is_read(found[key])), str(count))
    if len(counts) > LISTED:
        table.add_row(f"and {len(counts) - LISTED} more")
    return table


def _decider(criterion: Criterion) -> str:
    kwargs = {} if criterion.checker == CODE else criterion.kwargs
    return " ".join((criterion.checker, *(f"{name}={value!r}" for name, value in kwargs.items())))


def _is_read(criterion: Criterion) -> bool:
    """Whether its sentence asks for just this; some of MulDimIF's do with their category."""
    check = criterion.checker, dict(criterion.kwargs)
    return any(parse_description(about + criterion.text) == check for about in ("", "JSON: ", "XML: "))


def _table(name: str, rows: Sequence[tuple[object, int]]) -> Table:
    table = Table()
    table.add_column(name)
    table.add_column("prompts" if name != "checker" else "criteria", justify="right")
    for value, count in rows:
        table.add_row(Text(str(value)), str(count))
    return table


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in names[:3])
    return shown + (", ..." if len(names) > 3 else "")
