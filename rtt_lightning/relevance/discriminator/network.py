"""The token-level relevance discriminator as a network: reads a criterion and a response, rates every token.

RTT, Eq. 4. Input template, length limit and body are kept together, so that training and use cannot differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForTokenClassification

from rtt_lightning.lm.forward import may_share
from rtt_lightning.lm.kernels import use_own_kernels
from rtt_lightning.lm.layout import Layout, layout_of, packed_row, padded_rows
from rtt_lightning.lm.loading import Lora, add_adapters, load_model
from rtt_lightning.lm.merging import without_adapters
from rtt_lightning.lm.origin import adapted_layers, base_of
from rtt_lightning.lm.selfcheck import a_few_tokens, compute_dtype, ordinary_words, relative_rounding
from rtt_lightning.lm.sequences import on_device, padded
from rtt_lightning.lm.tokenizers import load_tokenizer, without_embedding
from rtt_lightning.relevance.discriminator.report import expected_unsaid
from rtt_lightning.runtime.hub import reading
from rtt_lightning.types import Span
from rtt_lightning.types.batches import TokenBatch
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
        prefix: Tokens before the response; pairs with the same ones may share the computation of them.
        response: ``[token]``, those of the response that are read.
        offsets: The characters that each of these carries.
        cut: Number of response tokens beyond ``max_length``.
    """

    prefix: tuple[int, ...]
    response: Tensor
    offsets: Sequence[Span]
    cut: int


NOTHING = EncodedPair((), torch.zeros(1, dtype=torch.long), ((0, 0),), 0)
"""What the network reads where there is nothing to read."""


def token_batch(pairs: Sequence[EncodedPair]) -> TokenBatch:
    """Pairs as prompts and responses, on the CPU."""
    return TokenBatch(
        prompt_ids=padded([pair.prefix for pair in pairs], torch.long),
        prompt_lengths=torch.tensor([len(pair.prefix) for pair in pairs]),
        response_ids=padded([pair.response for pair in pairs], torch.long),
        response_mask=padded([torch.ones_like(pair.response) for pair in pairs], torch.bool),
    )


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
        kind = AutoModelForTokenClassification, config.model, config.lora, base_dtype
        with expected_unsaid(config.layers):
            body = load_model(*kind, num_labels=1, **extra)
        # Dropout would make the relevance of a response depend on chance.
        for module in body.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        body.config.use_cache = False
        use_own_kernels(body)
        self.network = body if config.lora is None else add_adapters(body, config.lora, "TOKEN_CLS")
        self._shares: bool | None = None

    def base(self) -> dict[str, Any]:
        """The model that its weights continue, as saved in a checkpoint."""
        return {**base_of(self.config.model, self.tokenizer), "targets": adapted_layers(self.network)}

    def encode(self, criteria: Sequence[str], responses: Sequence[str]) -> list[EncodedPair]:
        """Pairs in tokens; each text is tokenised once. Criterion and response are data: template marks in them are not
        expanded.

        Raises:
            UserError: For a token beyond the embedding of the body.
        """
        if not criteria:
            return []
        longest, before, texts = self.config.max_length, dict.fromkeys(criteria), dict.fromkeys(responses)
        prefixes = dict(zip(before, map(tuple, self.config.prefixes(self.tokenizer, [*before])), strict=True))
        encoded = self.tokenizer([*texts], add_special_tokens=False, return_offsets_mapping=True)
        ids = (torch.tensor(tokens, dtype=torch.long) for tokens in encoded["input_ids"])
        tokens = dict(zip(texts, zip(ids, encoded["offset_mapping"], strict=True), strict=True))
        pairs = []
        for criterion, text in zip(criteria, responses, strict=True):
            prefix, (response, spans) = prefixes[criterion], tokens[text]
            room = max(0, longest - len(prefix))
            cut = max(0, len(spans) - room)
            pairs.append(EncodedPair(prefix[:longest], response[:room], spans[:room], cut))
        read = (ids for pair in pairs for ids in (torch.tensor(pair.prefix), pair.response) if len(ids))
        highest = max((int(ids.max()) for ids in read), default=0)
        if highest >= (rows := self.network.get_input_embeddings().weight.shape[0]):
            reason = without_embedding(self.tokenizer, highest, rows)
            raise UserError(f"the discriminator cannot read a token: {reason}")
        return pairs

    def forward(self, pairs: Sequence[EncodedPair]) -> tuple[Tensor, Tensor]:
        """Logits of the response tokens, fp32, 0 elsewhere, and their mask: both ``[batch token]``.

        Without anything to read the network still runs, so that every process takes part in its collectives.
        """
        read = pairs if any(len(pair.response) for pair in pairs) else [*pairs, NOTHING]
        batch = on_device(token_batch(read), self.network.device)
        layout = layout_of(batch, self.shares())
        return self.logits(layout, batch)[: len(pairs)], batch["response_mask"][: len(pairs)]

    def logits(self, layout: Layout, batch: TokenBatch) -> Tensor:
        """``[batch token]``, see `forward`. Control flow here depends only on shapes."""
        logits = self.network(input_ids=layout.ids, **layout.reading).logits[..., 0].float()
        zeros = torch.zeros(batch["response_ids"].shape, device=logits.device)
        return zeros.index_put(layout.cells, logits[layout.places])

    def shares(self) -> bool:
        """Whether pairs are read in one row, those of a criterion after one prefix: a body that reads to the right only
        gives the same logits as for each alone. Found out the first time.
        """
        if self._shares is None:
            self._shares = may_share(without_adapters(self.network)) and self._shares_exactly()
        return self._shares

    @torch.no_grad()
    def _shares_exactly(self) -> bool:
        """Whether two responses have the logits of rows of their own, but for rounding."""
        batch = a_few_tokens(ordinary_words(self.tokenizer, self.network), self.network.device)
        alone, mask = self.logits(padded_rows(batch), batch), batch["response_mask"]
        gap = (self.logits(packed_row(batch), batch) - alone).abs()
        body = without_adapters(self.network)
        rounding = relative_rounding(body, compute_dtype(body)) * alone[mask].square().mean().sqrt()
        return all(bool(row[read].median() <= rounding) for row, read in zip(gap, mask, strict=True))


def _first_layers(model: str, layers: int) -> dict[str, Any]:
    """Changes to a model's configuration to keep its first ``layers`` layers."""
    with reading("the shape of a model", model, "config.json"):
        kinds = getattr(AutoConfig.from_pretrained(model), "layer_types", None)
    return {"num_hidden_layers": layers} | ({"layer_types": kinds[:layers]} if kinds else {})
