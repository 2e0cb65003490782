"""A language model as a judge: see `rtt_lightning.verifiers.judge.verifier.LLMJudge`."""

from rtt_lightning.verifiers.judge.budget import Budget
from rtt_lightning.verifiers.judge.limits import Limits
from rtt_lightning.verifiers.judge.verifier import LLMJudge

__all__ = ["Budget", "LLMJudge", "Limits"]
