"""`rtt explain`: which tokens decide each criterion, and what credit they earn, on the terminal or as a page."""

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonargparse
from lightning.pytorch.cli import LightningArgumentParser

from rtt_lightning.algorithms import RTT, Algorithm
from rtt_lightning.callbacks.cost import say_cost
from rtt_lightning.commands.given import DEFAULT_MODEL, Given, algorithm_in, as_arguments, read_arguments, runs_in
from rtt_lightning.commands.run import RTTCommandLine, main, mistakes_named
from rtt_lightning.datamodules.criteria import criteria_of, parse_criterion
from rtt_lightning.datamodules.records import read_judged
from rtt_lightning.lm.reasoning import KNOWN, given_answer_span
from rtt_lightning.lm.tokenizers import load_tokenizer
from rtt_lightning.names import did_you_mean
from rtt_lightning.relevance import DiscriminatorRelevance, RelevanceSource, RuleSpans
from rtt_lightning.reports.explanation import MOST, write_explanation
from rtt_lightning.reports.explanation_text import print_explanation
from rtt_lightning.rollout.collect import Collector
from rtt_lightning.rollout.explained import Split, explain, words
from rtt_lightning.runtime.terminal import counted, quieten
from rtt_lightning.types import JudgedRollout, Rollout, RubricSample, Span
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.forecast import of_answers
from rtt_lightning.verifiers.judging import judge

SHOWN = 3
"""Responses on the terminal, unless rows are named."""
USAGE = """rtt explain FILE [--row N ...] [--prompt_id ID] [--output PAGE.html]
       rtt explain --prompt TEXT --response TEXT --criterion TEXT ..."""
HELP = """Show which tokens of a response decide each criterion, and what credit they
earn: on the terminal, or with --output as a page that needs no network.

What a file has recorded counts: verdicts, relevance, advantages. The rest is
computed: relevance by --discriminator, else by the run's rollout.relevance, else
from the spans of rules; advantages by the run's model.init_args.algorithm, else
by RTT. Texts are judged by the run's verifier, else by rules, which are read
from the sentence. Flags of `rtt validate` say what the run is, such as
--config judges/openai.yaml."""


def command(name: str, args: Sequence[str]) -> None:
    """`rtt explain`."""
    quieten()
    parser = _parser(name)
    own = {"--help", *(f"--{flag}" for flag in vars(parser.parse_args([])))}
    given = read_arguments(args)
    mine = [each for each in given if each.words[0].partition("=")[0] in own or not each.words[0].startswith("--")]
    asked = parser.parse_args(["=".join(each.words) for each in mine])  # joined: a text may begin with a dash
    collector, algorithm = _parts([each for each in given if each not in mine])
    if asked.output and asked.output.suffix != ".html":
        raise UserError(f"--output is the page to write, such as explain.html, got {str(asked.output)!r}")
    judged, relevance = _judged(asked, collector), collector.relevance
    if asked.discriminator:  # what is asked for counts, and what was made from other relevance does not
        relevance = DiscriminatorRelevance(asked.discriminator)
        judged = [replace(item, relevance=None, advantages=None) for item in judged]
    source = str(asked.file or "texts of the command line")
    rows = _rows(asked, judged, source)
    most = MOST if asked.output or asked.row else SHOWN
    found = explain(judged, rows[:most], relevance, algorithm, _split(relevance))
    shown = write_explanation(asked.output, found, source, len(rows)) if asked.output else found
    if not asked.output:
        print_explanation(found)
    print(_summary(source, [each.row for each in shown], len(judged), asked.output))


def _parser(name: str) -> ArgumentParser:
    parser = ArgumentParser(
        f"rtt {name}", USAGE, HELP, formatter_class=RawDescriptionHelpFormatter, exit_on_error=False
    )
    written = "completions as rtt fit, validate and predict write them: a file, or a folder of windows"
    parser.add_argument("file", nargs="?", type=Path, help=written)
    parser.add_argument("--row", type=int, action="append", help="number of a response in it, from 1; repeatable")
    parser.add_argument("--prompt_id", help="the responses to this prompt")
    parser.add_argument("--output", type=Path, help=f"the page to write, of up to {MOST} responses")
    parser.add_argument("--discriminator", help="checkpoint or exported folder; its relevance replaces a recorded one")
    parser.add_argument("--prompt", help="a text in place of a file, with --response and --criterion")
    parser.add_argument("--response", help="the text to explain; --response=TEXT if it begins with dashes")
    parser.add_argument("--criterion", action="append", help='repeatable; a sentence, or {"text": ..., "weight": ...}')
    parser.add_argument("--prompt_file", help="the prompt from a file; - is the standard input")
    parser.add_argument("--response_file", help="the response likewise")
    parser.add_argument("--criteria_file", help="criteria likewise, one a line")
    return parser


# -- the run ---------------------------------------------------------------------------------------------------------


