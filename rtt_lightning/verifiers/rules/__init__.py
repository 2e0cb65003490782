"""Verdicts by rule: see `rtt_lightning.verifiers.rules.verifier.RuleVerifier`.

A family of rules is a file. A rule is one function there, with the sentences by which the built-in sampler asks for it,
and the patterns by which it is read from a sentence, if any.
"""

from rtt_lightning.verifiers.rules.known import RULES, parse_description
from rtt_lightning.verifiers.rules.verifier import RuleVerifier

__all__ = ["RULES", "RuleVerifier", "parse_description"]
