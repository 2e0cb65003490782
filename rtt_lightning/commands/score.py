"""`rtt score`: responses of another system judged, or saved ones judged again, without a model."""

from argparse import SUPPRESS
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rtt_lightning import RolloutCallback, RubricDataModule
from rtt_lightning.callbacks.cost import say_cost
from rtt_lightning.commands.answered import answered, holds_criteria
from rtt_lightning.commands.given import DEFAULT_MODEL
from rtt_lightning.commands.run import RTTCommandLine, main, mistakes_named
from rtt_lightning.datamodules.records import read_judged
from rtt_lightning.functional.agreement import Agreement, agreements
from rtt_lightning.reports.completions import write_completions
from rtt_lightning.reports.evaluation import accuracies, report, show_accuracies
from rtt_lightning.reports.undecided import show_undecided, undecided_reasons
from rtt_lightning.runtime.terminal import counted, three_decimals
from rtt_lightning.types import JudgedRollout
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.base import Verifier
from rtt_lightning.verifiers.forecast import of_answers
from rtt_lightning.verifiers.judging import judge, judge_again

MOST_ROWS = 20
HELP = """Two kinds of files are scored, a .jsonl, .json or .parquet each:

  responses    rows of `prompt` and `response` of any system, to val or train
               prompts of the data (--config benchmarks/ifbench.yaml):
               accuracies, written to rollout.output
  completions  rows or a folder as `rtt fit`, `validate` and `predict` write
               them: judged again (--config judges/openai.yaml), and how far
               the new verdicts agree with the saved ones; of a folder with
               windows these alone

No model is loaded. Flags and files are those of `rtt validate`; what they say
of model and trainer is not used."""


class ScoreCommandLine(RTTCommandLine):
    """Builds data and rollout alone, and scores a file."""

    usage = "rtt score FILE [--config FILE ...] [--against GOLD]\n                 [--output NEW.parquet] [--fresh]"
    description = HELP

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        super().add_arguments_to_parser(parser)
        parser.add_argument("file", nargs="?", type=str | None, help="Responses, completions, or a folder of these.")
        parser.add_argument("--responses", type=str | None, default=None, help=SUPPRESS)  # as version 0.1 has the file
        parser.add_argument("--against", "--gold", type=str | None, default=None, help="Compare with its verdicts.")
        parser.add_argument("--output", type=str | None, default=None, help="Parquet file for the new verdicts.")
        parser.add_argument("--fresh", action="store_true", help="Ask a judge also about what it has judged before.")

    def instantiate_classes(self) -> None:
        config = self.config
        if not (file := config.file or config.responses):
            raise UserError("give a FILE of responses or completions; see `rtt score --help`")
        with mistakes_named():
            parts: Any = self.parser.instantiate_classes(Namespace(data=config.data, rollout=config.rollout))
        verifier: Verifier = parts.rollout.collector.verifier
        for memory in verifier.memories() if config.fresh else ():
            memory.forget()
        if holds_criteria(file):
            score_again(file, verifier, config.against, config.output)
        else:
            score(parts.data, parts.rollout, file, config.against, config.output)


def command(name: str, args: Sequence[str]) -> None:
    """`rtt score`."""
    no_model = [f"--model={DEFAULT_MODEL}", "--model.init_args.model=none"]  # it is not built
    main([*no_model, *args, *no_model], ScoreCommandLine, run=False)


def score(data: RubricDataModule, rollout: RolloutCallback, file: str, against: str | None, output: str | None) -> None:
    """Judge the responses of a file to prompts of the data, as `rtt validate` judges those of a model.

    Args:
        data: Without records yet.
        rollout: Whose verifier, ``loose`` and ``output`` are used.
        file: See `answered`.
        against: File of the same responses with verdicts to compare with, such as people's.
        output: Parquet file for the responses with their verdicts.

    Raises:
        UserError: See `answered`; and if the verifier cannot decide the data's criteria.
    """
    data.tokenizer = None  # prompts are not measured in tokens: nothing is sampled
    data.setup("fit")  # train and val
    verifier = rollout.collector.verifier
    data.check_criteria(verifier.problems)
    rows = answered(data, rollout.collector.reasoning, file)
    say_cost(verifier, of_answers((sample, row.answer) for sample, row in rows))
    judged = judge(verifier, rows, loose=rollout.loose, mask_truncated=False)
    report(judged, "validate", rollout.output, {})
    if output:
        write_completions(Path(output), judged)
    if against:
        _show_agreement("gold", _gold(judged, against), judged)


