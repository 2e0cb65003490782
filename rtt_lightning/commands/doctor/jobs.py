"""What a device is asked to do, in numbers: the shape of a model, and the job that it is part of."""

from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig

from rtt_lightning.lm.forward import LONGEST_SHARED
from rtt_lightning.lm.loading import Lora

FAMILIES = ("llama", "qwen2", "qwen3")


class UnknownShape(ValueError):
    """A model that may well train, and whose memory is not estimated."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder of the Llama family; ``head_norms``: queries and keys are normalised per head, as in Qwen3."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    head_size: int
    tied: bool
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    head_norms: bool = False

    @property
    def query(self) -> int:
        return self.heads * self.head_size

    @property
    def key(self) -> int:
        return self.key_value_heads * self.head_size

    @property
    def linears(self) -> list[tuple[int, int]]:
        """Inputs and outputs of the linear layers in one decoder layer: q, k, v, o, gate, up, down."""
        hidden, inner = self.hidden, self.intermediate
        attention = [(hidden, self.query), (hidden, self.key), (hidden, self.key), (self.query, hidden)]
        return [*attention, (hidden, inner), (hidden, inner), (inner, hidden)]

    @property
    def linear_weights(self) -> int:
        """Weights of all linear layers of the body, without biases."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linears)

    @property
    def layer_parameters(self) -> int:
        biases = self.qkv_bias * (self.query + 2 * self.key) + self.output_bias * self.hidden
        biases += self.mlp_bias * (2 * self.intermediate + self.hidden)
        norms = 2 * self.hidden + 2 * self.head_norms * self.head_size
        return self.linear_weights // self.layers + biases + norms

    def parameters(self, classifier: bool = False) -> int:
        """Of the language model; or of a token classifier with one label on its body."""
        head = self.hidden + 1 if classifier else (not self.tied) * self.vocabulary * self.hidden
        return self.vocabulary * self.hidden + self.layers * self.layer_parameters + self.hidden + head

    def adapters(self, rank: int) -> int:
        """Parameters of LoRA on all linear layers of the body."""
        return self.layers * rank * sum(inputs + outputs for inputs, outputs in self.linears)


def shape_of(config: PreTrainedConfig) -> Shape:
    """The shape that a Hugging Face configuration describes.

    Raises:
        UnknownShape: For a family whose layers are built in another way.
    """
    c: Any = config
    if c.model_type not in FAMILIES:
        raise UnknownShape(f"memory is estimated for {', '.join(FAMILIES)} models only, got {c.model_type!r}")
    qwen2 = c.model_type == "qwen2"
    return Shape(
        vocabulary=c.vocab_size,
        hidden=c.hidden_size,
        intermediate=c.intermediate_size,
        layers=c.num_hidden_layers,
        heads=c.num_attention_heads,
        key_value_heads=c.num_key_value_heads,
        head_size=getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads,  # as `transformers` reads it
        tied=c.tie_word_embeddings,
        qkv_bias=qwen2 or c.attention_bias,
        output_bias=not qwen2 and c.attention_bias,
        mlp_bias=c.model_type == "llama" and c.mlp_bias,
        head_norms=c.model_type == "qwen3",
    )


@dataclass(frozen=True)
class Job:
    """What a device is asked to do.

    Attributes:
        shape: Of the model that trains.
        lora: Its adapters; ``None`` trains all weights in fp32.
        classifier: The model is a discriminator; else a policy.
        bf16: The trainer computes in bf16-mixed; else in fp32.
        shards: Processes that share one model by FSDP2; 1 for a whole copy.
        replicas: Whole copies of the model in other processes too (DDP).
        checkpointing: Activations are recomputed layer by layer.
        groups: Prompts in a micro-batch; for a discriminator, pairs.
        group_size: Responses per prompt.
        prompt: Longest prompt in tokens.
        response: Longest response in tokens.
        gpu: The device is not the CPU.
        state_bytes: Optimiser state per trained weight.
        step_bytes: What the optimiser needs beside it during a step, per trained weight.
        reference: A frozen copy of the start is kept for the KL; with adapters none is.
        sampled: Responses that the embedded engine samples at a time; 0 where the device does not sample.
        sampled_tokens: Longest of them in tokens, in training or validation.
        merge: That engine adds the adapters into a copy of the weights.
        engine_bytes: What another engine holds on this device.
        scorer: The discriminator that weighs responses, as (shape, adapters).
        scored: (criterion, response) pairs that it reads at a time.
        scored_tokens: Longest of these pairs in tokens.
    """

    shape: Shape
    lora: Lora | None = None
    classifier: bool = False
    bf16: bool = False
    shards: int = 1
    replicas: bool = False
    checkpointing: bool = False
    groups: int = 1
    group_size: int = 1
    prompt: int = 0
    response: int = 1
    gpu: bool = False
    state_bytes: float = 8.0
    step_bytes: float = 0.0
    reference: bool = False
    sampled: int = 0
    sampled_tokens: int = 1
    merge: bool = True
    engine_bytes: int = 0
    scorer: tuple[Shape, Lora | None] | None = None
    scored: int = 0
    scored_tokens: int = 1

    @property
    def compute(self) -> int:
        """Bytes of a number that a matrix product gives."""
        return 2 if self.bf16 else 4

    @property
    def residual(self) -> int:
        """Bytes of a number of the residual stream: in the dtype that the embedding is read in."""
        return self.compute if self.lora or self.shards > 1 else 4

    @property
    def casts(self) -> bool:
        """Whether autocast casts fp32 weights and what they multiply; a sharded model is gathered in bf16 instead."""
        return self.bf16 and self.shards == 1

    @property
    def trained(self) -> int:
        """Weights that train, whole."""
        if self.lora is None:
            return self.shape.parameters(self.classifier)
        return self.shape.adapters(self.lora.rank) + self.classifier * (self.shape.hidden + 1)

    @property
    def sequences(self) -> tuple[int, int]:
        """Number and width of the sequences of a micro-batch, see `rtt_lightning.lm.forward`."""
        shared = self.prompt + self.group_size * self.response
        if self.group_size > 1 and shared <= LONGEST_SHARED:
            return self.groups, shared
        return self.groups * self.group_size, self.prompt + self.response

    @property
    def masked(self) -> bool:
        """Whether attention takes a mask, which also means that keys and values are repeated for all heads."""
        return self.groups * self.group_size > 1
