"""The token-level relevance discriminator as a network: reads criteria and a response, rates every token.

RTT, Eq. 4.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForTokenClassification

from rtt_lightning.lm.kernels import use_own_kernels
from rtt_lightning.lm.loading import add_adapters, load_model
from rtt_lightning.lm.origin import adapted_layers, base_of
from rtt_lightning.lm.sequences import padded
from rtt_lightning.lm.tokenizers import load_tokenizer, without_embedding
from rtt_lightning.relevance.discriminator.capitals import FIRST_TYPE, add_types, loses_capitals, with_capitals
from rtt_lightning.relevance.discriminator.config import RelevanceConfig
from rtt_lightning.relevance.discriminator.readings import NOTHING, Piece, Reading, Texts, pieces
from rtt_lightning.relevance.discriminator.report import expected_unsaid
from rtt_lightning.relevance.discriminator.rows import Body
from rtt_lightning.runtime.hub import reading
from rtt_lightning.types import Span
from rtt_lightning.types.errors import UserError


class RelevanceModel(nn.Module, ABC):
    """A language model body with a token classifier; a logit for each criterion and response token. The body is a
    decoder, as in the paper, or an encoder, which sees what comes after a token as well.

    Args:
        config: What to build.
        base_dtype: Of the weights frozen under adapters; bf16 must run under autocast.
    """

    labels: int
    """Outputs of the classifier for each token."""

    def __init__(self, config: RelevanceConfig, base_dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = load_tokenizer(config.model)
        extra = {} if config.layers is None else _first_layers(config.model, config.layers)
        kind = AutoModelForTokenClassification, config.model, config.lora, base_dtype
        with expected_unsaid(config.layers):
            body = load_model(*kind, num_labels=self.labels, **extra)
        # Dropout would make the relevance of a response depend on chance.
        for module in body.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        body.config.use_cache = False
        loses = loses_capitals(self.tokenizer)
        if loses and config.capitals and config.lora is None:
            add_types(body)
        use_own_kernels(body)
        self.network = body if config.lora is None else add_adapters(body, config.lora, "TOKEN_CLS")
        self._reads = _reads(body)
        self.longest = config.longest(body.config, self._reads[1])
        self.first_type: int | None = getattr(body.config, FIRST_TYPE, None)
        """Token type of words with some capitals; ``None`` if a tokenizer keeps them, or they are lost."""
        if loses and self.first_type is None:
            rank_zero_warn(
                f"{config.model} is uncased: capitals and small letters are the same to this discriminator, so it "
                "cannot tell where criteria about them are met. Take a cased body, or one with token types, "
                "with all weights trained (lora null) and capitals true"
            )

    def base(self) -> dict[str, Any]:
        """The model that its weights continue, as saved in a checkpoint."""
        return {**base_of(self.config.model, self.tokenizer), "targets": adapted_layers(self.network)}

    # -- texts to readings -------------------------------------------------------------------------------------------

    @abstractmethod
    def together(self, criteria: Sequence[str], response: str) -> list[Texts]:
        """How the criteria of a response are read: all at once, or each for itself; in order."""

    def encode(self, texts: Sequence[Texts]) -> list[Reading]:
        """What is read at once, in tokens; each text is tokenised once.

        Raises:
            UserError: For a token beyond the embedding of the body.
        """
        prefixes = self._tokens(dict.fromkeys(chain.from_iterable(criteria for criteria, _ in texts)), before=True)
        prefixes = {
            criterion: (ids if self.config.leaves_room(len(ids), self.longest) else (), offsets)
            for criterion, (ids, offsets) in prefixes.items()
        }
        responses = {
            response: (torch.tensor(ids, dtype=torch.long), offsets)
            for response, (ids, offsets) in self._tokens(dict.fromkeys(text for _, text in texts), before=False).items()
        }
        return [Reading(tuple(prefixes[one][0] for one in criteria), *responses[text]) for criteria, text in texts]

    def _tokens(self, texts: dict[str, None], before: bool) -> dict[str, tuple[tuple[int, ...], list[Span]]]:
        """Ids, with their capitals if they lose them, and the characters of each; of criteria the text ``before`` a
        response, with special tokens.
        """
        if not texts:
            return {}
        whole = [self.config.before(text) if before else text for text in texts]
        encoded = self.tokenizer(
            whole,
            add_special_tokens=before,
            return_offsets_mapping=True,
            verbose=False,  # of long ones, which are read in windows
        )
        rows, found = self._rows, dict[str, tuple[tuple[int, ...], list[Span]]]()
        for text, said, ids, offsets in zip(texts, whole, encoded["input_ids"], encoded["offset_mapping"], strict=True):
            if (highest := max(ids, default=0)) >= rows:
                reason = without_embedding(self.tokenizer, highest, rows)
                raise UserError(f"the discriminator cannot read a token: {reason}")
            ids = ids if self.first_type is None else with_capitals(ids, offsets, said, rows)
            found[text] = tuple(ids), offsets
        return found

    @property
    def _rows(self) -> int:
        """Of the embedding."""
        return self.network.get_input_embeddings().weight.shape[0]

    # -- readings to logits ------------------------------------------------------------------------------------------

    def forward(self, readings: Sequence[Reading]) -> tuple[Tensor, Tensor]:
        """Logits of the response tokens, a row for each criterion of each reading in order, fp32, 0 elsewhere, and
        their mask: both ``[criterion token]``. What no window holds is read in several.

        Without anything to read the network still runs, so that every process takes part in its collectives.
        """
        parts = [*pieces(readings, self.longest)]
        logits = self.read([part.reading for part in parts] or [NOTHING])
        lengths = [len(reading.response) * is_read for reading in readings for is_read in reading.read]
        mask = padded([torch.ones(length) for length in lengths], torch.bool).to(logits.device)
        first = [*accumulate((len(reading.prefixes) for reading in readings), initial=0)][:-1]
        if [part.row for part in parts] != first:  # some are not read, or in windows
            logits = _put_together(logits, parts, mask.shape)
        return logits[: len(mask)].where(mask, 0.0), mask

    def read(self, readings: Sequence[Reading]) -> Tensor:
        """``[criterion token]`` logits of readings that fit into the longest input, see `forward`."""
        return self.rated(self.row(readings, self.body.device, self.packs()))

    @abstractmethod
    def row(self, readings: Sequence[Reading], device: torch.device, packed: bool) -> Any:
        """All that depends on the numbers in readings: dataclasses of what the body reads, and where."""

    @abstractmethod
    def rated(self, row: Any) -> Tensor:
        """``[criterion token]`` logits. Control flow here depends only on shapes."""

    @abstractmethod
    def packs(self) -> bool:
        """Whether readings are packed in a row, without padding. Found out the first time."""

    @abstractmethod
    def shares(self) -> bool:
        """Whether readings with the same criteria share the computation of these."""

    def outputs(self, ids: Tensor, told: dict[str, Any]) -> Tensor:
        """``[row position label]`` outputs of the network. Control flow here depends only on shapes.

        Args:
            ids: ``[row position]``, with the capitals that they carry.
            told: Beside them.
        """
        if self.first_type is not None:
            kind = ids // self._rows
            told = told | {"token_type_ids": (kind + self.first_type - 1) * (kind > 0)}
            ids = ids % self._rows
        return self.network(input_ids=ids, **told).logits

    @property
    def body(self) -> Body:
        """How the body reads."""
        return Body(*self._reads, self.network.device)


def _reads(body: nn.Module) -> tuple[bool, int]:
    """Whether it reads to the right only, and the number of its first position."""
    modules = [*body.modules()]
    padding = (getattr(getattr(m, "position_embeddings", None), "padding_idx", None) for m in modules)
    first = next((index + 1 for index in padding if index is not None), 0)
    return any(getattr(module, "is_causal", False) for module in modules), first


def _put_together(logits: Tensor, parts: Sequence[Piece], shape: torch.Size) -> Tensor:
    """``[criterion token]`` of readings from those of their windows."""
    whole, at = logits.new_zeros(shape) + logits[:0].sum(), 0  # the sum of nothing keeps the graph
    for part, row, window in parts:
        rows = logits[at : at + len(part.prefixes), window.first - window.start : window.last - window.start]
        whole[row : row + len(rows), window.first : window.last] = rows
        at += len(rows)
    return whole


def _first_layers(model: str, layers: int) -> dict[str, Any]:
    """Changes to a model's configuration to keep its first ``layers`` layers."""
    with reading("the shape of a model", model, "config.json"):
        kinds = getattr(AutoConfig.from_pretrained(model), "layer_types", None)
    return {"num_hidden_layers": layers} | ({"layer_types": kinds[:layers]} if kinds else {})
