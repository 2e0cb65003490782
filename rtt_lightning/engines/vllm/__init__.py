"""vLLM as a rollout engine: in this process, or on servers."""

from rtt_lightning.engines.vllm.engine import VLLMEngine
from rtt_lightning.engines.vllm.server import VLLMServerEngine

__all__ = ["VLLMEngine", "VLLMServerEngine"]
