from collections.abc import Callable, Sequence

import pytest

from rtt_lightning.types import Criterion, JudgedRollout, Rollout, RubricSample, Span, Verdict

Judge = Callable[..., JudgedRollout]


@pytest.fixture
def judge() -> Judge:
    """Makes a judged response of a text, one token per character unless offsets are given, and its verdicts.

    ``words`` follow every text of the dataset.
    """

    def make(
        prompt: str,
        text: str,
        met: Sequence[bool | None],
        weights: Sequence[float] = (),
        offsets: Sequence[Span] = (),
        finish_reason: str = "stop",
        sample_index: int = 0,
        words: str = "",
    ) -> JudgedRollout:
        offsets = tuple(offsets or ((i, i + 1) for i in range(len(text))))
        weights = weights or [1.0] * len(met)
        criteria = tuple(
            Criterion(f"criterion {k}{words}", f"rtt:kind{k}{words}", weight=w) for k, w in enumerate(weights)
        )
        sample = RubricSample(prompt, ({"role": "user", "content": f"task of {prompt}{words}"},), criteria)
        rollout = Rollout(
            prompt_id=prompt,
            group_id=0,
            sample_index=sample_index,
            prompt_ids=(1,),
            response_ids=tuple(range(len(offsets))),
            text=text,
            offsets=offsets,
            answer_span=(0, len(text)),
            finish_reason="length" if finish_reason == "length" else "stop",
            policy_version=0,
            temperature=1.0,
        )
        return JudgedRollout(sample, rollout, tuple(Verdict(value, "") for value in met))

    return make
