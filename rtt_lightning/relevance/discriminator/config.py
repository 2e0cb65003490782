"""What defines a discriminator besides its weights. Input template, length limit and body are kept together, so that
training and use cannot differ.
"""

from dataclasses import dataclass
from typing import Any

from rtt_lightning.lm.loading import Lora
from rtt_lightning.types.errors import UserError

TEMPLATE = "Identify which tokens in the response are relevant to the criteria.\n\nCriteria: {criterion}\n\nResponse: "
LEAST_ROOM = 8
"""A criterion leaves at least one in so many tokens of the longest input for the response, or is not read."""


@dataclass(frozen=True)
class RelevanceConfig:
    """What defines a discriminator besides its weights; saved in its checkpoint.

    Attributes:
        model: Folder or hub name of the body.
        lora: Adapters over a frozen bf16 body; ``None`` trains all weights in fp32.
        layers: Number of first layers to keep; ``None`` for all.
        template: Text before the response; ``{criterion}`` is replaced by the criterion.
        max_length: Longest input in tokens, at most the positions that the body has; a longer response is read in
            windows that overlap. A criterion that leaves less than an eighth of it is not read.
        one_pass: Whether all criteria of a response are read at once, see `OnePassModel`, or each with it alone.
        capitals: Whether an uncased body with token types tells capitals by them, if all its weights train.
    """

    model: str
    lora: Lora | None = None
    layers: int | None = None
    template: str = TEMPLATE
    max_length: int = 4096
    one_pass: bool = False
    capitals: bool = True

    def __post_init__(self) -> None:
        if self.template.count("{criterion}") != 1:
            raise UserError(f"the template must hold {{criterion}} exactly once, got {self.template!r}")
        if self.layers is not None and self.layers < 1:
            raise UserError(f"layers must be at least 1, got {self.layers}; null keeps all")
        if self.max_length < 1:
            raise UserError(f"max_length must be at least 1, got {self.max_length}")

    def before(self, criterion: str) -> str:
        """The text before a response. Template marks in the criterion are not expanded."""
        before, _, after = self.template.partition("{criterion}")
        return before + criterion + after

    def longest(self, body: Any, first: int) -> int:
        """The longest input in tokens of a body with this configuration, whose first position has this number."""
        positions = getattr(body.get_text_config(), "max_position_embeddings", None)
        return min(self.max_length, positions - first) if positions else self.max_length

    def leaves_room(self, prefix: int, longest: int) -> bool:
        """Whether so many tokens before a response leave enough of the longest input for it."""
        return prefix <= longest - max(1, longest // LEAST_ROOM)
