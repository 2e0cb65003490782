"""Sampling settings, the answer within a response, and rollout rows with characters split over tokens."""

from dataclasses import replace

import pytest
from transformers import AutoTokenizer, GenerationConfig

from rtt_lightning.engines import SampleRequest, Sampling
from rtt_lightning.engines.base import RolloutBuilder, answer_span, end_token_ids
from rtt_lightning.policy import RTT
from rtt_lightning.types import Rollout

REQUEST = SampleRequest("p", group_id=7, prompt_ids=(5, 6), seeds=(1, 2, 3))
END = 2  # <|im_end|>


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 0}, "n >= 1"),
        ({"max_new_tokens": 0}, "max_new_tokens >= 1"),
        ({"temperature": 0.0}, "greedy responses to a prompt are all equal.* got 8"),
        ({"temperature": -1.0}, "temperature must be >= 0"),
        ({"temperature": float("nan")}, "finite, got nan"),
        ({"top_p": 0.0}, "0 < top_p <= 1"),
        ({"top_p": 1.1}, "0 < top_p <= 1"),
        ({"top_k": -1}, "top_k >= 0"),
    ],
)
def test_impossible_sampling_is_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**settings)  # pyright: ignore[reportArgumentType]


def test_only_the_full_vocabulary_gives_log_probs_of_the_policy() -> None:
    assert Sampling(temperature=0.3).full_vocabulary
    assert not Sampling(top_p=0.99).full_vocabulary
    assert not Sampling(top_k=100).full_vocabulary
    assert not Sampling(n=1, temperature=0).full_vocabulary


@pytest.mark.parametrize(
    ("reasoning", "text", "answer"),
    [
        (False, "no reasoning", "no reasoning"),
        (False, "", ""),
        (False, "<think>why</think>because", "because"),
        (False, "<think>a</think>b</think>c", "b</think>c"),
        (False, "<think>never ends", ""),
        (False, " \n<think>never ends", ""),
        (False, "I wrote <think> once", "I wrote <think> once"),  # no reasoning part: it does not begin the response
        (False, "no, commas</think>none", "no, commas</think>none"),  # what nothing opened must not hide anything
        (False, "<think>why</think>", ""),
        (True, "why</think>because", "because"),
        (True, "never ends", ""),
        (True, "", ""),
    ],
)
def test_the_answer_is_what_follows_the_reasoning(reasoning: bool, text: str, answer: str) -> None:
    start, end = answer_span(text, reasoning)
    assert text[start:end] == answer
    assert end == len(text)


@pytest.mark.parametrize(("prompt", "answer"), [("<think>\n", "so"), ("Use <think> tags.", "why</think>so")])
def test_a_template_may_open_the_reasoning(real_model: str, prompt: str, answer: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(real_model)
    request = replace(REQUEST, prompt_ids=tuple(tokenizer(prompt)["input_ids"]))
    response = tokenizer("why</think>so")["input_ids"]
    row = RolloutBuilder(tokenizer, frozenset({END}))(request, 0, response, None, Sampling(), policy_version=0)
    assert row.answer == answer


@pytest.mark.parametrize(
    ("configured", "expected"), [(None, {2}), (2, {2}), (0, {0, 2}), ([0, 3], {0, 2, 3}), ([], {2})]
)
def test_the_end_tokens_are_the_generation_configs_and_the_tokenizers(
    tiny_model: str, configured: int | list[int] | None, expected: set[int]
) -> None:
    policy = RTT(model=tiny_model, lora=None)
    policy.configure_model()
    policy.model.generation_config = GenerationConfig(eos_token_id=configured)
    assert end_token_ids(policy.model, policy.tokenizer) == expected


def build(real_model: str, *response: int) -> Rollout:
    builder = RolloutBuilder(AutoTokenizer.from_pretrained(real_model), frozenset({END}))
    return builder(REQUEST, 1, response, [-0.5] * len(response), Sampling(temperature=0.7), policy_version=3)


def test_a_row_carries_what_it_was_sampled_for(real_model: str) -> None:
    row = build(real_model, 276, 23142, END)  # "an", " owl"
    assert (row.prompt_id, row.group_id, row.sample_index, row.prompt_ids) == ("p", 7, 1, (5, 6))
    assert (row.policy_version, row.temperature, row.logprobs) == (3, 0.7, (-0.5, -0.5, -0.5))
    assert (row.text, row.answer_span) == ("an owl", (0, 6))
    assert row.offsets == ((0, 2), (2, 6), (6, 6))  # the end token carries no characters
    assert row.answer_tokens == [True, True, False]


def test_characters_split_over_tokens_belong_to_each_of_them(real_model: str) -> None:
    # a | 🦆 in three tokens of 2 + 1 + 1 bytes | 漢 in three tokens of 1 byte | b
    row = build(real_model, 81, 10813, 116, 224, 177, 137, 112, 82, END)
    assert row.text == "a🦆漢b"
    assert row.offsets == ((0, 1), (1, 2), (1, 2), (1, 2), (2, 3), (2, 3), (2, 3), (3, 4), (4, 4))


def test_a_space_and_the_first_bytes_of_an_emoji_share_a_token(real_model: str) -> None:
    # "Te" "a" " \xf0\x9f" "\xa6" "\x86" "!": the third token carries the space and, in part, the emoji
    row = build(real_model, 6732, 81, 15107, 116, 224, 17)
    assert row.text == "Tea 🦆!"
    assert row.offsets == ((0, 2), (2, 3), (3, 5), (4, 5), (4, 5), (5, 6))


def test_a_response_cut_within_a_character_ends_in_a_replacement_character(real_model: str) -> None:
    row = build(real_model, 81, 10813, 116)
    assert row.text == "a�"
    assert row.offsets == ((0, 1), (1, 2), (1, 2))
    assert row.finish_reason == "length"


def test_only_a_last_end_token_means_stop(real_model: str) -> None:
    assert build(real_model, 276, END).finish_reason == "stop"
    assert build(real_model, END).finish_reason == "stop"
    assert build(real_model, END, 276).finish_reason == "length"
    assert build(real_model).finish_reason == "length"


def test_reasoning_tokens_are_no_answer_tokens(real_model: str) -> None:
    # < think > an " owl" </ think > an " owl" end: characters 0-20 are reasoning
    row = build(real_model, 44, 17400, 46, 276, 23142, 9617, 17400, 46, 276, 23142, END)
    assert row.text == "<think>an owl</think>an owl"
    assert row.answer_span == (21, 27)
    assert row.answer == "an owl"
    assert row.answer_tokens == [False] * 8 + [True, True, False]
