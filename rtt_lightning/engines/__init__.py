"""Rollout engines: the policy's own weights, vLLM in this process or on servers, and recorded responses."""

from typing import TYPE_CHECKING

from rtt_lightning.names import lazily

if TYPE_CHECKING:
    from rtt_lightning.engines.base import RolloutEngine, SampleRequest, Sampling
    from rtt_lightning.engines.embedded.engine import TransformersEngine
    from rtt_lightning.engines.replay import ReplayEngine
    from rtt_lightning.engines.vllm.engine import VLLMEngine
    from rtt_lightning.engines.vllm.handover import FolderHandover, Handover
    from rtt_lightning.engines.vllm.nccl_handover import NCCLHandover
    from rtt_lightning.engines.vllm.server import VLLMServerEngine

__all__ = [
    "FolderHandover",
    "Handover",
    "NCCLHandover",
    "ReplayEngine",
    "RolloutEngine",
    "SampleRequest",
    "Sampling",
    "TransformersEngine",
    "VLLMEngine",
    "VLLMServerEngine",
]

__getattr__, __dir__ = lazily(__name__)
