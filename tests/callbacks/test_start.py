"""What a run looks at before it samples anything: the judge, the relevance source, and what neither can do."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rtt_lightning.algorithms import GDPO, GRPO, RTT, Algorithm
from rtt_lightning.callbacks.start import ignored_weights, takes_signs_alone, without_credit
from rtt_lightning.commands.run import main
from rtt_lightning.functional.rewards import (
    all_or_nothing,
    all_or_nothing_lower_bound,
    hard_times_soft,
    satisfaction_rate,
    weighted_mean,
)
from rtt_lightning.relevance import DiscriminatorRelevance, RuleSpans, UniformRelevance
from rtt_lightning.relevance.discriminator.checkpoint import CHECKPOINT_KEY
from rtt_lightning.relevance.discriminator.config import RelevanceConfig
from rtt_lightning.types import Credited, Criterion, Experience, OutsideFailure, RubricSample
from rtt_lightning.verifiers.code import CodeVerifier
from rtt_lightning.verifiers.judge import Budget, Limits
from rtt_lightning.verifiers.router import Router
from rtt_lightning.verifiers.rules import RuleVerifier
from tests.verifiers.judge.server import judge_server, seen
from tests.verifiers.judge.test_verifier import judge, sample

Args = Callable[..., list[str]]
DEAD = "http://127.0.0.1:9/v1"
RULE = Criterion("Use two words.", "rtt:min_words", {"n": 2})


def with_rules(*more: Criterion) -> RubricSample:
    return RubricSample("p", ({"role": "user", "content": "Hi."},), (RULE, *more))


@pytest.fixture
def judged(tmp_path: Path) -> Callable[..., list[str]]:
    """Flags of a run whose criteria are a judge's."""
    row = {"prompt": "Of tea.", "criteria": [{"text": "Mention tea.", "checker": "judge"}]}
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row | {"id": str(number)}) + "\n" for number in range(4)))
    source = f"{{class_path: rtt_lightning.RecordFiles, init_args: {{train: {data}, val: {data}}}}}"

    def flags(url: str, name: str = "rollout.verifier") -> list[str]:
        made = f"--{name}=rtt_lightning.LLMJudge"
        arguments = (
            f"--{name}.model=m",
            f"--{name}.url={url}",
            f"--{name}.file=null",
            f"--{name}.limits={{attempts: 1}}",
        )
        return [f"--data.source={source}", f"--rollout.output={tmp_path}/windows", made, *arguments]

    return flags


@pytest.mark.parametrize("command", ["fit", "validate"])
def test_a_judge_that_is_down_ends_the_run_before_anything_is_sampled(
    policy_args: Args, judged: Callable[..., list[str]], tmp_path: Path, command: str
) -> None:
    with pytest.raises(OutsideFailure, match=r"'m' at http://127.0.0.1:9/v1 was asked one question .* no connection"):
        main([*policy_args(command), *judged(DEAD)])
    assert not (tmp_path / "windows").exists()


def test_a_held_out_judge_that_is_down_is_seen_at_the_start_as_well(
    policy_args: Args, judged: Callable[..., list[str]]
) -> None:
    with judge_server() as url, pytest.raises(OutsideFailure, match="was asked one question to try it out"):
        main([*policy_args("fit"), *judged(url), *judged(DEAD, "watch.judge")])


def test_the_question_is_paid_for_kept_nowhere_and_asked_only_where_a_judge_is_needed(tmp_path: Path) -> None:
    with judge_server() as url:
        one = judge(url, budget=Budget(prompt_price=1.0), file=str(tmp_path / "judge.sqlite"))
        router = Router(judge=one)
        assert router.try_out([with_rules()]) == []
        assert seen(url).calls == 0
        assert router.try_out([with_rules(), with_rules(*sample("tea").criteria)]) == []
        assert router.try_out([with_rules(*sample("tea").criteria)]) == []
        assert seen(url).calls == 2
        assert one.metrics()["judge_prompt_tokens"] == 200
    assert RuleVerifier().try_out([with_rules()]) == []
    assert judge(DEAD).try_out([]) == []


def test_a_reply_that_says_nothing_is_a_doubt_and_a_refusal_is_the_end() -> None:
    with judge_server(finish_reason="length") as url:
        [doubt] = judge(url).try_out([sample("tea")])
        assert doubt.endswith("its reply was cut off; raise the judge's max_completion_tokens")
    with (
        judge_server(refuses=("temperature",), words="temperature must be 1") as url,
        pytest.raises(OutsideFailure, match=r"temperature must be 1; set the judge's temperature: null"),
    ):
        judge(url, limits=Limits(attempts=1)).try_out([sample("tea")])


def test_completions_of_the_same_prompt_are_no_prompts_of_a_run(policy_args: Args, tmp_path: Path) -> None:
    row = {"id": "tea", "prompt": "Of tea.", "criteria": [RULE.to_row() | {"met": True}], "response": "Tea is hot."}
    (tmp_path / "data.jsonl").write_text(f"{json.dumps(row)}\n" * 4)
    source = f"{{class_path: rtt_lightning.datamodules.RecordFiles, init_args: {{train: {tmp_path}/data.jsonl}}}}"
    with pytest.raises(ValueError, match="field `id` is 'tea' in 4 prompts; each prompt needs its own"):
        main([*policy_args("fit"), f"--data.source={source}"])


# -- relevance -----------------------------------------------------------------------------------------------------


