"""What an engine is asked for: a rendered prompt, and a seed for each response to it; and prompts that it is not."""

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
    """Refuse samples with problems, each named once with how many ``of`` them have it, the commonest first.

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
    """Refuse prompts with the same id: their responses would be the same ones.

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
    """One request per prompt, whose place is the group id of its responses.

    Args:
        samples: Prompts.
        render: Conversation to token ids, the policy's.
        reasoning: Marks of reasoning, see `SampleRequest`.
        draws: Seed of the run, number of the window, and responses per prompt: what the responses' seeds depend on.
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
