"""Sampling settings, what ends a response, and rollout rows: the answer in them, characters split over tokens."""

from dataclasses import replace

import pytest
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast

from rtt_lightning.engines import SampleRequest, Sampling
from rtt_lightning.engines.base import RolloutBuilder, end_token_ids
from rtt_lightning.modules import PolicyModule
from rtt_lightning.types import Marks, Rollout
from tests.tiny_tokenizers import byte_level, sentence_piece

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
    policy = PolicyModule(model=tiny_model, lora=None)
    policy.configure_model()
    policy.model.generation_config = GenerationConfig(eos_token_id=configured)
    assert end_token_ids(policy.model, policy.tokenizer) == expected


def test_the_template_s_end_of_turn_ends_a_response_of_a_model_whose_files_name_another(tiny_model: str) -> None:
    """A base model with a chat template: its files say <|endoftext|>, its turns end by <|im_end|>."""
    policy = PolicyModule(model=tiny_model, lora=None)
    policy.configure_model()
    policy.model.generation_config = GenerationConfig(eos_token_id=0)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.eos_token = "<|endoftext|>"
    assert tokenizer.eos_token_id == 0
    assert end_token_ids(policy.model, tokenizer) == {0, END}
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    assert end_token_ids(policy.model, tokenizer) == {0}


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


def row_of(
    tokenizer: PreTrainedTokenizerFast, response: str, prompt: str = "?", marks: tuple[Marks, ...] | None = None
):
    """A response as an engine would hand it over."""
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, response)]
    known = tokenizer.get_vocab()
    ends = frozenset(known[token] for token in (tokenizer.eos_token, "<|im_end|>") if token in known)
    request = replace(REQUEST, prompt_ids=tuple(ids[0]), reasoning=marks)
    return RolloutBuilder(tokenizer, ends)(request, 0, ids[1], None, Sampling(), policy_version=0)


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize("marks", [("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<seed:think>", "</seed:think>")])
def test_how_a_tokenizer_declares_its_marks_changes_nothing(marks: Marks, opened: bool, special: bool) -> None:
    tokenizer = byte_level(*marks, "<|im_end|>", special=special)
    prompt, response = f"Go.{marks[0]}\n", f"Well, I plan.{marks[1]}\n\nTea is warm.<|im_end|>"
    row = row_of(tokenizer, response, prompt) if opened else row_of(tokenizer, marks[0] + response, "Go.")
    assert row.answer == "Tea is warm."
    assert sum(row.answer_tokens) == len("Tea is warm.")  # a token per byte: neither blank lines nor the end token
    assert marks[1] in row.text
    assert row.finish_reason == "stop"


def test_marks_of_several_special_tokens() -> None:
    """The channels of gpt-oss."""
    tokenizer = byte_level("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>", end="<|return|>")
    final = "<|channel|>final<|message|>Tea.<|return|>"
    assert row_of(tokenizer, f"<|channel|>analysis<|message|>Hm, tea<|end|><|start|>assistant{final}").answer == "Tea."
    assert row_of(tokenizer, final).answer == "Tea."
    assert row_of(tokenizer, "<|channel|>analysis<|message|>Hm, tea").answer == ""


def test_configured_marks_replace_those_that_are_found() -> None:
    tokenizer = byte_level("[THINK]", "[/THINK]")
    text = "Thoughts: a, b. Reply: Tea."
    assert row_of(tokenizer, text).answer == text
    assert row_of(tokenizer, text, marks=(("Thoughts:", "Reply:"),)).answer == "Tea."
    assert row_of(tokenizer, " a, b. Reply: Tea.", "Go. Thoughts:", (("Thoughts:", "Reply:"),)).answer == "Tea."
    thought = row_of(tokenizer, "[THINK]a[/THINK]b", marks=())
    assert (thought.answer, thought.text) == ("ab", "ab")  # special tokens that mark nothing carry no text


@pytest.mark.parametrize("special", [True, False])
def test_an_end_token_has_no_text_however_the_tokenizer_declares_it(special: bool) -> None:
    tokenizer = byte_level("<|im_end|>", "<|tool|>", special=special)
    row = row_of(tokenizer, "green tea<|im_end|>")
    assert (row.answer, row.finish_reason) == ("green tea", "stop")
    assert row.answer_tokens == [True] * 9 + [False]
    assert row_of(tokenizer, "green<|tool|>").answer == ("green" if special else "green<|tool|>")


@pytest.mark.parametrize(("response", "answer"), [
    ("green tea", "green tea"),  # "▁green", "▁tea"
    (" green tea", " green tea"),  # "▁", "▁green", "▁tea": one space is the tokenizer's, the other the response's
    ("<think>tea</think> green", "green"),
    ("", ""),
    ("\ntea", "\ntea"),
])  # fmt: skip
def test_the_space_that_sentence_piece_puts_first_is_no_part_of_an_answer(response: str, answer: str) -> None:
    tokenizer = sentence_piece(["green", "tea"])
    row = row_of(tokenizer, response + "</s>")
    assert row.answer == answer
    assert row.text == tokenizer.decode(list(row.response_ids), skip_special_tokens=True)
    assert row.answer_tokens[-1] is False


def test_a_decoder_that_keeps_the_first_space_is_followed() -> None:
    tokenizer = sentence_piece(["green", "tea"], strip=False)
    row = row_of(tokenizer, "green tea</s>")
    assert row.text == tokenizer.decode(list(row.response_ids), skip_special_tokens=True) == " green tea"
    assert row.offsets == ((0, 6), (6, 10), (10, 10))


def test_a_first_token_that_is_a_space_alone_carries_nothing() -> None:
    tokenizer = sentence_piece(["tea"])
    space, tea = (tokenizer.get_vocab()[piece] for piece in ("▁", "▁tea"))
    row = RolloutBuilder(tokenizer, frozenset({2}))(REQUEST, 0, (space, tea, 2), None, Sampling(), policy_version=0)
    assert (row.text, row.offsets) == (" tea", ((0, 0), (0, 4), (4, 4)))
