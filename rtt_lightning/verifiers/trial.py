"""Whether the checkers of some data can do their work, found out before a run is spent on it: are they known, do their
arguments fit, is what they read on this machine?
"""

import ast
import inspect
import json
from functools import cache
from typing import Any

from rtt_lightning.types import Criterion
from rtt_lightning.verifiers.checks import Checks
from rtt_lightning.verifiers.official import BY_NLTK
from rtt_lightning.verifiers.rule import Checker
from rtt_lightning.verifiers.versions import wrong_version

TRIALS = (
    "An answer that is tried on each checker.\n\nIt has two paragraphs.",
    '# Tea\n\n"THE tea, 3 cups!" Why?\n\n- one\n- two\n\n1. three\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nP.S. <<Tea>>',
    '{"a": 1}',
)
"""Answers that lead most checkers to each of their arguments."""
NLTK_RESOURCES = {
    "punkt_tab": "tokenizers/punkt_tab",
    "averaged_perceptron_tagger_eng": "taggers/averaged_perceptron_tagger_eng",
    "stopwords": "corpora/stopwords",
}
"""What checkers of `if-verifiable` read, by the path that NLTK finds it under. Its pickled `punkt` is read no more."""
TAGGED, STOPPED = "words:start_verb", "ratio:stop_words"
"""Ids that read more of them than `BY_NLTK`, or another one."""


class Trial:
    """Tries the checkers of criteria, each with the same arguments once.

    Args:
        checks: Those that are known. A checker of a user's own is not called: it may do more than check, or fail on
            these answers for a good reason; only whether it takes arguments of these names is looked at.
    """

    def __init__(self, checks: Checks) -> None:
        self._checks, self._found = checks, dict[tuple[str, str], str]()
        self._has_nltk = cache(has_nltk)

    def problem(self, criterion: Criterion) -> str:
        """What is wrong with a criterion's checker or arguments, in words; empty where nothing is."""
        key = criterion.checker, json.dumps(criterion.kwargs, sort_keys=True, default=repr)
        if key not in self._found:
            self._found[key] = self._problem(criterion)
        return self._found[key]

    def lacking(self, criterion: Criterion) -> str:
        """What its checker needs that this machine lacks, in words; empty where that is nothing."""
        name = criterion.checker
        if not self._checks.of_benchmark(name):
            return ""
        if wrong := wrong_version("if-verifiable") or (name in BY_NLTK and wrong_version("nltk")):
            return wrong
        missing = ", ".join(repr(resource) for resource in nltk_resources(name) if not self._has_nltk(resource))
        if not missing:
            return ""
        return f"{name} needs NLTK's {missing}; set NLTK_DATA to a folder with it (`rtt doctor` says how)"

    def _problem(self, criterion: Criterion) -> str:
        checker = self._checks.find(criterion.checker)
        if checker is None:
            return self._checks.unknown(criterion.checker)
        if criterion.checker in self._checks.own:
            return _misfit(checker, criterion)
        for answer in TRIALS:
            verdict = self._checks.check(criterion, answer)
            if verdict.met is None and verdict.reason.startswith(f"{criterion.checker}: "):
                return f"wrong arguments: {verdict.reason}"
        return ""


def code_problem(criterion: Criterion) -> str:
    """What is wrong with code that data brings as a checker, in words; empty where nothing is."""
    source = criterion.kwargs.get("source")
    if not isinstance(source, str):
        return f"checker code must be a text in `kwargs.source`, got {type(source).__name__}"
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"checker code does not compile: {error}"
    return ""


def nltk_resources(checker: str) -> list[str]:
    """What a checker reads of NLTK, at least for some answers, as names of `NLTK_RESOURCES`."""
    read = {"punkt_tab": checker in BY_NLTK, "averaged_perceptron_tagger_eng": checker == TAGGED}
    return [name for name, is_read in {**read, "stopwords": checker == STOPPED}.items() if is_read]


def has_nltk(name: str) -> bool:
    """Whether NLTK finds a resource of `NLTK_RESOURCES`. Nothing is downloaded."""
    import nltk

    try:
        nltk.data.find(NLTK_RESOURCES[name])
    except LookupError:
        return False
    return True


def _misfit(checker: Checker, criterion: Criterion) -> str:
    try:
        signature: Any = inspect.signature(checker)
    except ValueError:  # of a checker that is written in C
        return ""
    try:
        signature.bind("", **criterion.kwargs)
    except TypeError as error:
        return f"wrong arguments: {criterion.checker}: {error}"
    return ""
