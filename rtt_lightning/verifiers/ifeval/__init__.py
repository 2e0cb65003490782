"""The checkers of IFEval and IFBench: see `rtt_lightning.verifiers.ifeval.checkers`."""

from rtt_lightning.verifiers.ifeval.checkers import Official, describe, ifeval_checkers, instruction_classes

__all__ = ["Official", "describe", "ifeval_checkers", "instruction_classes"]
