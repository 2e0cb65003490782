"""Checkers of IFEval and IFBench: verdicts of the package, without its accidents; `test_official` has what differs.

`tests/assets/*_rows.jsonl` were written for this project, in the benchmarks' format, with an answer that meets all of
a row's instructions and one that meets none. ``../shared`` adds the benchmarks and the NLTK resources where it is
there; without the resources the ids of `NEED_NLTK` are unscorable, and the tests hold as well.
"""

import json
import os
import random
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import nltk
import pytest

from rtt_lightning.types import Verdict
from rtt_lightning.verifiers.ifeval import ifeval_checkers
from rtt_lightning.verifiers.ifeval.checkers import without_nulls
from rtt_lightning.verifiers.ifeval.deciding import deciding_spans
from rtt_lightning.verifiers.ifeval.official import BY_NLTK, CHECKS, PR34
from tests.conftest import ROOT

SHARED = ROOT.parent / "shared"
FILES = [ROOT / f"tests/assets/{name}_rows.jsonl" for name in ("ifeval", "ifbench")]
BENCHMARKS = [SHARED / f"benchmarks/{name}.jsonl" for name in ("ifeval_input_data", "IFBench_test")]
HAS_NLTK_DATA = (SHARED / "nltk_data").is_dir()
if HAS_NLTK_DATA:
    nltk.data.path.insert(0, str(SHARED / "nltk_data"))

SPLIT_SENTENCES = set(
    "ratio:sentence_type ratio:sentence_balance ratio:sentence_words sentence:alliteration_increment sentence:keyword "
    "sentence:increment format:emoji format:no_bullets_bullets words:last_first words:keywords_specific_position "
    "custom:sentence_alphabet".split()
)
"""IFBench's by NLTK, the package's by a regular expression."""
LATER = "custom:word_reverse"
"""Counts sentences only where the words are right."""
NEED_NLTK = dict.fromkeys(BY_NLTK - {LATER}, "punkt_tab") | {"ratio:stop_words": "stopwords"}
DIFFER = {*CHECKS, *PR34, "keywords:letter_frequency"} | SPLIT_SENTENCES
"""The official verdict is not the package's."""
ARGUMENTS: dict[str, dict[str, Any]] = {
    "repeat:repeat_span": {"prompt_to_repeat": "Sing a short song of the sea.", "n_start": 1, "n_end": 3},
    "ratio:overlap": {"reference_text": "The sea is calm.", "percentage": 50.0},
    "count:words_japanese": {"N": 3.0},
    "count:pronouns": {"N": 2.0},
    "words:repeats": {"small_n": 2.0},
    "sentence:increment": {"small_n": 1.0},
    "format:list": {"sep": "!?!?"},
    "words:keywords_specific_position": {"keyword": "sea", "n": 1, "m": 3},
    "count:keywords_multiple": {f"keyword{i}": word for i, word in enumerate("ant bee cat dog elk".split(), 1)},
}
ANSWERS = [
    "The quick brown fox jumps over the lazy dog. Is it so? Yes! It's 3 times faster, and it knows why.",
    "\n\n  - one\n- two\n\n* three\n***\nfour\n",
    "<<A Title>>\n\nSECTION 1\nHello *there* [name].\n******\nSECTION 2\nP.S. Bye.",
    "THIS ANSWER IS IN CAPITAL LETTERS AND SAYS VERY LITTLE ABOUT ANYTHING",
    "this answer is in small letters and says very little about anything",
    '"My answer is yes."',
    '{"a": 1}',
    "Die Katze liegt den ganzen Tag auf dem warmen Ofen und schläft.",
    "name,city\n1,Rome\n2,Oslo",
]
STRANGE = [
    "\x00",
    "a\x00b, c. d",
    "\ud800 lone \udfff halves",
    "😀👍🏽 fine. 🇫🇷",
    "\u202eabc ﬁ ẞ",
    "abc\u2028def\x85ghi",
    "𝐀 ⅷ",
]


