"""What is left of prompts that are too long, on a real tokenizer and chat template."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from rtt_lightning.datamodules.lengths import truncated, within_length
from rtt_lightning.datamodules.records import Record
from rtt_lightning.tokenizers import load_tokenizer, render_prompt
from rtt_lightning.types import Criterion, Message, RubricSample

SYSTEM = {"role": "system", "content": "Be brief."}
TURNS = [
    {"role": "user", "content": "Tell me of owls. " * 10},
    {"role": "assistant", "content": "They hunt by night. " * 10},
    {"role": "user", "content": "And of tea?"},
    {"role": "assistant", "content": "It is warm."},
    {"role": "user", "content": "The sea is blue. " * 5 + "Now write of the sea."},
]


@pytest.fixture(scope="module")
def tokenizer(real_model: str) -> PreTrainedTokenizerBase:
    return load_tokenizer(real_model)


def size(tokenizer: PreTrainedTokenizerBase, messages: tuple[Message, ...] | list[Message]) -> int:
    return len(render_prompt(tokenizer, messages))


def test_early_turns_go_first_and_a_user_still_begins(tokenizer: PreTrainedTokenizerBase) -> None:
    limit = size(tokenizer, [SYSTEM, *TURNS[2:]])
    assert truncated([SYSTEM, *TURNS], tokenizer, limit) == (SYSTEM, *TURNS[2:])
    assert truncated([SYSTEM, *TURNS], tokenizer, limit - 1) == (SYSTEM, TURNS[4])


def test_the_end_of_the_last_turn_stays(tokenizer: PreTrainedTokenizerBase) -> None:
    limit = size(tokenizer, [SYSTEM, {"role": "user", "content": "Now write of the sea."}])
    system, last = truncated([SYSTEM, *TURNS], tokenizer, limit)
    assert system == SYSTEM
    assert last["content"].endswith("write of the sea.")
    assert TURNS[4]["content"].endswith(last["content"])


def test_a_system_message_that_leaves_no_room_is_an_error_with_the_prompt_s_name(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    record = Record(RubricSample("the long one", ({**SYSTEM, "content": "Be brief. " * 50}, TURNS[2]), (CRITERION,)))
    with pytest.raises(ValueError, match="prompt 'the long one' cannot be truncated: its system message and chat"):
        within_length([record], tokenizer, 40, "truncate")


CRITERION = Criterion("Mention tea.", "rtt:include_word", {"word": "tea"})


def test_truncated_prompts_are_named_and_keep_their_rubric(tokenizer: PreTrainedTokenizerBase) -> None:
    short, long = (Record(RubricSample(n, (turn,), (CRITERION,))) for n, turn in (("s", TURNS[2]), ("l", TURNS[0])))
    limit = size(tokenizer, [TURNS[2]]) + 5
    tokens = size(tokenizer, [TURNS[0]])
    with pytest.warns(
        UserWarning, match=rf"1 of 2 prompts are longer than {limit} tokens: l \({tokens} tokens\); trun"
    ):
        kept = within_length([short, long], tokenizer, limit, "truncate")
    assert kept[0] is short
    assert (kept[1].sample.id, kept[1].sample.criteria) == ("l", (CRITERION,))
    assert size(tokenizer, kept[1].sample.messages) <= limit


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=80), limit=st.integers(40, 80))
def test_what_is_left_fits_and_is_an_end_of_the_text(tokenizer: PreTrainedTokenizerBase, text: str, limit: int) -> None:
    (left,) = truncated([{"role": "user", "content": text}], tokenizer, limit)[-1:]
    assert text.endswith(left["content"])
    assert size(tokenizer, [left]) <= limit
