"""`rtt annotate`: labelled data for a relevance discriminator, from responses of any system or sampled first."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities import rank_zero_warn

from rtt_lightning import LLMAnnotator, RolloutCallback, RubricDataModule
from rtt_lightning.annotation.agreement import by_rule, compare
from rtt_lightning.annotation.card import Facts, write_labels
from rtt_lightning.annotation.edits import TEMPLATE, Broken, break_some, shown_to_editor, to_break
from rtt_lightning.annotation.pipeline import Question, ask, decide, to_decide, to_label, with_labels
from rtt_lightning.annotation.responses import read_responses
from rtt_lightning.annotation.withheld import withhold
from rtt_lightning.callbacks.cost import say_cost, say_forecasts
from rtt_lightning.commands.answered import answered, holds_criteria
from rtt_lightning.commands.given import DEFAULT_MODEL
from rtt_lightning.commands.run import RTTCommandLine, main, mistakes_named
from rtt_lightning.runtime.lazy import lazy_instance
from rtt_lightning.types import JudgedRollout, RubricSample, Verdict
from rtt_lightning.types.asked import MARK
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.base import CODE, JUDGE, Verifier
from rtt_lightning.verifiers.forecast import of_answers

SAMPLED_WITHOUT = "sampled from a prompt without one criterion"
NO_MODEL = "none"
"""The model of a command line that names none: nothing is sampled."""
HELP = """Writes which words of responses decide their criteria: the labels that a
relevance discriminator learns from (data.view: LabelledPairs). Rules say it
themselves, so does a judge with `evidence: true`; about the rest a language
model is asked, the annotator. What it quotes must stand in the response.

FILE is a .jsonl, .json or .parquet:

  rows of `criteria` and `response`, or completions as `rtt fit`, `validate`
               and `predict` write them, also a folder of these. Criteria
               without `met` are decided by rollout.verifier first
  responses    rows of `prompt` and `response`, to prompts of the data
  no FILE      samples responses as `rtt predict` does, unless
               rollout.output has a predict.parquet already

The labels are rows as of `rtt predict`; beside them LABELS.md says who gave
them, what has none, and what it cost. What an annotator answered is kept in its
file: a run that ended goes on from there when it is started again. Flags and
files are those of `rtt predict`, and the annotator's (docs/annotating.md)."""


class AnnotateCommandLine(RTTCommandLine):
    """Builds data, rollout and annotator; model and trainer only to sample."""

    usage = (
        "rtt annotate [FILE] [--config FILE ...] [--annotator.model NAME]\n"
        "                    [--output LABELS.parquet] [--agreement N] [--edits N]\n"
        "                    [--withheld N]"
    )
    description = HELP
    _before: Mapping[str, float] = {}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        super().add_arguments_to_parser(parser)
        parser.add_argument("file", nargs="?", type=str | None, help="Responses, completions, or a folder of these.")
        parser.add_subclass_arguments(LLMAnnotator, "annotator", default=lazy_instance(LLMAnnotator))
        parser.add_argument("--output", type=str, default="labels.parquet", help="Parquet file for the labels.")
        says = "Ask the annotator also about so many criteria that rules label, to compare."
        parser.add_argument("--agreement", type=int, default=0, help=says)
        says = "Have so many responses edited to break one criterion each; kept if the verifier confirms it."
        parser.add_argument("--edits", type=int, default=0, help=says)
        says = "Before sampling, leave one criterion out of the text of so many prompts; their rubrics keep it."
        parser.add_argument("--withheld", type=int, default=0, help=says)

    def instantiate_classes(self) -> None:
        config = self.config
        if Path(config.output).suffix != ".parquet":
            raise UserError(f"--output must be a .parquet file, got {config.output}")
        if config.file and config.withheld:
            raise UserError("--withheld is about prompts to sample from, a FILE has its responses; give one of both")
        if min(config.agreement, config.edits, config.withheld) < 0:
            raise UserError("--agreement, --edits and --withheld are numbers from 0 up")
        file = config.file or self._sampled_before()
        if file:
            with mistakes_named():
                names = {name: config[name] for name in ("data", "rollout", "annotator")}
                parts: Any = self.parser.instantiate_classes(Namespace(**names))
        else:
            super().instantiate_classes()
            parts, file = self.config_init, self._sample()
        if file:
            judged, verifier = _read(file, parts.data, parts.rollout), parts.rollout.collector.verifier
            more = (config.agreement, config.edits, self._before)
            annotate(judged, verifier, parts.annotator, config.output, file, *more)

    def _sampled_before(self) -> str | None:
        """The file of responses that were sampled before, if any."""
        file = self._samples()
        if not file.is_file():
            return None
        print(f"{file} is there already: its responses are labelled; remove it to sample others")
        return str(file)

    def _sample(self) -> str | None:
        """Sample responses as `rtt predict` does; their file, or nothing on other processes than the first."""
        data: Any = self.datamodule
        parts: Any = self.config_init
        data.setup("predict")
        data.records["train"] = withhold(data.records["train"], self.config.withheld)
        verifier = parts.rollout.collector.verifier
        self._before = verifier.metrics()
        spanless = _spanless(data.samples(), verifier)
        if spanless or self.config.edits:  # before anything is sampled
            for doubt in parts.annotator.try_out():
                rank_zero_warn(doubt)
        self.trainer.predict(self.model, datamodule=data, return_predictions=False)
        return str(self._samples()) if self.trainer.is_global_zero else None

    def _samples(self) -> Path:
        """Where the rollout callback writes what is sampled."""
        folder = self.config.rollout.output
        if self.config.model.init_args.model == NO_MODEL or folder is None:
            raise UserError(
                "give a FILE of responses; or, to sample them, a model (--config POLICY.yaml) and rollout.output; see "
                "`rtt annotate --help`"
            )
        return Path(folder) / "predict.parquet"


