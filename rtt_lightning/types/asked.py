"""What a prompt asks for apart from its task: the same prompt without one criterion, or without all of them."""

from dataclasses import replace

from rtt_lightning.types.conversations import Message
from rtt_lightning.types.rubric import RubricSample

MARK = "/without/"
"""Stands in the id of a prompt without a criterion, before the number of that criterion, from 1."""


def asked_for(sample: RubricSample) -> list[int]:
    """The criteria that the prompt asks for, by index: those whose text stands in it, or all if none does."""
    last = sample.messages[-1]["content"]
    places = [place for place, criterion in enumerate(sample.criteria) if criterion.text in last]
    return places or [*range(len(sample.criteria))]


def without(sample: RubricSample, place: int) -> RubricSample:
    """A prompt whose text leaves a criterion out, by its index; its rubric keeps it.

    The last turn becomes the task and the other criteria that it asks for, with spaces between.
    """
    asked = [sample.criteria[other].text for other in asked_for(sample) if other != place]
    last = _with_last(sample, " ".join((sample.task or "", *asked)))
    return replace(sample, id=f"{sample.id}{MARK}{place + 1}", messages=last)


def bare(sample: RubricSample) -> tuple[Message, ...]:
    """The conversation with the task alone as its last turn, for a sample that has one."""
    assert sample.task, "whoever asks has checked it"
    return _with_last(sample, sample.task)


def _with_last(sample: RubricSample, content: str) -> tuple[Message, ...]:
    return (*sample.messages[:-1], {**sample.messages[-1], "content": content})
