"""The built-in constraint sampler: endless seeded prompts with criteria that rules can check.

A prompt is a task about a topic and two to four criteria, one of which always demands a real answer. The sample of a
(seed, index) is the same in every process and for every count.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rtt_lightning.datamodules.topics import ENDINGS, FORBIDDEN, OPENINGS, TASKS, TOPICS, WORDS
from rtt_lightning.types import Criterion, RubricSample


@dataclass(frozen=True)
class Kind:
    """How to ask for one kind of criterion.

    Attributes:
        phrasings: Sentences; fields stand for the checker's arguments.
        draw: Draws those arguments, given the topic.
        conflicts: Groups of kinds of which a prompt holds at most one.
    """

    phrasings: tuple[str, ...]
    draw: Callable[[random.Random, str], dict[str, Any]] = lambda rng, topic: {}
    conflicts: frozenset[str] = frozenset()


def _number(low: int, high: int) -> Callable[[random.Random, str], dict[str, Any]]:
    return lambda rng, topic: {"n": rng.randint(low, high)}


def _choice(name: str, words: Sequence[str]) -> Callable[[random.Random, str], dict[str, Any]]:
    return lambda rng, topic: {name: rng.choice([word for word in words if word != topic])}


def _two_words(rng: random.Random, topic: str) -> dict[str, Any]:
    return {"words": rng.sample([word for word in WORDS if word != topic], 2)}


def _sentences(rng: random.Random, topic: str) -> dict[str, Any]:
    low = rng.randint(1, 3)
    return {"low": low, "high": low + 1}


LENGTH, WORD, CASE, START, END, LAYOUT = ("length", "word", "case", "start", "end", "layout")

KINDS: dict[str, Kind] = {
    "rtt:include_word": Kind(
        ("Use the word '{word}'.", "Include the word '{word}' in your answer."),
        _choice("word", WORDS),
        frozenset({WORD}),
    ),
    "rtt:include_words": Kind(
        ("Use the words '{words[0]}' and '{words[1]}'.", "Include both '{words[0]}' and '{words[1]}'."),
        _two_words,
        frozenset({WORD}),
    ),
    "rtt:word_count": Kind(
        ("Use the word '{word}' at least {n} times.", "The word '{word}' must appear {n} times or more."),
        lambda rng, topic: {"word": topic, "n": rng.randint(2, 3)},
        frozenset({"topic"}),
    ),
    "rtt:start_with": Kind(
        ("Begin your answer with '{phrase}'.", "Start with the words '{phrase}'."),
        _choice("phrase", OPENINGS),
        frozenset({START, LAYOUT, CASE}),
    ),
    "rtt:end_with": Kind(
        ("End your answer with '{phrase}'.", "Finish with the words '{phrase}'."),
        _choice("phrase", ENDINGS),
        frozenset({END}),
    ),
    "rtt:end_punctuation": Kind(
        ("Finish your last sentence.", "End with a complete sentence."), conflicts=frozenset({END, LAYOUT, "finish"})
    ),
    "rtt:bullet_list": Kind(
        ("Use at least {n} bullet points starting with '- '.", "Give {n} or more points, each on a line with '- '."),
        _number(2, 3),
        frozenset({LAYOUT, START, LENGTH}),
    ),
    "rtt:capital_word": Kind(
        ("Write at least {n} words in ALL CAPITALS.", "Put {n} or more words in CAPITAL LETTERS."),
        _number(1, 2),
        frozenset({CASE}),
    ),
    "rtt:include_number": Kind(("Include a number written in digits.", "Mention at least one number, such as 7.")),
    "rtt:exclamation": Kind(("Use an exclamation mark.", "Include at least one exclamation mark.")),
    "rtt:question": Kind(("Ask a question in your answer.", "Include at least one question mark.")),
    "rtt:forbid_word": Kind(("Do not use the word '{word}'.", "Avoid the word '{word}'."), _choice("word", FORBIDDEN)),
    "rtt:no_commas": Kind(("Do not use any commas.", "Write without commas.")),
    "rtt:no_repetition": Kind(
        ("Do not repeat any word more than {n} times.", "No word may appear more than {n} times."),
        _number(2, 3),
        frozenset({"topic"}),
    ),
    "rtt:min_words": Kind(
        ("Use at least {n} words.", "Write {n} words or more."), _number(20, 30), frozenset({LENGTH})
    ),
    "rtt:max_words": Kind(
        ("Use at most {n} words.", "Do not write more than {n} words."), _number(15, 28), frozenset({LENGTH})
    ),
    "rtt:sentence_count": Kind(
        ("Write {low} or {high} sentences.", "Answer in {low} to {high} complete sentences."),
        _sentences,
        frozenset({LENGTH, LAYOUT, "finish"}),
    ),
    "rtt:distinct_words": Kind(
        ("Use at least {n} different words.", "Your answer needs {n} or more different words."),
        _number(14, 22),
        frozenset({LENGTH}),
    ),
    "rtt:quoted": Kind(
        ("Put your whole answer in double quotation marks.", "Wrap the answer in double quotes."),
        conflicts=frozenset({START, END, LAYOUT}),
    ),
    "rtt:postscript": Kind(
        ("Add a postscript that starts with 'P.S.'.", "End with a note that begins with 'P.S.'."),
        conflicts=frozenset({END, LAYOUT, "finish", CASE}),
    ),
    "rtt:title": Kind(
        ("Give it a title in double angular brackets, like <<title>>.", "Add a title written as <<title>>."),
        conflicts=frozenset({START, LAYOUT}),
    ),
    "rtt:lowercase": Kind(
        ("Write everything in lowercase letters.", "Do not use capital letters."), conflicts=frozenset({CASE})
    ),
}

HELD_OUT_KINDS = ("rtt:quoted", "rtt:postscript", "rtt:title", "rtt:lowercase")
TRAIN_KINDS = tuple(kind for kind in KINDS if kind not in HELD_OUT_KINDS)


def sample_prompts(
    count: int, seed: int, kinds: Sequence[str], start: int = 0, withheld: int = 0
) -> list[RubricSample]:
    """Samples ``start`` to ``start + count`` of the endless sequence of a seed.

    Args:
        count: How many.
        seed: Sequence.
        kinds: Criterion kinds to draw from, keys of `KINDS`.
        start: Index of the first one.
        withheld: Criteria of other kinds that are checked but not asked for, after those of the prompt: the cheap way
            to unmet and to unprompted met criteria, as training data of a discriminator.

    Raises:
        ValueError: For an unknown kind, or none.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown or not kinds:
        raise ValueError(f"kinds must name some of {', '.join(KINDS)}; got {unknown or 'none'}")
    return [_sample(seed, index, kinds, withheld) for index in range(start, start + count)]


