"""The checkers of IFEval and IFBench, through the package `if-verifiable`; strict evaluation.

Their ids are the benchmarks' own, e.g. ``keywords:existence``. Which characters decide is not known (spans ``None``).
Verdicts are those of the package, which looks at the answer without the whitespace around it, save where its verdict
would be an accident:

- it draws an argument that is missing or impossible at random: here that raises `ValueError`;
- it counts an answer as met whose language cannot be detected: here that is unscorable;
- it ends in an exception, or downloads, where an NLTK resource is missing: here that is unscorable.
"""

import random
import re
from collections.abc import Mapping
from functools import cache, partial
from typing import Any
from unittest.mock import patch

from rtt_lightning.types import Verdict
from rtt_lightning.verifiers.constraints import Checker

DETECT_LANGUAGE = {"language:response_language", "change_case:english_capital", "change_case:english_lowercase"}
WORD_LISTS = ("keywords", "forbidden_words")


@cache
def ifeval_checkers() -> dict[str, Checker]:
    """Checkers by id. Imported on first use: the package loads slowly, and would download NLTK resources then."""
    import langdetect
    import nltk

    with patch.object(nltk, "download", lambda *args, **kwargs: False):
        from if_verifiable.ifbench.instructions_registry import INSTRUCTION_DICT as IFBENCH
        from if_verifiable.ifeval.instructions_registry import INSTRUCTION_DICT as IFEVAL
    langdetect.DetectorFactory.seed = 0  # unseeded, the language found for a short text changes from call to call
    return {name: partial(_check, checker, name) for name, checker in {**IFEVAL, **IFBENCH}.items()}


def _check(checker_class: Any, name: str, answer: str, **kwargs: Any) -> Verdict:
    """Strict verdict of one instruction class; null arguments count as not given, as in the benchmarks' files.

    Raises:
        TypeError: If an argument is unknown or has the wrong type.
        ValueError: If an argument is missing or out of range.
    """
    from langdetect import LangDetectException, detect

    answer = answer.strip()
    if not answer:
        return Verdict(False, "empty answer")
    try:
        checker = checker_class(name)
        _build(checker, {key: value for key, value in kwargs.items() if value is not None})
        met = bool(checker.check_following(answer))
        if met and name in DETECT_LANGUAGE:
            detect(answer)
    except LangDetectException as error:
        return Verdict.unscorable(f"the language cannot be detected: {error}")
    except LookupError as error:
        resource = re.search(r"nltk\.download\('([^']+)'\)", str(error))
        if resource is None:
            raise
        return Verdict.unscorable(f"NLTK resource {resource[1]!r} is missing; set NLTK_DATA to a folder with it")
    return Verdict(met, "met" if met else "not met")


def _build(checker: Any, arguments: Mapping[str, Any]) -> None:
    """Give a checker its arguments, and refuse those that it would replace by random ones."""
    for name in WORD_LISTS:
        if isinstance(arguments.get(name), str):
            raise TypeError(f"{name} must be a list of words, got {arguments[name]!r}")
    state = random.getstate()
    try:
        checker.build_description(**arguments)
    finally:
        drawn = random.getstate() != state
        random.setstate(state)
    if drawn:
        needed = ", ".join(checker.get_instruction_args_keys())
        raise ValueError(f"an argument is missing or out of range: needs {needed}, got {dict(arguments)}")