def score_again(
    path: str | Path, verifier: Verifier, against: str | None = None, output: str | None = None
) -> Agreement:
    """Judge saved responses again, and show how far the verdicts agree with the first ones, or with a gold file's.

    Args:
        path: Completions: a parquet or JSONL file, or a folder of parquet files.
        verifier: Who judges now. A judge answers from its file what it was asked before, and so agrees with itself.
        against: File of the same responses with verdicts to compare with, such as people's.
        output: Parquet file for the responses with their new verdicts.

    Raises:
        UserError: If there are no responses, or the gold file lacks some of them.
    """
    saved = read_judged(path)
    say_cost(verifier, of_answers((item.sample, item.rollout.answer) for item in saved))
    if problems := sorted({problem for item in saved for problem in verifier.problems(item.sample)}):
        raise UserError("; ".join(problems))
    name, others = ("gold", _gold(saved, against)) if against else ("first", saved)
    again = judge_again(verifier, saved)
    if output:
        write_completions(Path(output), again)
    agreement = _show_agreement(name, others, again)
    show_accuracies(accuracies({name: others, "again": again}), [name, "again"], len(saved))
    if remembered := sum(memory.remembered for memory in verifier.memories()):
        print(f"{counted(remembered, 'verdict')} kept from before, not asked for again; --fresh asks for all")
    show_undecided(undecided_reasons(again))
    return agreement


def _gold(saved: Sequence[JudgedRollout], file: str) -> list[JudgedRollout]:
    """The same responses with the verdicts of a file, found by the response and by the words of its criteria."""
    known = {
        (item.sample.id, item.rollout.answer): {criterion.text: verdict for criterion, verdict in item.decisions}
        for item in read_judged(file)
    }
    gold, missing = list[JudgedRollout](), list[str]()
    for item in saved:
        verdicts = known.get((item.sample.id, item.rollout.answer), {})
        try:
            gold.append(replace(item, verdicts=tuple(verdicts[criterion.text] for criterion in item.sample.criteria)))
        except KeyError:
            missing.append(item.sample.id)
    if missing:
        raise UserError(
            f"{file} lacks {len(missing)} of {len(saved)} responses, or some of their criteria, such as one to "
            f"{missing[0]!r}; `rtt compare` takes other responses to the same prompts"
        )
    return gold


def _show_agreement(name: str, others: Sequence[JudgedRollout], judged: Sequence[JudgedRollout]) -> Agreement:
    """A table of how far the verdicts agree with others of that name on the same responses."""
    by_criterion = agreements(others, judged)
    total = sum(by_criterion.values(), Agreement())
    table = Table(title=f"agreement with the {name} verdicts", title_justify="left")
    for column in ("criterion", "verdicts", "accuracy", "kappa", "to desired", "to undesired", "unscorable"):
        table.add_column(column, justify="left" if column == "criterion" else "right")
    rows = sorted(by_criterion.items(), key=lambda item: -(item[1].flips(True) + item[1].flips(False)))
    for text, agreement in [("all", total), *rows[:MOST_ROWS]]:
        figures = (agreement.criteria, three_decimals(agreement.accuracy), three_decimals(agreement.kappa))
        changed = (agreement.flips(True), agreement.flips(False), agreement.unscorable)
        table.add_row(Text(text), *map(str, (*figures, *changed)), end_section=text == "all")
    Console().print(table)
    if len(rows) > MOST_ROWS:
        print(f"{len(rows) - MOST_ROWS} more criteria with fewer changes")
    return total