def _sample(seed: int, index: int, kinds: Sequence[str], withheld: int) -> RubricSample:
    rng = random.Random(f"{seed}/{index}")
    topic = rng.choice(TOPICS)
    task = rng.choice(TASKS).format(topic=topic)
    phrasing = rng.choice(("Mention '{word}' by name.", "Use the word '{word}'."))
    about = Criterion(phrasing.format(word=topic), "rtt:include_word", {"word": topic})
    chosen = _compatible(rng, kinds, rng.randint(2, 3))
    drawn = [_criterion(rng, kind, topic) for kind in chosen]
    criteria = (*(() if "rtt:word_count" in chosen else (about,)), *drawn)
    prompt = " ".join((task, *(criterion.text for criterion in criteria)))
    others = [kind for kind in kinds if kind not in chosen]
    unasked = [_criterion(rng, kind, topic) for kind in rng.sample(others, min(withheld, len(others)))]
    message = {"role": "user", "content": prompt}
    return RubricSample(f"constraints/{seed}/{index}", (message,), (*criteria, *unasked), task)


def _compatible(rng: random.Random, kinds: Sequence[str], count: int) -> list[str]:
    """Up to ``count`` kinds, no two of one conflict group."""
    chosen: list[str] = []
    taken: set[str] = set()
    for kind in rng.sample(list(kinds), len(kinds)):
        if len(chosen) < count and not KINDS[kind].conflicts & taken:
            chosen.append(kind)
            taken |= KINDS[kind].conflicts
    return chosen


def _criterion(rng: random.Random, name: str, topic: str) -> Criterion:
    kind = KINDS[name]
    kwargs = kind.draw(rng, topic)
    return Criterion(rng.choice(kind.phrasings).format(**kwargs), name, kwargs)