def rows_of(file: Path) -> list[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:  # not splitlines: answers may hold other line separators
        return [json.loads(line) for line in lines]


def arguments(name: str) -> dict[str, Any]:
    """Arguments for an id, from our rows or from the table above."""
    rows = [row for file in FILES for row in rows_of(file)]
    known = {i: kwargs for row in rows for i, kwargs in zip(row["instruction_id_list"], row["kwargs"], strict=True)}
    return {**known, **ARGUMENTS}.get(name, {})


def lacks_nltk(name: str, verdict: Verdict) -> bool:
    """Unscorable for want of a resource, as it may be where ``../shared`` is absent."""
    lacking = not HAS_NLTK_DATA and verdict.met is None and "NLTK_DATA" in verdict.reason
    return lacking and name in (*NEED_NLTK, LATER)


def package_verdict(name: str, kwargs: dict[str, Any], prompt: str, answer: str) -> bool | None:
    """Strict verdict by the package's own evaluation; ``None`` where it fails or draws an argument at random."""
    from if_verifiable.common import evaluate_instructions
    from if_verifiable.ifbench import INSTRUCTION_DICT as IFBENCH
    from if_verifiable.ifeval import INSTRUCTION_DICT as IFEVAL

    state = random.getstate()
    try:
        results, _ = evaluate_instructions(answer, [name], [kwargs], prompt, {**IFEVAL, **IFBENCH})
    except Exception:
        return None
    return results[0].strict_pass if random.getstate() == state else None


def our_verdict(name: str, kwargs: dict[str, Any], answer: str) -> bool | None:
    try:
        return ifeval_checkers()[name](answer, **kwargs).met
    except Exception:
        return None


def test_all_ids_are_there() -> None:
    assert len(ifeval_checkers()) == 25 + 58


@pytest.mark.parametrize("file", FILES + [file for file in BENCHMARKS if file.is_file()], ids=lambda file: file.stem)
def test_agrees_with_the_package(file: Path) -> None:
    state, met, unscorable, disagree = random.getstate(), 0, set(), []
    for number, row in enumerate(rows_of(file)):
        answers = [row[key] for key in ("met", "unmet") if key in row] + [ANSWERS[number % len(ANSWERS)], row["prompt"]]
        for name, kwargs in zip(row["instruction_id_list"], row["kwargs"], strict=True):
            if name in DIFFER:
                continue
            for answer in map(str.strip, answers):  # as the package does
                expected, ours = package_verdict(name, kwargs, row["prompt"], answer), our_verdict(name, kwargs, answer)
                met += bool(ours)
                unscorable |= {name} if ours is None else set()
                if ours is not expected:
                    disagree.append((row["key"], name, answer[:40], ours, expected))
    random.setstate(state)
    assert disagree == []
    assert met > 10
    assert unscorable <= (set() if HAS_NLTK_DATA else NEED_NLTK.keys())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_hand_made_verdicts(file: Path) -> None:
    for row in rows_of(file):
        for name, kwargs in zip(row["instruction_id_list"], row["kwargs"], strict=True):
            for answer, met in ((row["met"], True), (row["unmet"], False)):
                verdict = ifeval_checkers()[name](answer, **kwargs)
                assert verdict.met is met or lacks_nltk(name, verdict), (row["key"], name, answer, verdict)
                assert verdict.met is None or verdict.spans == deciding_spans(name, answer, met, without_nulls(kwargs))


@pytest.mark.parametrize("answer", STRANGE, ids=ascii)
def test_strange_answers_get_a_verdict(answer: str) -> None:
    for name, checker in ifeval_checkers().items():
        verdict = checker(answer, **arguments(name))
        undetected = verdict.met is None and "language" in verdict.reason
        assert isinstance(verdict.met, bool) or undetected or lacks_nltk(name, verdict), (name, verdict)


@pytest.mark.slow
def test_very_long_answers_get_a_verdict() -> None:
    answer = ("The quick brown fox jumps over the lazy dog. " * 2300)[:100_000]
    for name, checker in ifeval_checkers().items():
        verdict = checker(answer, **arguments(name))
        assert isinstance(verdict.met, bool) or lacks_nltk(name, verdict), (name, verdict)


@pytest.mark.parametrize("answer", ["", "  \n\t"])
def test_an_empty_answer_meets_nothing(answer: str) -> None:
    assert {checker(answer).met for checker in ifeval_checkers().values()} == {False}


def test_null_arguments_count_as_not_given() -> None:
    assert ifeval_checkers()["punctuation:no_comma"]("no comma", num_words=None).met is True


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("keywords:existence", {}),
        ("keywords:existence", {"keywords": []}),
        ("length_constraints:number_words", {"relation": "at least"}),
        ("length_constraints:number_words", {"num_words": -1, "relation": "at least"}),
        ("keywords:letter_frequency", {"letter": "##", "let_frequency": 4, "let_relation": "at least"}),
        ("sentence:keyword", {"N": 2}),
    ],
)
def test_arguments_are_never_drawn_at_random(name: str, kwargs: dict[str, Any]) -> None:
    state = random.getstate()
    with pytest.raises(ValueError, match="an argument is missing or out of range: needs"):
        ifeval_checkers()[name]("Some answer.", **kwargs)
    assert random.getstate() == state