def test_a_missing_discriminator_is_refused_before_anything_is_sampled(policy_args: Args, tmp_path: Path) -> None:
    flags = (
        "--rollout.relevance=rtt_lightning.DiscriminatorRelevance",
        f"--rollout.relevance.init_args.checkpoint={tmp_path}/it.ckpt",
        f"--rollout.output={tmp_path}/windows",
    )
    with pytest.raises(ValueError, match="no discriminator checkpoint at"):
        main([*policy_args("fit"), *flags])
    for content in (b"text", b""):
        (tmp_path / "it.ckpt").write_bytes(content)
        with pytest.raises(ValueError, match="is not a discriminator's checkpoint"):
            main([*policy_args("fit"), *flags])
    assert not (tmp_path / "windows").exists()


def test_criteria_that_no_span_can_be_had_of_are_counted() -> None:
    verifier, code = Router(judge=judge(DEAD), code=CodeVerifier()), Criterion("By code.", "code", {"source": "x"})
    samples = [with_rules(*sample("tea", "sea").criteria), with_rules(code), with_rules(*sample("tea").criteria)]
    said = without_credit(samples, RuleSpans(), verifier)
    assert said.startswith(
        "4 of 7 criteria are trained at response level only, such as 'Mention tea.' (judge): the rel"
    )
    assert "RTT" not in said  # whatever the algorithm is
    assert without_credit([with_rules()], RuleSpans(), verifier) == ""
    assert without_credit(samples, UniformRelevance(), verifier).startswith("7 of 7 criteria")


def test_a_discriminator_is_blind_to_criteria_that_leave_it_no_room(tmp_path: Path, tiny_model: str) -> None:
    config = RelevanceConfig(tiny_model, max_length=40)
    torch.save({CHECKPOINT_KEY: asdict(config)}, tmp_path / "it.ckpt")
    long = Criterion("Mention tea, " * 20, "judge")
    relevance = DiscriminatorRelevance(str(tmp_path / "it.ckpt"))
    said = without_credit([with_rules(long)], relevance, RuleVerifier())
    assert said.startswith("1 of 2 criteria are trained at response level only, such as 'Mention tea, Mention tea")
    assert "relevance of DiscriminatorRelevance cannot vary" in said


def test_it_is_said_of_schemes_alone_that_read_relevance(policy_args: Args, recwarn: pytest.WarningsRecorder) -> None:
    def warnings(*flags: str) -> list[str]:
        main([*policy_args("fit"), "--rollout.relevance=rtt_lightning.UniformRelevance", *flags])
        return [str(w.message) for w in recwarn if "at response level only" in str(w.message)]

    assert warnings("--model.init_args.algorithm=rtt_lightning.GRPO") == []
    assert len(warnings()) == 1


# -- weights -------------------------------------------------------------------------------------------------------


def weighed(*weights: float) -> RubricSample:
    criteria = tuple(Criterion("x", "judge", weight=weight) for weight in weights)
    return RubricSample("p", ({"role": "user", "content": "x"},), criteria)


def mostly_met(experience: Experience) -> tuple[Tensor, Tensor]:
    """A third-party reward: more than half of the weight."""
    share, known = weighted_mean(experience)
    return (share > 0.5).float(), known


class WithoutRewards(Algorithm):
    """A third-party scheme that credits tokens without a reward for the response."""

    def __call__(self, experience: Experience) -> Credited:
        return Credited(torch.zeros(experience.response_mask.shape), None, None, {})


@pytest.mark.parametrize("kind", [GRPO, RTT])
@pytest.mark.parametrize("reward", [all_or_nothing, all_or_nothing_lower_bound, satisfaction_rate, hard_times_soft])
@pytest.mark.parametrize("weights", [(1.0, 2.0), (3.0, -1.0), (1.0, 1.0, 1.0, 0.5)])
def test_that_weights_are_ignored_is_said(kind, reward, weights: tuple[float, ...]) -> None:
    said = ignored_weights(kind(reward), [weighed(1.0), weighed(*weights)])
    assert f"by {weights[0]:g}, " in said
    assert f"the rewards of {kind.__name__} use only the signs of weights" in said
    assert "weighted_mean as response_reward" in said
    for algorithm in (kind(weighted_mean), GDPO()):
        assert not takes_signs_alone(algorithm, torch.tensor(weights))


def test_nothing_is_said_where_nothing_is_ignored() -> None:
    uneven = [weighed(1.0, 2.0)]
    for algorithm in (GRPO(weighted_mean), GRPO(mostly_met), GDPO(), WithoutRewards()):
        assert ignored_weights(algorithm, uneven) == ""
    assert ignored_weights(GRPO(), [weighed(1.0, -1.0), weighed(2.0, 2.0), weighed(-1.0, -3.0)]) == ""
    assert ignored_weights(GRPO(), []) == ""


def test_a_run_warns_of_ignored_weights(policy_args: Args, tmp_path: Path) -> None:
    rules = [
        {"text": "Ask.", "checker": "rtt:question"},
        {"text": "No commas.", "checker": "rtt:no_commas", "weight": 3},
    ]
    data = tmp_path / "data.jsonl"
    data.write_text(
        "".join(json.dumps({"id": str(n), "prompt": "Of tea.", "criteria": rules}) + "\n" for n in range(4))
    )
    source = f"{{class_path: rtt_lightning.RecordFiles, init_args: {{train: {data}, val: {data}}}}}"
    with pytest.warns(UserWarning, match="by 1, 3, but the rewards of RTT use only the signs of weights"):
        main([*policy_args("fit"), f"--data.source={source}", "--trainer.max_steps=1"])