class Parts(RTTCommandLine):
    """Builds the rollout of a run, without model and data."""

    usage = "rtt explain [--config FILE ...]"

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        super().add_arguments_to_parser(parser)
        parser.set_defaults({"rollout.relevance": {"class_path": "rtt_lightning.RuleSpans"}})

    def instantiate_classes(self) -> None:
        with mistakes_named():
            parts: Any = self.parser.instantiate_classes(jsonargparse.Namespace(rollout=self.config.rollout))
        self.collector: Collector = parts.rollout.collector

    def algorithm(self) -> Algorithm:
        """As the configuration names it."""
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        parser.add_argument("--algorithm", type=Algorithm)
        with mistakes_named():
            named = jsonargparse.Namespace(algorithm=self.config.model.init_args.algorithm)
            built: Any = parser.instantiate_classes(named)
        return built.algorithm


def _parts(given: Sequence[Given]) -> tuple[Collector, Algorithm]:
    """Of the run that the flags are about; nothing is parsed without any."""
    if not given:
        return Collector(relevance=RuleSpans()), RTT()
    no_model = [f"--model={DEFAULT_MODEL}", "--model.init_args.model=none"]  # it is not built
    parts = main([*no_model, *as_arguments(given), *no_model], Parts, run=False)
    assert isinstance(parts, Parts)
    named = any(algorithm_in(settings["model"]) for each in given for settings in runs_in(each.tree))
    return parts.collector, parts.algorithm() if named else RTT()


def _split(relevance: RelevanceSource) -> Split:
    """Into the tokens that the source reads, if it reads any."""
    if not isinstance(relevance, DiscriminatorRelevance):
        return words
    tokenizer = cache(lambda: load_tokenizer(relevance.config.model))

    def split(text: str) -> Sequence[Span]:
        return tokenizer()(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]

    return split


# -- what is explained -----------------------------------------------------------------------------------------------


def _judged(asked: Namespace, collector: Collector) -> list[JudgedRollout]:
    """The responses of a file, or of the texts.

    Raises:
        UserError: For neither or both, or as either.
    """
    prompt, response = (_given_text(asked, name) for name in ("prompt", "response"))
    listed = asked.criteria_file and [line for line in _read(asked.criteria_file).splitlines() if line.strip()]
    criteria = (asked.criterion or []) + (listed or [])
    texts = {"--prompt": prompt, "--response": response, "--criterion": criteria or None}
    missing = [flag for flag, value in texts.items() if value is None]
    if asked.file and len(missing) < len(texts):
        raise UserError(f"got both the file {asked.file} and texts; give FILE, or --prompt, --response and --criterion")
    if asked.file:
        return read_judged(asked.file)
    if len(missing) == len(texts):
        raise UserError(f"nothing to explain is given; it is\n{USAGE}")
    if missing:
        raise UserError(f"{' and '.join(missing)} is missing: a text needs --prompt, --response and --criterion")
    return [_judged_text(str(prompt), str(response), criteria, collector)]


def _judged_text(prompt: str, response: str, criteria: Sequence[str], collector: Collector) -> JudgedRollout:
    entries = criteria_of({"criteria": [*criteria]})
    rubric = tuple(parse_criterion(entry, f"--criterion {number}") for number, entry in enumerate(entries, start=1))
    sample = RubricSample("given", ({"role": "user", "content": prompt},), rubric)
    span = given_answer_span(response, KNOWN if collector.reasoning is None else collector.reasoning)
    rollout = Rollout.of_text(sample.id, response, span)
    say_cost(collector.verifier, of_answers([(sample, rollout.answer)]))
    return judge(collector.verifier, [(sample, rollout)], loose=False, mask_truncated=False)[0]


def _given_text(asked: Namespace, name: str) -> str | None:
    text, file = getattr(asked, name), getattr(asked, f"{name}_file")
    if text is not None and file is not None:
        raise UserError(f"got both --{name} and --{name}_file; give one of them")
    return text if file is None else _read(file)


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}; give a file of text, or - for the input") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text ({error.reason}); save it as UTF-8") from error


def _rows(asked: Namespace, judged: Sequence[JudgedRollout], source: str) -> list[int]:
    """Indices of the responses that are asked for; of all without a choice."""
    wrong = [row for row in asked.row or () if not 1 <= row <= len(judged)]
    if wrong:
        raise UserError(f"there is no row {wrong[0]} in {source}: give --row from 1 to {len(judged)}")
    rows = [row - 1 for row in dict.fromkeys(asked.row)] if asked.row else range(len(judged))
    found = [row for row in rows if asked.prompt_id in (None, judged[row].sample.id)]
    if not found:
        ids = dict.fromkeys(item.sample.id for item in judged)
        near = did_you_mean(str(asked.prompt_id), ids) or f"; ids are such as {next(iter(ids))!r}"
        raise UserError(f"no response to the prompt {asked.prompt_id!r} in the chosen rows of {source}{near}")
    return found


def _summary(source: str, rows: Sequence[int], total: int, page: Path | None) -> str:
    """What was shown of how much, and how to see the rest."""
    in_order = len(rows) > 2 and [*rows] == [*range(rows[0], rows[-1] + 1)]
    numbers = f"{rows[0]} to {rows[-1]}" if in_order else ", ".join(map(str, rows))
    chosen = f"row{'s' * (len(rows) > 1)} {numbers} of {counted(total, 'response')} in {source}"
    more = "" if len(rows) == total else "; --row N or --prompt_id ID choose others"
    if page:
        return f"wrote {page}: {chosen}{more}"
    return chosen + more + (f", --output PAGE.html shows up to {MOST}" if len(rows) < total else "")
