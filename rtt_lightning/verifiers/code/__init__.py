"""Verdicts by code that comes with data: see `rtt_lightning.verifiers.code.verifier.CodeVerifier`."""

from rtt_lightning.verifiers.code.verifier import CodeVerifier, code_problem

__all__ = ["CodeVerifier", "code_problem"]
