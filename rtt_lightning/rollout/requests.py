"""What an engine is asked for: a rendered prompt, and a seed for each response to it."""

from collections.abc import Callable, Sequence

from rtt_lightning.engines.base import SampleRequest
from rtt_lightning.runtime.seeds import sampling_seed
from rtt_lightning.types import Marks, Message, RubricSample


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
