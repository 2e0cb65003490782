"""A vLLM plugin, found by its entry point: on a CPU, gives new weights to an output head tied to the embedding.

vLLM 0.32 multiplies with packed copies of the weights there, and packs a layer again when its weights are loaded. A
tied head has no weights of its own, and would keep the copy of the first ones.
"""

import importlib
from typing import Any


def register() -> None:
    """Make tied heads multiply with the embedding's copy. vLLM calls this in each of its processes."""
    if not importlib.import_module("vllm.platforms").current_platform.is_cpu():
        return
    embeddings: Any = importlib.import_module("vllm.model_executor.layers.vocab_parallel_embedding")
    unquantized: Any = embeddings.UnquantizedEmbeddingMethod

    class TiedHead(unquantized):
        def __init__(self, embedding: Any) -> None:
            self.embedding = embedding

        def process_weights_after_loading(self, layer: Any) -> None:
            """There is nothing to pack: the embedding has its copy."""

        def apply(self, layer: Any, x: Any, bias: Any = None) -> Any:
            return self.embedding.quant_method.apply(self.embedding, x, bias)

    def tie_weights(self: Any, layer: Any, embed_tokens: Any) -> Any:
        layer.weight = embed_tokens.weight
        layer.quant_method = TiedHead(embed_tokens)
        return layer

    unquantized.tie_weights = tie_weights
