"""Checks the training forward before it trains: its log-probs against the model's own logits."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from rtt_lightning.lm.forward import may_share, response_logprobs
from rtt_lightning.lm.merging import without_adapters
from rtt_lightning.lm.modes import in_evaluation
from rtt_lightning.lm.sequences import on_device
from rtt_lightning.runtime.processes import gather
from rtt_lightning.runtime.sharding import as_forward_method
from rtt_lightning.types.batches import Sequences
from rtt_lightning.types.errors import UserError

Logprobs = Callable[[Sequences, bool], tuple[Tensor, Tensor]]
"""`response_logprobs` of a model: rows, and whether to share prompts."""
FORWARD_KEY = "forward_check"
"""Key of the check's results in a checkpoint."""
PROMPT, RESPONSES = 8, (16, 12)
"""Tokens of the prompt and the two responses of the check."""
MATMUL_ROUNDING = {"highest": 2.0**-24, "high": 2.0**-11, "medium": 2.0**-8}
"""Relative rounding of a term in an fp32 matrix product, by `torch.set_float32_matmul_precision`."""


@dataclass(frozen=True)
class ForwardCheck:
    """The result of `check_forward`.

    Attributes:
        share: Whether responses may share the computation of their prompt.
        error: Nats per token between our log-probs and the model's own, as computed in training.
        rounding: Nats per token that rounding alone explains.
    """

    share: bool
    error: float
    rounding: float


class CheckedForward:
    """`response_logprobs` of a model, checked against the model's own logits before its first use.

    Responses share the computation of their prompt if that changes nothing; else they are computed one by one.

    Args:
        model: A causal language model, with or without adapters; sharded or not.
        tokenizer: The model's.
    """

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._logprobs = as_forward_method(model, response_logprobs)
        self._found: dict[str, Any] = {}  # circumstances and result
        self._share: bool | None = None

    def __call__(self, batch: Sequences) -> tuple[Tensor, Tensor]:
        """See `response_logprobs`."""
        return self._logprobs(batch, self.shares())

    def shares(self) -> bool:
        """Whether responses share the computation of their prompt; checked the first time. A collective.

        Raises:
            UserError: If our log-probs differ from the model's either way.
        """
        if self._share is None:
            circumstances = self._circumstances()
            if not circumstances.items() <= self._found.items():
                self._found = circumstances | {"share": self._checked()}
            self._share = bool(self._found["share"])
        return self._share

    def _checked(self) -> bool:
        words = ordinary_words(self.tokenizer, self.model)
        found = check_forward(self.model, self._logprobs, a_few_tokens(words, self.model.device))
        causal: Any = without_adapters(self.model)
        if may_share(causal) and not found.share:
            rank_zero_info(
                f"{type(causal).__name__} gives other log-probs where responses share the computation of their prompt: "
                "each is computed with a prompt of its own, which takes longer and is right"
            )
        return found.share

    def state_dict(self) -> dict[str, Any]:
        """The result and its circumstances, as plain values: a resumed run need not check again."""
        return dict(self._found)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._found = dict(state)

    def _circumstances(self) -> dict[str, Any]:
        """Everything that the result depends on, except weights."""
        causal: Any = without_adapters(self.model)
        return {
            "model": type(causal).__name__,
            "attention": causal.config._attn_implementation,
            "computes_in": str(compute_dtype(causal)),
            "device": self.model.device.type,
            "recomputes": causal.is_gradient_checkpointing,
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
        }


def ordinary_words(tokenizer: PreTrainedTokenizerBase, model: Any) -> list[int]:
    """Tokens of plain text that the model knows."""
    causal: Any = without_adapters(model)
    known = min(len(tokenizer), causal.get_input_embeddings().weight.shape[0])
    special = set(tokenizer.added_tokens_decoder) | set(tokenizer.all_special_ids)
    return [token for token in range(known) if token not in special] or list(range(known))


def a_few_tokens(words: Collection[int], device: torch.device | str = "cpu") -> Sequences:
    """Two responses to one prompt, for `response_logprobs`; always the same.

    Args:
        words: Tokens to draw from.
        device: Of the tensors.
    """
    generator = torch.Generator().manual_seed(0)
    longest = max(RESPONSES)
    drawn = torch.tensor(list(words))[torch.randint(len(words), (PROMPT + 2 * longest,), generator=generator)]
    mask = torch.arange(longest) < torch.tensor(RESPONSES)[:, None]
    batch = Sequences(
        prompt_ids=drawn[:PROMPT].expand(2, PROMPT),
        prompt_lengths=torch.full((2,), PROMPT),
        response_ids=drawn[PROMPT:].reshape(2, longest) * mask,
        response_mask=mask,
        temperature=torch.ones(2),
        sampler_logprobs=torch.full(mask.shape, torch.nan),
    )
    return on_device(batch, torch.device(device))


