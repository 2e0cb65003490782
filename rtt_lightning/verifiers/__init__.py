"""Verifiers decide which criteria a response meets: by rule, by a judge, by code, or each by one of these."""

from typing import TYPE_CHECKING

from rtt_lightning.names import lazily

if TYPE_CHECKING:
    from rtt_lightning.verifiers.base import Verifier
    from rtt_lightning.verifiers.code import CodeVerifier
    from rtt_lightning.verifiers.decisive import DecisiveSpans
    from rtt_lightning.verifiers.judge.budget import Budget
    from rtt_lightning.verifiers.judge.limits import Limits
    from rtt_lightning.verifiers.judge.verifier import LLMJudge
    from rtt_lightning.verifiers.router import Router
    from rtt_lightning.verifiers.rules import RuleVerifier

__all__ = ["Budget", "CodeVerifier", "DecisiveSpans", "LLMJudge", "Limits", "Router", "RuleVerifier", "Verifier"]

__getattr__, __dir__ = lazily(__name__)
