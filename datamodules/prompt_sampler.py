"""The built-in prompt sampler: endless seeded prompts with criteria that rules can check.

A prompt is a task about a topic with two to four criteria, one of which always demands a real answer. The sample of a
(seed, index) is the same in every process and for every count.
"""

import random
from collections.abc import Sequence

from rtt_lightning.datamodules.topics import TASKS, TOPICS
from rtt_lightning.types import Criterion, RubricSample
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.rules import RULES
from rtt_lightning.verifiers.rules.rule import Group

KINDS = {name: rule.phrasing for name, rule in RULES.items() if rule.phrasing}
"""How to ask for each kind of criterion."""
TRAIN_KINDS = (
    "rtt:include_word", "rtt:include_words", "rtt:word_count", "rtt:start_with", "rtt:end_with", "rtt:end_punctuation",
    "rtt:bullet_list", "rtt:capital_word", "rtt:include_number", "rtt:exclamation", "rtt:question", "rtt:forbid_word",
    "rtt:no_commas", "rtt:no_repetition", "rtt:min_words", "rtt:max_words", "rtt:sentence_count", "rtt:distinct_words",
)  # fmt: skip
"""Kinds drawn by default; another order would give other prompts for a seed."""
HELD_OUT_KINDS = ("rtt:quoted", "rtt:postscript", "rtt:title", "rtt:lowercase")


def sample_prompts(
    count: int, seed: int, kinds: Sequence[str], start: int = 0, withheld: int = 0
) -> list[RubricSample]:
    """Samples ``start`` to ``start + count`` of the endless sequence of a seed.

    Args:
        count: How many.
        seed: Sequence.
        kinds: Criterion kinds to draw from, keys of `KINDS`.
        start: Index of the first one.
        withheld: Criteria of other kinds to add that are checked but not asked for: cheap training data for a
            discriminator, unmet or met without being asked for.

    Raises:
        UserError: For an unknown kind, or without any.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown or not kinds:
        raise UserError(f"kinds must name some of {', '.join(KINDS)}; got {unknown or 'none'}")
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
    taken: set[Group] = set()
    for kind in rng.sample(list(kinds), len(kinds)):
        if len(chosen) < count and not KINDS[kind].conflicts & taken:
            chosen.append(kind)
            taken |= KINDS[kind].conflicts
    return chosen


def _criterion(rng: random.Random, name: str, topic: str) -> Criterion:
    kind = KINDS[name]
    kwargs = kind.draw(rng, topic)
    return Criterion(rng.choice(kind.sentences).format(**kwargs), name, kwargs)
