"""The checkers of IFEval and IFBench: verdicts of their official evaluators, by the package `if-verifiable`.

Their ids are the benchmarks' own, e.g. ``keywords:existence``. We add the characters that decide, if they can be told.
An answer is judged as it is, whitespace around it included; a blank one meets nothing. Accidents give no verdict:

- a missing or impossible argument would be drawn at random: here it raises `ValueError`;
- an answer whose language cannot be detected would count as met: here it is unscorable, unless ``official``;
- a missing NLTK resource would end the run, or be downloaded: here it makes verdicts unscorable;
- another version of NLTK or of the package may judge differently: here it makes verdicts unscorable, with the fix.
"""

import random
import re
from collections.abc import Mapping
from functools import cache, partial
from typing import Any
from unittest.mock import patch

from rtt_lightning.types import Verdict
from rtt_lightning.verifiers.base import Checker
from rtt_lightning.verifiers.ifeval.deciding import COUNTED, GLOBAL, NEGATIVE, deciding_spans
from rtt_lightning.verifiers.ifeval.needs import wrong_for
from rtt_lightning.verifiers.ifeval.official import State, official_classes

DETECT_LANGUAGE = {"language:response_language", "change_case:english_capital", "change_case:english_lowercase"}
WORD_LISTS = ("keywords", "forbidden_words")
Official = bool | State
"""Whether to give the verdicts of the official evaluators, and of which state of them."""


@cache
def ifeval_checkers(official: Official = False) -> dict[str, Checker]:
    """Checkers by id.

    Args:
        official: Count an answer whose language cannot be detected as met, as the official evaluators do, and judge
            like a state of them: "main" or "pr34", see `rtt_lightning.verifiers.ifeval.official`. True means "main";
            False judges IFBench's instructions as their prompts say, like "pr34".
    """
    state: State = ("main" if official else "pr34") if isinstance(official, bool) else official
    classes = instruction_classes(state)
    return {name: partial(_decide, cls, name, bool(official)) for name, cls in classes.items()}


@cache
def instruction_classes(state: State = "pr34") -> dict[str, Any]:
    """Classes by id. Imported on first use: the package loads slowly, and would download NLTK resources then."""
    import langdetect
    import nltk

    with patch.object(nltk, "download", lambda *args, **kwargs: False):
        from if_verifiable.ifbench.instructions_registry import INSTRUCTION_DICT as IFBENCH
        from if_verifiable.ifeval.instructions_registry import INSTRUCTION_DICT as IFEVAL
    langdetect.DetectorFactory.seed = 0  # unseeded, the language of a short text changes from call to call
    return official_classes(IFEVAL, IFBENCH, state)


def describe(name: str, kwargs: Mapping[str, Any]) -> str:
    """An instruction as a sentence.

    Raises:
        KeyError: For an unknown id.
        TypeError: If an argument is unknown or has the wrong type.
        ValueError: If an argument is missing or out of range.
    """
    return _build(instruction_classes()[name](name), without_nulls(kwargs))


def _decide(instruction_class: Any, name: str, official: bool, answer: str, **kwargs: Any) -> Verdict:
    """Strict verdict of one instruction class; null arguments count as not given, as in the benchmarks' files.

    Raises:
        TypeError: If an argument is unknown or has the wrong type.
        ValueError: If an argument is missing or out of range.
    """
    from langdetect import LangDetectException, detect

    if wrong := wrong_for(name):
        return Verdict.unscorable(wrong)
    if not answer.strip():
        return Verdict(False, "empty answer")
    try:
        instruction = instruction_class(name)
        _build(instruction, without_nulls(kwargs))
        met = bool(instruction.check_following(answer))
        if met and not official and name in DETECT_LANGUAGE:
            detect(answer)
    except LangDetectException as error:
        return Verdict.unscorable(f"the language cannot be detected: {error}")
    except LookupError as error:
        resource = re.search(r"nltk\.download\('([^']+)'\)", str(error))
        if resource is None:
            raise
        return Verdict.unscorable(f"NLTK resource {resource[1]!r} is missing; set NLTK_DATA to a folder with it")
    spans = deciding_spans(name, answer, met, without_nulls(kwargs))
    scope, polarity = "global" if name in GLOBAL | COUNTED else "local", "negative" if name in NEGATIVE else "positive"
    return Verdict(met, "met" if met else "not met", spans, scope=scope, polarity=polarity)


def without_nulls(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments without nulls, which mean that one is not given."""
    return {key: value for key, value in kwargs.items() if value is not None}


def _build(instruction: Any, arguments: Mapping[str, Any]) -> str:
    """Give an instruction its arguments; raises where it would draw random ones instead."""
    for name in WORD_LISTS:
        if isinstance(arguments.get(name), str):
            raise TypeError(f"{name} must be a list of words, got {arguments[name]!r}")
    state = random.getstate()
    try:
        description = instruction.build_description(**arguments)
    finally:
        drawn = random.getstate() != state
        random.setstate(state)
    if drawn:
        needed = ", ".join(instruction.get_instruction_args_keys())
        raise ValueError(f"an argument is missing or out of range: needs {needed}, got {dict(arguments)}")
    return description