@torch.no_grad()
def check_forward(model: Any, logprobs: Logprobs, batch: Sequences) -> ForwardCheck:
    """Compare our log-probs, as in training, with those of each row alone by the model's own logits.

    At most four forward passes. All processes get the same result. `may_share` and `longest_rows` read from the
    configuration what so few tokens cannot show, such as attention windows.

    Args:
        model: To check, in its training mode.
        logprobs: Our log-probs of the model.
        batch: Two responses to one prompt.

    Raises:
        UserError: If they differ by more than rounding even when each row is computed alone.
        FloatingPointError: If the model's own log-probs are not finite.
    """
    own, rounding = _own_logprobs(model, batch)
    if any(gather(bool(own.isnan().any()))):
        raise FloatingPointError(
            f"{type(without_adapters(model)).__name__} computes NaN for plain words by its own logits: weights of "
            "its folder or checkpoint are not finite, or it overflows in this precision"
        )

    def error(share: bool) -> float:
        """The larger of the rows' median errors over tokens: near ties, single tokens may take another expert."""
        gap = (_ours(logprobs, model, batch, share) - own).abs()
        rows = zip(gap, batch["response_mask"], strict=True)
        return max(gather(max(float(row[mask].median()) for row, mask in rows)))

    plain = error(False)
    if not plain <= rounding:  # also for NaN, which only ours can be
        with in_evaluation(model):
            raise _refusal(model, plain, rounding, error(False))
    if may_share(without_adapters(model)) and (shared := error(True)) <= rounding:
        return ForwardCheck(True, shared, rounding)
    return ForwardCheck(False, plain, rounding)


def _ours(logprobs: Logprobs, model: Any, batch: Sequences, share: bool) -> Tensor:
    try:
        return logprobs(batch, share)[0]
    except (AttributeError, TypeError) as error:
        raise UserError(
            f"{type(without_adapters(model)).__name__} does not take what the log-prob function gives it, or gives "
            f"something else ({error}); use a decoder of text such as Llama, Qwen or SmolLM"
        ) from error


def _refusal(model: Any, error: float, rounding: float, in_evaluation: float) -> ValueError:
    name = type(without_adapters(model)).__name__
    said = f"the log-probs of {name} in training are {error:.2g} nats per token off those by its own logits"
    if in_evaluation <= rounding:
        return ValueError(
            f"{said}, and right in evaluation mode: it drops out, or adds noise, while it trains; set its dropout to 0 "
            "in config.json, or model.gradient_checkpointing to false"
        )
    return ValueError(
        f"{said}, where {rounding:.2g} would be rounding: its logits are more than hidden states times the output "
        "embedding (a scale, a soft cap, words left out), or depend on the rows beside it; use a model with a plain "
        "linear head (Llama, Qwen, SmolLM)"
    )


def _own_logprobs(model: Any, batch: Sequences) -> tuple[Tensor, float]:
    """Log-probs ``[batch token]`` by the model's logits for each row alone, and the nats due to rounding."""
    causal: Any = without_adapters(model)
    result = torch.zeros(batch["response_mask"].shape, device=batch["response_mask"].device)
    rows = []
    with in_evaluation(model):
        for i, (start, mask) in enumerate(zip(batch["prompt_lengths"], batch["response_mask"], strict=True)):
            response = batch["response_ids"][i][mask]
            ids = torch.cat([batch["prompt_ids"][i, :start], response])
            rows.append(model(input_ids=ids[None], use_cache=False).logits[0, start - 1 : -1].float())
            left_out = causal.get_output_embeddings().weight.shape[0] - rows[-1].shape[1]  # words without logits
            logprobs = functional.pad(rows[-1].log_softmax(-1), (0, left_out), value=-torch.inf)
            result[i, mask] = logprobs.gather(-1, response[:, None])[:, 0]
    return result, max(gather(_rounding(causal, torch.cat(rows))))


def _rounding(causal: Any, logits: Tensor) -> float:
    """Nats between two computations of these logits ``[token vocabulary]`` that differ only in rounding.

    That of states, relative to the spread of the logits over the vocabulary. The logits themselves are rounded by half
    a unit in the last place of their size, on both sides.
    """
    dtype = compute_dtype(causal)
    spread, size = logits.std(-1).mean(), logits.square().mean().sqrt()
    return float(relative_rounding(causal, dtype) * spread + torch.finfo(dtype).eps * size)


def relative_rounding(model: Any, dtype: torch.dtype) -> float:
    """Relative error of states between two computations that differ only in rounding.

    A state of L layers is a sum of 2 L parts. Each is rounded by u, half a unit in the last place of the dtype, after
    products of d terms that are each rounded by v: independent relative errors of u + sqrt(d) v, together sqrt(2 L)
    times that. Four times this is beyond chance.
    """
    layers = getattr(model.config.get_text_config(decoder=True), "num_hidden_layers", 1)
    width = model.get_input_embeddings().weight.shape[-1]
    u = torch.finfo(dtype).eps / 2
    return 4 * (2 * layers) ** 0.5 * (u + width**0.5 * MATMUL_ROUNDING[torch.get_float32_matmul_precision()])


def compute_dtype(model: Any) -> torch.dtype:
    """What a model computes in: that of autocast, else of its weights."""
    device = model.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return model.get_input_embeddings().weight.dtype
