"""Faithfulness: does the verdict hang on the words that a relevance source points at? A test without labels.

*Deletion*: the most relevant words of an answer are left out, more and more of them, and the verifier decides what
remains. If they decided the verdict, it flips, and sooner than if as many words at random are left out. *Insertion*:
only the most relevant words are kept; if they decided it, the criterion is still met.

Only cells (a response and a criterion) whose verdict words can be responsible for take part, see `can_flip`: local
criteria that are met and ask for something, or that are not met and forbid something. An absence ("no commas": met)
lies in no word, and what is missing comes by no deletion; where the whole answer decides (length, language), no word
does. Insertion is asked of the met ones alone: nearly every rest of an answer lacks something.

Words are left out whole, so that rules see a text that could have been written. All sources of a comparison are asked
about the same cells and compared with the same random orders; words of equal relevance come in random order, so that a
constant source is a random one.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rtt_lightning.functional.faithfulness import (
    SHARES,
    most_relevant_first,
    steps,
    with_words,
    without_words,
    word_relevance,
    words_of,
)
from rtt_lightning.functional.intervals import bootstrap_interval, resamples
from rtt_lightning.relevance.base import Relevance
from rtt_lightning.types import JudgedRollout, RubricSample, Span, Verdict
from rtt_lightning.verifiers.base import Verifier

RANDOM = "random"
"""The name of the random orders among the sources."""
Order = list[int]
"""Words of a cell, as they are left out or kept."""
Edit = Callable[[str, Sequence[Span], Sequence[int]], str]
"""`without_words` or `with_words`."""


@dataclass(frozen=True)
class Cell:
    """A response and a criterion that can flip.

    Attributes:
        sample: With this criterion alone.
        orders: Of each source one, of `RANDOM` several.
    """

    sample: RubricSample
    answer: str
    met: bool
    words: list[Span]
    orders: dict[str, list[Order]]

    def edited(self, edit: Edit) -> dict[str, list[list[str]]]:
        """By source, for each order and step, what becomes of the answer."""
        counts = steps(len(self.words))
        return {
            name: [[edit(self.answer, self.words, order[:number]) for number in counts] for order in orders]
            for name, orders in self.orders.items()
        }


def can_flip(verdict: Verdict) -> bool:
    """Whether some words of an answer can be what decided the verdict."""
    if verdict.met is None or verdict.scope == "global":
        return False
    return verdict.met == (verdict.polarity == "positive")


def faithfulness(
    judged: Sequence[JudgedRollout],
    relevance: Mapping[str, Sequence[Relevance]],
    verifier: Verifier,
    orders: int = 5,
    seed: int = 0,
) -> dict[str, Any]:
    """Deletion and insertion curves of relevance sources.

    Args:
        judged: Responses with the verifier's verdicts, and the characters of their tokens.
        relevance: By the name of the source that of each response, such as from `RelevanceSource.weigh`.
        verifier: Decides what remains of answers.
        orders: Random orders of the words of each cell.
        seed: Of these, and of the order of words of equal relevance.

    Returns:
        ``shares`` of words; for ``deletion`` and ``insertion`` numbers of ``cells``, ``prompts`` and texts that were
        ``undecided``, and ``sources``: by name, `RANDOM` among them, the ``curve`` (for each share of words that of
        cells whose verdict flipped, or that were still met), and but for `RANDOM` the ``area`` between the two (mean
        difference over the shares; 0 for chance); each with ``mean``, ``low`` and ``high``, a 95 % interval over
        prompts. Nothing for a kind without cells.
    """
    cells = _cells(judged, relevance, orders, seed)
    found: dict[str, Any] = {"shares": list(SHARES)}
    for name, asked, edit in (
        ("deletion", cells, without_words),
        ("insertion", [cell for cell in cells if cell.met], with_words),
    ):
        if asked:
            same = _same_verdict(asked, [cell.edited(edit) for cell in asked], verifier)
            found[name] = _curves(asked, same if name == "insertion" else {who: 1 - own for who, own in same.items()})
    return found


def _cells(
    judged: Sequence[JudgedRollout], relevance: Mapping[str, Sequence[Relevance]], orders: int, seed: int
) -> list[Cell]:
    """Those that can flip, of answers of at least two words."""
    rng, cells = random.Random(seed), []
    for row, item in enumerate(judged):
        answer, first = item.rollout.answer, item.rollout.answer_span[0]
        words = words_of(answer)
        places = [(start + first, end + first) for start, end in words]
        for k, (criterion, verdict) in enumerate(item.decisions):
            if len(words) < 2 or not can_flip(verdict):
                continue
            own = {RANDOM: [most_relevant_first([0.0] * len(words), rng) for _ in range(orders)]}
            for name, weighed in relevance.items():
                by_word = word_relevance(weighed[row].p[k], item.rollout.offsets, places)
                own[name] = [most_relevant_first(by_word.tolist(), rng)]
            alone = replace(item.sample, criteria=(criterion,))
            cells.append(Cell(alone, answer, verdict.met is True, words, own))
    return cells


def _same_verdict(
    cells: Sequence[Cell], texts: Sequence[Mapping[str, list[list[str]]]], verifier: Verifier
) -> dict[str, np.ndarray]:
    """By source ``[cell order step]``: 1 if the verdict on a text is that of the whole answer, 0 if not, NaN if there
    is none. Each text of a cell is asked about once.
    """
    questions = {
        (number, text): (cell.sample, text)
        for number, (cell, own) in enumerate(zip(cells, texts, strict=True))
        for its in own.values()
        for order in its
        for text in order
    }
    verdicts = dict(zip(questions, verifier.verify_all([*questions.values()]), strict=True))

    def same(number: int, text: str) -> float:
        [verdict] = verdicts[number, text]
        return float("nan") if verdict.met is None else float(verdict.met == cells[number].met)

    return {
        name: np.array([[[same(i, text) for text in order] for order in own[name]] for i, own in enumerate(texts)])
        for name in texts[0]
    }


def _curves(cells: Sequence[Cell], values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What `faithfulness` returns of a kind of editing.

    Args:
        cells: At least one.
        values: By source ``[cell order step]``, 0 or 1, or NaN.
    """
    prompts = {prompt: number for number, prompt in enumerate(dict.fromkeys(cell.sample.id for cell in cells))}
    place = [prompts[cell.sample.id] for cell in cells]
    draws = resamples(len(prompts))
    undecided = sum(int(np.isnan(own).sum()) for own in values.values())

    def share(own: np.ndarray) -> np.ndarray:
        """``[draw step]``"""
        sums = np.zeros((2, len(prompts), len(SHARES)))
        for part, table in zip(sums, (np.nan_to_num(own), ~np.isnan(own)), strict=True):
            np.add.at(part, place, table.mean(1))
        with np.errstate(invalid="ignore"):
            return (draws @ sums[0]) / (draws @ sums[1])

    shares = {name: share(own) for name, own in values.items()}
    sources: dict[str, dict[str, Any]] = {
        name: {"curve": [bootstrap_interval(step, len(prompts)) for step in drawn.T]} for name, drawn in shares.items()
    }
    for name in sources.keys() - {RANDOM}:
        apart = (shares[name] - shares[RANDOM]).mean(1)
        sources[name]["area"] = bootstrap_interval(apart, len(prompts), lowest=-1.0)
    return {"cells": len(cells), "prompts": len(prompts), "undecided": undecided, "sources": sources}
