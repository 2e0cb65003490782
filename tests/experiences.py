"""Random experiences for properties and slow loops, and what these read of one."""

from dataclasses import fields, replace

import torch
from hypothesis import strategies as st
from torch import Tensor

from rtt_lightning.types import Experience


@st.composite
def experiences(draw: st.DrawFn, graded: bool = True) -> Experience:
    """Ragged rubrics and responses, unscorable verdicts, unwanted criteria, groups in any order; in double.

    Relevance and, where ``graded``, values lie on a coarse grid, so that equal ones occur. A response may have no
    criterion, no answer and no verdict, and there may be no response.
    """
    batch, rubric, token = draw(st.integers(0, 7)), draw(st.integers(1, 4)), draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))

    def below(highest: int, *shape: int) -> Tensor:
        return torch.randint(0, highest, shape, generator=generator)

    exists = torch.arange(rubric) < below(rubric + 1, batch, 1)
    weights = torch.tensor([-2.0, -0.5, 0.5, 1.0, 3.0], dtype=torch.double)[below(5, batch, rubric)] * exists
    met = below(2, batch, rubric) > 0
    value = below(5, batch, rubric).double() / 4 if graded else met.double()
    response = torch.arange(token) < below(token + 1, batch, 1)
    return Experience.by_hand(
        met & exists,
        relevance=below(5, batch, rubric, token).double() / 4,
        weights=weights,
        scorable=exists & (below(4, batch, rubric) > 0),
        group_ids=below(3, batch) * 7,
        answer_mask=response & (below(4, batch, token) > 0),
        response_mask=response,
        value=value * exists,
        hard=below(2, batch, rubric) > 0,
        truncated=below(3, batch) == 0,
    )


def widened(experience: Experience, criteria: int, tokens: int) -> Experience:
    """The same, padded by so many criteria and tokens."""
    pad = torch.nn.functional.pad
    names = [f.name for f in fields(experience) if getattr(experience, f.name) is not None]
    by_criterion = {name: pad(getattr(experience, name), (0, criteria)) for name in names if name in PER_CRITERION}
    by_token = {name: pad(getattr(experience, name), (0, tokens)) for name in names if name in PER_TOKEN}
    relevance = pad(experience.relevance, (0, tokens, 0, criteria))
    return replace(experience, **by_criterion, **by_token, relevance=relevance)


PER_CRITERION = {"weights", "met", "scorable", "value", "confidence", "hard"}
PER_TOKEN = {"answer_mask", "response_mask", "response_ids", "sampler_logprobs", "contrast"}