def command(name: str, args: Sequence[str]) -> None:
    """`rtt annotate`."""
    try:
        main([f"--model={DEFAULT_MODEL}", f"--model.init_args.model={NO_MODEL}", *args], AnnotateCommandLine, run=False)
    except KeyboardInterrupt:
        print("rtt: interrupted; answers so far are in the annotator's file: the same command goes on", file=sys.stderr)
        raise


def annotate(
    judged: Sequence[JudgedRollout],
    verifier: Verifier,
    annotator: LLMAnnotator,
    output: str | Path,
    source: str = "memory",
    agreement: int = 0,
    edits: int = 0,
    before: Mapping[str, float] = {},
) -> list[JudgedRollout]:
    """Label responses, and write them with a data card beside.

    Args:
        judged: Responses; criteria without a verdict are decided first.
        verifier: Decides these, and adds what rules know.
        annotator: Says which characters decide criteria of which nobody else does.
        output: Parquet file.
        source: Where the responses come from, for the card.
        agreement: Criteria that rules label about which the annotator is asked too, to compare.
        edits: Responses to have edited so that they break one criterion; they are labelled like the others.
        before: What the verifier's metrics were when the responses were sampled; empty for what they are now.

    Returns:
        The responses with labels.

    Raises:
        UserError: If a criterion cannot be decided, or there is no annotator where one is needed.
        OutsideFailure: If a server that is needed is down or a budget is spent. Nothing is written; what was answered
            is kept, and the same call goes on.
    """
    _refuse_unanswerable(judged, verifier, annotator, edits)
    began = verifier.metrics() | dict(before)
    say_cost(verifier, of_answers(question.part for question in to_decide(judged)))
    decided = decide(verifier, judged)
    breakable, compared = to_break(decided, edits), by_rule(decided, agreement)
    asks = bool(breakable or compared or to_label(decided))
    if asks:
        annotator.require()
    began |= _paid(annotator) if asks else {}
    broken = _edited(annotator, verifier, breakable)
    rows = [*decided, *broken.judged]
    questions = [*to_label(rows), *compared]
    say_forecasts(annotator.foresee([question.shown for question in questions]))
    found = ask(annotator, questions)
    known = len(questions) - len(compared)
    labelled, aside = with_labels(rows, questions[:known], found[:known])
    spent = verifier.metrics() | (_paid(annotator) if asks else {})
    withheld = sum(MARK in item.sample.id for item in judged)
    facts = Facts(
        source=source,
        annotator=f"{annotator.asker.model}, {annotator.template.version}" if asks else "",
        aside=aside,
        agreement=compare(compared, found[known:]) if agreement else None,
        spent={name: value - began[name] for name, value in spent.items()},
        made=Counter({SAMPLED_WITHOUT: withheld} if withheld else {}) + broken.counts,
    )
    write_labels(Path(output), labelled, facts)
    return labelled


def _read(file: str, data: RubricDataModule, rollout: RolloutCallback) -> list[JudgedRollout]:
    """The responses of a file, undecided where it has no verdicts."""
    if holds_criteria(file):
        return read_responses(file)
    data.tokenizer = None  # prompts are not measured in tokens: nothing is sampled
    data.setup("fit")  # train and val
    rows = answered(data, rollout.collector.reasoning, file)
    open_ = Verdict.unscorable("not judged yet")
    return [JudgedRollout(sample, row, (open_,) * len(sample.criteria)) for sample, row in rows]


def _edited(annotator: LLMAnnotator, verifier: Verifier, questions: Sequence[Question]) -> Broken:
    """Edited responses, after their price was said."""
    if not questions:
        return Broken([], Counter())
    say_forecasts(annotator.foresee([shown_to_editor(question) for question in questions], TEMPLATE))
    say_cost(verifier, of_answers((question.item.sample, question.item.rollout.answer) for question in questions))
    return break_some(annotator, verifier, questions)


def _refuse_unanswerable(
    judged: Sequence[JudgedRollout], verifier: Verifier, annotator: LLMAnnotator, edits: int
) -> None:
    """Raise for what the verifier cannot decide, and if there is no annotator for what is known to need one, before
    anything is paid for.
    """
    open_ = [question.part[0] for question in to_decide(judged)]
    every = [item.sample for item in judged] if edits else open_  # all criteria of an edited response are decided again
    problems = sorted({problem for sample in every for problem in verifier.problems(sample)})
    given = [criterion for question in to_label(judged) for criterion in question.part[0].criteria]
    if edits or _spanless(open_, verifier) or any(criterion.checker in (JUDGE, CODE) for criterion in given):
        problems += annotator.problems()
    if problems:
        raise UserError("; ".join(problems))


def _spanless(samples: Sequence[RubricSample], verifier: Verifier) -> bool:
    """Whether verdicts on some criteria cannot say which characters decided."""
    return not all(verifier.gives_spans(criterion) for sample in samples for criterion in sample.criteria)


def _paid(annotator: LLMAnnotator) -> dict[str, float]:
    """What an annotator has cost so far, all runs of its file."""
    return {f"annotator_{name}": value for name, value in annotator.asker.store.spent().items()}
