"""One test per known defect of the authors' released code, so that ours does not share it.

Their judge's defects (verdicts by substring, unparsable means violated, serial calls, criteria lost from overlong
prompts) are covered in `tests/verifiers/judge`.
"""

import ast
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from rtt_lightning.algorithms import RTT
from rtt_lightning.functional.advantages import inter_sample, intra_sample, token_rewards
from rtt_lightning.functional.rewards import all_or_nothing, satisfaction_rate
from rtt_lightning.lm.forward import response_logprobs
from rtt_lightning.relevance.base import Relevance
from rtt_lightning.relevance.discriminator.build import build
from rtt_lightning.relevance.discriminator.config import RelevanceConfig
from rtt_lightning.relevance.discriminator.readings import pieces
from rtt_lightning.rollout.experience import collate
from rtt_lightning.types import Criterion, RubricSample, Verdict
from rtt_lightning.verifiers.rules import RuleVerifier
from tests.rollout.test_experience import judged

ROOT = Path(__file__).parents[1]


def verdict(answer: str, checker: str, **kwargs) -> Verdict:
    sample = RubricSample("p", ({"role": "user", "content": "x"},), (Criterion("A criterion.", checker, kwargs),))
    [[found]] = RuleVerifier().verify_all([(sample, answer)])
    return found


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_criteria_and_samples_are_not_mixed() -> None:
    """Defect: a reshape where a transpose is needed; at G = 8, K = 3 over 40 % of the signs are another cell's."""
    met = (noise(8, 3) > 0.5).tolist()
    weights = [1, -1, 1]  # of `judged`
    relevance = noise(8, 3, 5)
    experience = collate([judged(0, 4, *row) for row in met], [*map(Relevance, relevance)])
    rewards = token_rewards(experience)
    signs = [[weight if value else -weight for value, weight in zip(row, weights, strict=True)] for row in met]
    for i in range(8):
        for k in range(3):
            for t in range(5):
                assert rewards[i, k, t].item() == pytest.approx(signs[i][k] * relevance[i, k, t].item())
    flipped = torch.tensor(signs).T.reshape(8, 3) != torch.tensor(signs)
    assert flipped.float().mean() > 0.4  # so that the loop above would see it


def test_relevance_stays_a_fraction() -> None:
    """Defect: float relevance is written into an integer tensor and becomes 0 or 1."""
    relevance = Relevance(torch.tensor([[0.3, 0.7, 0.1], [0.9, 0.2, 0.6]]))
    rewards = token_rewards(collate([judged(0, 2, True, False)], [relevance]))
    assert rewards[0, 0].tolist() == pytest.approx([0.3, 0.7, 0.1])
    assert rewards[0, 1].tolist() == pytest.approx([0.9, 0.2, 0.6])  # unwanted and not met: a plus


@pytest.mark.parametrize("partition", [intra_sample, inter_sample])
def test_groups_are_ids_and_not_positions(partition) -> None:
    """Defect: rows are grouped by position, so that responses to different prompts are compared."""
    verdicts = [(True, False), (False, False), (True, True), (False, True), (True, False), (False, False)]
    rows = [judged(group, 2 + n, *verdicts[n]) for n, group in enumerate((0, 0, 0, 1, 1, 1))]
    relevance = [Relevance(noise(2, 3 + n)) for n in range(6)]
    algorithm = RTT(partition=partition)
    together = algorithm(collate(rows, relevance)).advantages
    order = [3, 0, 4, 1, 5, 2]
    mixed = algorithm(collate([rows[n] for n in order], [relevance[n] for n in order])).advantages
    assert together.abs().sum() > 1
    torch.testing.assert_close(mixed, together[order])