@pytest.mark.parametrize("name", ["keywords:existence", "keywords:forbidden_words"])
def test_a_string_is_not_a_list_of_words(name: str) -> None:
    """The package takes it as a list of letters, and finds them."""
    with pytest.raises(TypeError, match="must be a list of words, got 'bee'"):
        ifeval_checkers()[name]("b e", **{name.split(":")[1].replace("existence", "keywords"): "bee"})


@pytest.mark.parametrize("answer", ["12345", "!?", "http://example.org"])
def test_an_undetectable_language_is_unscorable(answer: str) -> None:
    """The package counts it as met."""
    assert package_verdict("language:response_language", {"language": "fi"}, "", answer) is True
    verdict = ifeval_checkers()["language:response_language"](answer, language="fi")
    assert verdict.met is None
    assert "language cannot be detected" in verdict.reason


def test_language_detection_is_repeatable() -> None:
    """Unseeded, this is Spanish or Italian by an even chance."""
    check = partial(ifeval_checkers()["language:response_language"], "te una tempo")
    assert len({tuple(check(language=language).met for language in ("es", "it")) for _ in range(40)}) == 1


WITHOUT_NLTK_DATA = """
import json, socket, sys
import nltk

def forbidden(*args, **kwargs):
    raise AssertionError("a checker reached for the network")

socket.socket.connect = socket.getaddrinfo = nltk.download = forbidden
nltk.data.path[:] = []
from rtt_lightning.verifiers.ifeval import ifeval_checkers

answer, arguments = json.load(sys.stdin)
verdicts = {name: checker(answer, **arguments[name]) for name, checker in ifeval_checkers().items()}
print(json.dumps({name: [verdict.met, verdict.reason] for name, verdict in verdicts.items()}))
"""


def test_missing_nltk_resources_are_unscorable_and_never_downloaded(tmp_path: Path) -> None:
    given = json.dumps([ANSWERS[0], {name: arguments(name) for name in ifeval_checkers()}])
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NLTK_DATA],
        input=given,
        env={**os.environ, "NLTK_DATA": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    verdicts = json.loads(done.stdout.splitlines()[-1])
    assert {name for name, (met, _) in verdicts.items() if met is None} == NEED_NLTK.keys()
    for name, resource in NEED_NLTK.items():
        assert verdicts[name][1] == f"NLTK resource '{resource}' is missing; set NLTK_DATA to a folder with it"


def test_importing_the_module_does_not_import_the_package() -> None:
    code = "import sys, rtt_lightning.verifiers.rules; print({'if_verifiable', 'nltk', 'datasets'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
