"""Chunked log-probs against the plain log-softmax, and what they never allocate."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rtt_lightning.functional import logprobs as module
from rtt_lightning.functional.logprobs import token_logprobs

VOCABULARY, HIDDEN = 50, 16


def inputs(rows: int):
    generator = torch.Generator().manual_seed(rows)
    hidden = torch.randn(rows, HIDDEN, generator=generator, requires_grad=True)
    weight = torch.randn(VOCABULARY, HIDDEN, generator=generator, requires_grad=True)
    targets = torch.randint(0, VOCABULARY, (rows,), generator=generator)
    return hidden, weight, targets, torch.rand(rows, generator=generator) + 0.5


def plain(hidden, weight, targets, temperature):
    log_p = (hidden @ weight.T / temperature[:, None]).log_softmax(-1)
    return log_p.gather(1, targets[:, None])[:, 0], -(log_p.exp() * log_p).sum(-1)


@pytest.mark.parametrize("rows", [0, 1, 2, 300])
@pytest.mark.parametrize("words", [1, 7, 50, 64])
@pytest.mark.parametrize("counts", ["both", "logprobs", "entropy"])
def test_values_and_gradients_equal_the_plain_way(
    rows: int, words: int, counts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IN_CACHE", module.Tile(rows=128, words=words))  # of 300 and 50: they fit, or do not
    gradients = []
    for function in (token_logprobs, plain):
        given = inputs(rows)
        logprobs, entropy = function(*given)
        parts = {"logprobs": logprobs * torch.linspace(-1, 1, rows), "entropy": entropy.square()}
        sum(part.sum() for name, part in parts.items() if counts in (name, "both")).backward()  # type: ignore
        gradients.append((logprobs.detach(), entropy.detach(), given[0].grad, given[1].grad))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_bf16_weights_give_fp32_results_near_the_exact_ones() -> None:
    hidden, weight, targets, temperature = inputs(20)
    exact = plain(hidden, weight, targets, temperature)[0]
    ours = token_logprobs(hidden.bfloat16(), weight.bfloat16(), targets, temperature)[0]
    assert ours.dtype == torch.float32
    assert (ours - exact).abs().mean() < 0.1


class LargestTensor(TorchDispatchMode):
    """Records the most elements that any operation's result holds."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.elements = max(self.elements, *sizes, 0)
        return result


def test_logits_of_the_whole_vocabulary_never_exist_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IN_CACHE", module.Tile(rows=600, words=8))
    given = inputs(600)
    with LargestTensor() as largest:
        logprobs, entropy = token_logprobs(*given)
        (logprobs + entropy).sum().backward()
    assert largest.elements == 600 * HIDDEN  # the gradient of the states; all logits would be 600 x 50
