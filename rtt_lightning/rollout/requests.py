"""Requests to an engine: a rendered prompt with a seed for each response; and checks of prompts."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from rtt_lightning.engines.base import SampleRequest
from rtt_lightning.runtime.seeds import sampling_seed
from rtt_lightning.runtime.terminal import listed
from rtt_lightning.types import Marks, Message, RubricSample
from rtt_lightning.types.errors import UserError

CHECKS = ("the data asks for checks that the verifier cannot make", "criteria")


def refuse(
    samples: Iterable[RubricSample], problems: Callable[[RubricSample], Sequence[str]], what: str, of: str
) -> None:
    """Raise for samples with problems; the error names each once, commonest first, with how many ``of`` have it.

    Raises:
        UserError: If there are any.
    """
    found: dict[str, list[str]] = {}
    for sample in samples:
        for problem in problems(sample):
            found.setdefault(problem, []).append(sample.id)
    if found:
        commonest = sorted(found.items(), key=lambda item: -len(item[1]))
        lines = [f"{problem} ({len(ids)} {of}, first in prompt {ids[0]!r})" for problem, ids in commonest]
        raise UserError(f"{what}\n{listed(lines)}")


def refuse_repeated(samples: Iterable[RubricSample]) -> None:
    """Raise for prompts with the same id: they would share their seeds.

    Raises:
        UserError: If there are any.
    """
    [(name, times)] = Counter(sample.id for sample in samples).most_common(1) or [("", 0)]
    if times > 1:
        raise UserError(f"field `id` is {name!r} in {times} prompts; each prompt needs its own")


def make_requests(
    samples: Sequence[RubricSample],
    render: Callable[[Sequence[Message]], tuple[int, ...]],
    reasoning: tuple[Marks, ...] | None,
    draws: tuple[int, int, int],
) -> list[SampleRequest]:
    """One request per prompt; its index is the group id of its responses.

    Args:
        samples: Prompts.
        render: Conversation to token ids, the policy's.
        reasoning: Marks of reasoning, see `SampleRequest`.
        draws: Seed of the run, number of the window, and responses per prompt, which determine the seeds.
    """
    seed, window, count = draws
    return [
        SampleRequest(
            prompt_id=sample.id,
            group_id=group,
            prompt_ids=render(sample.messages),
            seeds=tuple(sampling_seed(seed, window, sample.id, index) for index in range(count)),
            reasoning=reasoning,
        )
        for group, sample in enumerate(samples)
    ]
