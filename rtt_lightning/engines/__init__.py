"""Rollout engines. `TransformersEngine` is the default; `VLLMEngine` lives in `rtt_lightning.engines.vllm.engine`."""

from rtt_lightning.engines.base import RolloutEngine, SampleRequest, Sampling
from rtt_lightning.engines.embedded.engine import TransformersEngine
from rtt_lightning.engines.replay import ReplayEngine

__all__ = ["ReplayEngine", "RolloutEngine", "SampleRequest", "Sampling", "TransformersEngine"]
