"""`rtt rejudge`: saved responses scored again by another judge, template or rule, and how far both agree."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jsonargparse import ArgumentParser
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rtt_lightning.commands.configs import find_configs
from rtt_lightning.commands.flags import nulls_as_yaml
from rtt_lightning.commands.given import read, written
from rtt_lightning.datamodules.records import read_judged
from rtt_lightning.functional.agreement import Agreement, agreements
from rtt_lightning.reports.completions import write_completions
from rtt_lightning.reports.evaluation import accuracies, show_accuracies
from rtt_lightning.runtime.terminal import counted, three_decimals
from rtt_lightning.types import JudgedRollout, Verdict
from rtt_lightning.verifiers.base import Verifier
from rtt_lightning.verifiers.judging import judge_again

MOST_ROWS = 20


def rejudge_command(args: Sequence[str]) -> None:
    """Entry point of `rtt rejudge`; the verifier is configured as in a run, so that the same YAML files serve."""
    description = (rejudge.__doc__ or "").partition("\n")[0]
    parser = ArgumentParser(prog="rtt rejudge", description=description, parser_mode="omegaconf", exit_on_error=False)
    parser.add_argument("path", type=str, help="Completions: a parquet or JSONL file, or a folder of parquet files.")
    parser.add_argument("--config", action="config", help="YAML with `rollout.verifier`, e.g. judges/vllm.yaml.")
    parser.add_subclass_arguments(Verifier, "rollout.verifier", required=True, help="Who judges now.")
    parser.add_argument("--gold", type=str | None, default=None, help="Compare with this file's verdicts instead.")
    parser.add_argument("--output", type=str | None, default=None, help="Parquet file for the new verdicts.")
    parser.add_argument("--fresh", action="store_true", help="Ask a judge again also about what it has judged before.")
    config = parser.parse_args(written(nulls_as_yaml(read(find_configs(args)))))
    made = parser.instantiate(config)
    rejudge(Path(config.path), made.rollout.verifier, config.gold, config.output, config.fresh)


def rejudge(
    path: Path, verifier: Verifier, gold: str | None = None, output: str | None = None, fresh: bool = False
) -> Agreement:
    """Score saved responses again, and show how far the verdicts agree with the first ones, or with a gold file's.

    Args:
        path: Completions: a parquet or JSONL file, or a folder of parquet files.
        verifier: Who judges now.
        gold: File of the same responses with verdicts to compare with, such as people's.
        output: Parquet file for the responses with their new verdicts.
        fresh: Ask a judge again also about what it has judged before, which its file would answer otherwise: the same
            judge always agrees with its file. The file stays as it is.

    Raises:
        ValueError: If there are no responses, or the gold file lacks some of them.
    """
    saved = read_judged(path)
    if problems := sorted({problem for item in saved for problem in verifier.problems(item.sample)}):
        raise ValueError("; ".join(problems))
    for memory in verifier.memories() if fresh else ():
        memory.forget()
    ways = {"gold" if gold else "first": _gold(saved, gold) if gold else saved, "again": judge_again(verifier, saved)}
    (others, first), (_, again) = ways.items()
    if output:
        write_completions(Path(output), again)
    by_criterion = agreements(first, again)
    total = sum(by_criterion.values(), Agreement())
    _show(total, by_criterion, others)
    show_accuracies(accuracies(ways), list(ways), len(saved))
    if remembered := sum(memory.remembered for memory in verifier.memories()):
        print(f"{counted(remembered, 'verdict')} kept from before, not asked for again; --fresh asks for all")
    left = Counter(verdict.reason for item in again for verdict in item.verdicts if verdict.met is None)
    for reason, count in left.most_common(5):
        Console().print(Text(f"{count} unscorable: {reason}", style="yellow"))
    return total


def _gold(saved: Sequence[JudgedRollout], file: str) -> list[JudgedRollout]:
    """The same responses with the verdicts of a file, found by the response and by the words of its criteria."""
    known: dict[tuple[str, str], dict[str, Verdict]] = {}
    for item in read_judged(file):
        by_text = {criterion.text: verdict for criterion, verdict in item.decisions}
        known[item.sample.id, item.rollout.answer] = by_text
    found = [known.get((item.sample.id, item.rollout.answer), {}) for item in saved]
    texts = [[criterion.text for criterion in item.sample.criteria] for item in saved]
    missing = [r.sample.id for r, has, wanted in zip(saved, found, texts, strict=True) if not set(wanted) <= set(has)]
    if missing:
        raise ValueError(
            f"{file} lacks {len(missing)} of {len(saved)} responses, or some of their criteria, such as one to "
            f"{missing[0]!r}"
        )
    return [
        replace(item, verdicts=tuple(has[text] for text in wanted))
        for item, has, wanted in zip(saved, found, texts, strict=True)
    ]


def _show(total: Agreement, by_criterion: dict[str, Agreement], others: str) -> None:
    table = Table(title=f"agreement with the {others} verdicts", title_justify="left")
    for name in ("criterion", "verdicts", "accuracy", "kappa", "to desired", "to undesired", "unscorable"):
        table.add_column(name, justify="left" if name == "criterion" else "right")
    rows = sorted(by_criterion.items(), key=lambda item: -(item[1].flips(True) + item[1].flips(False)))
    for text, agreement in [("all", total), *rows[:MOST_ROWS]]:
        figures = (agreement.criteria, three_decimals(agreement.accuracy), three_decimals(agreement.kappa))
        changed = (agreement.flips(True), agreement.flips(False), agreement.unscorable)
        table.add_row(Text(text), *map(str, (*figures, *changed)), end_section=text == "all")
    Console().print(table)
    if len(rows) > MOST_ROWS:
        print(f"{len(rows) - MOST_ROWS} more criteria with fewer changes")