def test_criteria_past_twenty_count() -> None:
    """Defect: they are dropped silently."""
    mets = [n % 2 == 0 for n in range(24)]  # `judged` wants every other criterion met, and the others not
    rows = [judged(0, 1, *mets, True), judged(0, 1, *mets, False)]
    experience = collate(rows, [Relevance(torch.zeros(25, 2))] * 2)
    assert all_or_nothing(experience)[0].tolist() == [1, 0]
    assert satisfaction_rate(experience)[0].tolist() == pytest.approx([1, 24 / 25])


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@torch.no_grad()
def test_the_response_is_where_it_is_and_not_where_its_ids_occur_first(tiny_model: str, temperature: float) -> None:
    """Defect: it is found by searching for its ids in the whole sequence, and these also occur in the prompt."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    prompts, responses = [[7, 8, 9, 7, 8], [8, 9]], [[7, 8], [9, 8, 9]]
    batch = {
        "prompt_ids": torch.tensor([[7, 8, 9, 7, 8], [8, 9, 0, 0, 0]]),
        "prompt_lengths": torch.tensor([5, 2]),
        "response_ids": torch.tensor([[7, 8, 0], [9, 8, 9]]),
        "response_mask": torch.tensor([[True, True, False], [True, True, True]]),
        "temperature": torch.tensor([temperature, temperature]),
    }
    found = response_logprobs(model, batch)[0]
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        for t, token in enumerate(response):
            logits = model(torch.tensor([prompt + response[:t]])).logits[0, -1]
            expected = (logits / temperature).log_softmax(-1)[token]
            torch.testing.assert_close(found[row, t], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("checker", "kwargs", "words", "met"),
    [
        ("rtt:max_words", {"n": 50}, 50, True),
        ("rtt:max_words", {"n": 50}, 51, False),
        ("rtt:min_words", {"n": 50}, 50, True),
        ("rtt:min_words", {"n": 50}, 49, False),
        ("length_constraints:number_words", {"num_words": 50, "relation": "less than"}, 49, True),
        ("length_constraints:number_words", {"num_words": 50, "relation": "less than"}, 50, False),
        ("length_constraints:number_words", {"num_words": 50, "relation": "at least"}, 50, True),
        ("length_constraints:number_words", {"num_words": 50, "relation": "at least"}, 49, False),
    ],
)
def test_length_rules_are_not_inverted(checker: str, kwargs: dict, words: int, met: bool) -> None:
    """Defect: "no more than 50 words" is met by long answers."""
    assert verdict("word " * words, checker, **kwargs).met is met


def test_what_cannot_be_decided_is_not_violated() -> None:
    """Defect: a verdict that cannot be read counts as violated."""
    assert verdict("x", "no:such").met is None
    assert verdict("x", "rtt:max_words", n="fifty").met is None
    rows = [judged(0, 2, None), judged(0, 2, True), judged(0, 2, False)]
    experience = collate(rows, [Relevance(noise(1, 3)) for _ in rows])
    assert experience.signs.tolist() == [[0], [1], [-1]]
    credited = RTT()(experience)
    assert credited.advantages[0].tolist() == [0, 0, 0]
    assert credited.rewards is not None
    assert credited.known is not None
    assert credited.known.tolist() == [False, True, True]
    assert credited.rewards[credited.known].mean() == 0.5


def test_an_overlong_input_of_the_discriminator_keeps_its_criterion(tiny_model: str) -> None:
    """Defect: over-long inputs lose the criterion. Here the response is read in windows, each with the criterion."""
    model = build(RelevanceConfig(tiny_model, max_length=32))
    [reading] = model.encode([(("Mention tea.",), "word " * 100)])
    parts = [part.reading for part in pieces([reading], model.longest)]
    assert len(parts) > 1
    for part in parts:
        assert "Criteria: Mention tea." in model.tokenizer.decode(part.prefixes[0])
        assert len(part.prefixes[0]) + len(part.response) == 32
    assert model([reading])[1].sum() == len(reading.response) >= 100


def test_code_of_a_dataset_is_never_run(tmp_path: Path) -> None:
    """Defect: it runs through `exec`."""
    trap = tmp_path / "ran"
    code = f"__import__('pathlib').Path({str(trap)!r}).touch()"
    for found in (verdict("x", code), verdict("x", "rtt:max_words", n=code), verdict(code, "rtt:question")):
        assert found.met is not True
    assert not trap.exists()
    folders = ("rtt_lightning", "callbacks", "datamodules", "tutorials/demo")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 30
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
            assert called not in {"exec", "eval", "compile", "__import__"}, f"{path}:{node.lineno} calls {called}"
