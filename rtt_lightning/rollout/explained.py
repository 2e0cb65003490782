"""Judged responses with what their tokens earn: recorded, or computed again from what is known of them."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from unicodedata import category, east_asian_width

import torch

from rtt_lightning.algorithms import Algorithm
from rtt_lightning.algorithms.checks import checked_credit
from rtt_lightning.relevance import Relevance, RelevanceSource
from rtt_lightning.rollout.experience import collate
from rtt_lightning.types import JudgedRollout, Rollout, Span

Split = Callable[[str], Sequence[Span]]
"""From a text to the characters of each of its tokens."""
RECORDED = "as recorded"


@dataclass(frozen=True)
class Explained:
    """A judged response with the relevance and the credit of its tokens.

    Attributes:
        row: Its number in the file, from 1.
        item: With tokens and relevance, and with advantages if they are known.
        relevance_from: Where its relevance comes from, in words.
        advantages_from: Where its advantages come from, or why there are none, in words.
    """

    row: int
    item: JudgedRollout
    relevance_from: str
    advantages_from: str


def explain(
    judged: Sequence[JudgedRollout], rows: Sequence[int], source: RelevanceSource, algorithm: Algorithm, split: Split
) -> list[Explained]:
    """The responses of some rows, with relevance and advantages: as recorded, or else computed.

    Advantages compare the responses of a group, so those to the same prompt are weighed too where they are needed.

    Args:
        judged: The responses of a file.
        rows: Indices of those to explain.
        source: Weighs the tokens of responses without recorded relevance.
        algorithm: Gives credit to responses without recorded advantages.
        split: Makes tokens of an answer whose tokens are not known.

    Raises:
        UserError: As the source and the algorithm.
    """
    groups = defaultdict[object, list[int]](list)
    for index, item in enumerate(judged):
        groups[_group(item)].append(index)
    mates = {row: groups[_group(judged[row])] if judged[row].advantages is None else [row] for row in rows}
    needed = sorted({index for indices in mates.values() for index in indices})
    known = {index: with_tokens(judged[index], split) for index in needed}
    weighed = dict(zip(needed, _weigh([*known.values()], source), strict=True))
    found = []
    for row in rows:
        item, group = known[row], mates[row]
        advantages, words = item.advantages, RECORDED
        if advantages is None:
            credit, words = _credit([known[index] for index in group], [weighed[index] for index in group], algorithm)
            advantages = credit and credit[group.index(row)][: len(item.rollout.response_ids)]
        relevance = tuple(map(tuple, weighed[row].p.tolist()))
        weighed_by = RECORDED if item.relevance is not None else f"computed by {type(source).__name__}"
        found.append(Explained(row + 1, replace(item, relevance=relevance, advantages=advantages), weighed_by, words))
    return found


def _group(item: JudgedRollout) -> object:
    """Equal for the responses that are compared: group ids begin anew in each window."""
    return item.sample.id, item.rollout.group_id, item.rollout.policy_version


def _weigh(judged: Sequence[JudgedRollout], source: RelevanceSource) -> Iterator[Relevance]:
    """Recorded relevance, or that of the source, which is 0 for criteria that are not decided."""
    unknown = [item for item in judged if item.relevance is None]
    new = iter(source.weigh(unknown) if unknown else ())  # nothing is loaded for nothing
    for item in judged:
        if item.relevance is not None:
            yield Relevance(torch.tensor(item.relevance).reshape(len(item.verdicts), -1))
        else:
            decided = torch.tensor([verdict.met is not None for verdict in item.verdicts])
            found = next(new)
            yield replace(found, p=found.p * decided[:, None])


def _credit(
    group: Sequence[JudgedRollout], weighed: Sequence[Relevance], algorithm: Algorithm
) -> tuple[tuple[tuple[float, ...], ...] | None, str]:
    """``[batch token]`` of a group, and how it was made; ``None`` if nothing can be known."""
    name, size = type(algorithm).__name__, len(group)
    if size < algorithm.smallest_group and not algorithm.token_credit:
        return None, f"unknown: {name} compares responses to a prompt, and here is one"
    experience = collate(group, weighed)
    advantages = checked_credit(algorithm(experience), experience, name).advantages
    words = f"computed by {name} from the {size} responses to this prompt that are here"
    if size < algorithm.smallest_group:
        words = f"token level of {name} alone: its response level compares responses to a prompt, and here is one"
    elif size == 1:
        words = f"computed by {name}"
    return tuple(map(tuple, advantages.tolist())), words


# -- tokens of plain texts -------------------------------------------------------------------------------------------


def with_tokens(item: JudgedRollout, split: Split) -> JudgedRollout:
    """The response as it is if its tokens are known, else with those that ``split`` makes of its answer, and with words
    outside the answer. Their ids are 0.
    """
    rollout = item.rollout
    if rollout.response_ids or not rollout.text:
        return item
    return replace(item, rollout=_tokenised(rollout, split))


def _tokenised(rollout: Rollout, split: Split) -> Rollout:
    first, last = rollout.answer_span
    parts = ((0, first, words), (first, last, split), (last, len(rollout.text), words))
    cut = ((start, each) for start, end, tokens in parts for each in tokens(rollout.text[start:end]))
    offsets = tuple((start + a, start + b) for start, (a, b) in cut)
    return replace(rollout, response_ids=(0,) * len(offsets), offsets=offsets)


def words(text: str) -> list[Span]:
    """Words and marks, each with the white space before it: tokens of a text for people.

    A word is a run of letters with their accents, digits and "_"; each character of a script without spaces is one.
    White space at the end is no token. Example: "Tea, 茶茶" -> (0, 3), (3, 4), (4, 6), (6, 7).
    """
    found, start, place = list[Span](), 0, 0
    for kind, characters in groupby(text, _kind):
        length = len([*characters])
        if kind == "word":
            found.append((start, place + length))
        elif kind == "mark":
            found += [(start if n == place else n, n + 1) for n in range(place, place + length)]
        place += length
        start = place if kind != "space" else start
    return found


def _kind(character: str) -> str:
    if character.isspace():
        return "space"
    of_word = character == "_" or category(character)[0] in "LMN"
    return "word" if of_word and east_asian_width(character) not in "WF" else "mark"
