"""What the checkers of IFEval and IFBench need: packages in versions whose verdicts were compared with those of the
official evaluators, and NLTK resources.
"""

from functools import cache
from importlib import metadata
from importlib.util import find_spec

from packaging.specifiers import SpecifierSet

from rtt_lightning.verifiers.ifeval.official import BY_NLTK

COMPARED = {"nltk": ">=3.9.3,<3.10", "if-verifiable": "==0.1.2"}
"""As in ``pyproject.toml``, which says why."""
NLTK_RESOURCES = {
    "punkt_tab": "tokenizers/punkt_tab",
    "averaged_perceptron_tagger_eng": "taggers/averaged_perceptron_tagger_eng",
    "stopwords": "corpora/stopwords",
}
"""Paths in NLTK of the resources that checkers of `if-verifiable` read; no longer its pickled `punkt`."""
READERS = {
    "punkt_tab": BY_NLTK,
    "averaged_perceptron_tagger_eng": {"words:start_verb"},
    "stopwords": {"ratio:stop_words"},
}
"""Ids of checkers that read each of them, at least for some answers."""


@cache
def wrong_version(package: str) -> str:
    """A message with the fix if another version of a package is installed; else empty."""
    fix = f"pip install '{package}{COMPARED[package]}'"
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:  # a copy on the path has no version
        return "" if find_spec(package.replace("-", "_")) else f"{package} is not installed; {fix}"
    if SpecifierSet(COMPARED[package]).contains(version, prereleases=True):
        return ""
    return f"{package} {version} may judge differently from the official evaluators; {fix}"


def wrong_for(checker: str) -> str:
    """A message with the fix if a checker may judge differently with the installed versions; else empty."""
    return wrong_version("if-verifiable") or (wrong_version("nltk") if checker in BY_NLTK else "")


def lacking(checker: str) -> str:
    """What a checker needs and this machine lacks, in words; empty if nothing."""
    if wrong := wrong_for(checker):
        return wrong
    missing = ", ".join(repr(resource) for resource in nltk_resources(checker) if not has_nltk(resource))
    if not missing:
        return ""
    return f"{checker} needs NLTK's {missing}; set NLTK_DATA to a folder with it (`rtt doctor` says how)"


def nltk_resources(checker: str) -> list[str]:
    """The NLTK resources that a checker reads, at least for some answers, as names of `NLTK_RESOURCES`."""
    return [name for name, readers in READERS.items() if checker in readers]


def has_nltk(name: str) -> bool:
    """Whether NLTK finds a resource of `NLTK_RESOURCES`. Nothing is downloaded."""
    import nltk

    try:
        nltk.data.find(NLTK_RESOURCES[name])
    except LookupError:
        return False
    return True
