"""Rollout engines. `TransformersEngine` is the default; `VLLMEngine` lives in `rtt_lightning.engines.vllm`."""

from rtt_lightning.engines.base import RolloutEngine, SampleRequest, Sampling
from rtt_lightning.engines.replay import ReplayEngine
from rtt_lightning.engines.transformers import TransformersEngine

__all__ = ["ReplayEngine", "RolloutEngine", "SampleRequest", "Sampling", "TransformersEngine"]
