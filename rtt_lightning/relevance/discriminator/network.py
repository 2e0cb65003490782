"""The token-level relevance discriminator as a network: reads a criterion and a response, rates every token.

RTT, Eq. 4. Input template, length limit and body are kept together, so that training and use cannot differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForTokenClassification

from rtt_lightning.lm.loading import Lora, add_adapters, load_model
from rtt_lightning.lm.origin import adapted_layers, base_of
from rtt_lightning.lm.sequences import padded
from rtt_lightning.lm.tokenizers import load_tokenizer, without_embedding
from rtt_lightning.types import Span
from rtt_lightning.types.errors import UserError

TEMPLATE = "Identify which tokens in the response are relevant to the criteria.\n\nCriteria: {criterion}\n\nResponse: "


@dataclass(frozen=True)
class RelevanceConfig:
    """What defines a discriminator besides its weights; saved in its checkpoint.

    Attributes:
        model: Folder or hub name of the body.
        lora: Adapters over a frozen bf16 body; ``None`` trains all weights in fp32.
        layers: Number of first layers to keep; ``None`` for all.
        template: Text before the response; ``{criterion}`` is replaced by the criterion.
        max_length: Longest input in tokens; tokens beyond are not read: they are outside the token group, and counted.
    """

    model: str
    lora: Lora | None = None
    layers: int | None = None
    template: str = TEMPLATE
    max_length: int = 4096

    def __post_init__(self) -> None:
        if self.template.count("{criterion}") != 1:
            raise UserError(f"the template must hold {{criterion}} exactly once, got {self.template!r}")
        if self.layers is not None and self.layers < 1:
            raise UserError(f"layers must be at least 1, got {self.layers}; null keeps all")

    def prefixes(self, tokenizer: Any, criteria: Sequence[str]) -> list[list[int]]:
        """Token ids of the text before a response, for each criterion."""
        before, _, after = self.template.partition("{criterion}")
        return tokenizer([before + criterion + after for criterion in criteria])["input_ids"]


@dataclass(frozen=True)
class EncodedPair:
    """A (criterion, response) pair in tokens, cut to the longest input.

    Attributes:
        ids: The prefix with the criterion, then the response.
        start: Tokens of the whole prefix.
        offsets: The characters that each response token carries.
        cut: Number of response tokens beyond ``max_length``.
    """

    ids: list[int]
    start: int
    offsets: list[Span]
    cut: int


class RelevanceModel(nn.Module):
    """Language model body, linear head; a logit for every response token.

    Args:
        config: What to build.
        base_dtype: Of the weights frozen under adapters; bf16 must run under autocast.
    """

    def __init__(self, config: RelevanceConfig, base_dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = load_tokenizer(config.model)
        extra = {} if config.layers is None else _first_layers(config.model, config.layers)
        body = load_model(AutoModelForTokenClassification, config.model, config.lora, base_dtype, num_labels=1, **extra)
        # Dropout would make the relevance of a response depend on chance.
        for module in body.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        self.network = body if config.lora is None else add_adapters(body, config.lora, "TOKEN_CLS")

    def base(self) -> dict[str, Any]:
        """The model that its weights continue, as saved in a checkpoint."""
        return {**base_of(self.config.model, self.tokenizer), "targets": adapted_layers(self.network)}

    def encode(self, criteria: Sequence[str], responses: Sequence[str]) -> list[EncodedPair]:
        """Pairs in tokens. Criterion and response are data: template marks in them are not expanded.

        Raises:
            UserError: For a token beyond the embedding of the body.
        """
        if not criteria:
            return []
        prefixes, longest = self.config.prefixes(self.tokenizer, criteria), self.config.max_length
        encoded = self.tokenizer(list(responses), add_special_tokens=False, return_offsets_mapping=True)
        pairs = []
        for prefix, ids, spans in zip(prefixes, encoded["input_ids"], encoded["offset_mapping"], strict=True):
            read = spans[: max(0, longest - len(prefix))]
            pairs.append(EncodedPair([*prefix, *ids][:longest], len(prefix), read, len(ids) - len(read)))
        highest = max(token for pair in pairs for token in pair.ids)
        if highest >= (rows := self.network.get_input_embeddings().weight.shape[0]):
            reason = without_embedding(self.tokenizer, highest, rows)
            raise UserError(f"the discriminator cannot read a token: {reason}")
        return pairs

    def forward(self, pairs: Sequence[EncodedPair]) -> tuple[Tensor, Tensor]:
        """Logits of the response tokens, fp32, 0 elsewhere, and their mask: both ``[batch token]``.

        Without pairs the network still runs, so that every process takes part in its collectives.
        """
        read, device = pairs or [EncodedPair([0], 1, [], 0)], self.network.device
        ids = padded([pair.ids for pair in read], torch.long).to(device)
        attention = padded([[1] * len(pair.ids) for pair in read], torch.long).to(device)
        mask = padded([[True] * len(pair.offsets) for pair in read], torch.bool).to(device)
        starts = torch.tensor([pair.start for pair in read], device=device)
        logits = self.network(input_ids=ids, attention_mask=attention).logits[..., 0].float()
        position = (starts[:, None] + torch.arange(mask.shape[1], device=device)).clamp(max=logits.shape[1] - 1)
        return torch.where(mask, logits.gather(1, position), 0.0)[: len(pairs)], mask[: len(pairs)]


def _first_layers(model: str, layers: int) -> dict[str, Any]:
    """Changes to a model's configuration to keep its first ``layers`` layers."""
    kinds = getattr(AutoConfig.from_pretrained(model), "layer_types", None)
    return {"num_hidden_layers": layers} | ({"layer_types": kinds[:layers]} if kinds else {})
