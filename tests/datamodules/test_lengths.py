"""What is left of prompts that are too long, on a real tokenizer and chat template."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from rtt_lightning.datamodules.lengths import check_vocabulary, limit_lengths, render_prompts, truncate_turns
from rtt_lightning.datamodules.records import Record
from rtt_lightning.lm.tokenizers import load_tokenizer, render_prompt
from rtt_lightning.types import Criterion, Message, RubricSample
from tests.tiny_tokenizers import byte_level

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
    assert truncate_turns([SYSTEM, *TURNS], tokenizer, limit) == (SYSTEM, *TURNS[2:])
    assert truncate_turns([SYSTEM, *TURNS], tokenizer, limit - 1) == (SYSTEM, TURNS[4])


def test_the_end_of_the_last_turn_stays(tokenizer: PreTrainedTokenizerBase) -> None:
    limit = size(tokenizer, [SYSTEM, {"role": "user", "content": "Now write of the sea."}])
    system, last = truncate_turns([SYSTEM, *TURNS], tokenizer, limit)
    assert system == SYSTEM
    assert last["content"].endswith("write of the sea.")
    assert TURNS[4]["content"].endswith(last["content"])


def test_a_system_message_that_leaves_no_room_is_an_error_with_the_prompt_s_name(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    record = Record(RubricSample("the long one", ({**SYSTEM, "content": "Be brief. " * 50}, TURNS[2]), (CRITERION,)))
    with pytest.raises(ValueError, match="prompt 'the long one' cannot be truncated: its system message and chat"):
        limit_lengths([record], tokenizer, 40, "truncate")


CRITERION = Criterion("Mention tea.", "rtt:include_word", {"word": "tea"})


def test_truncated_prompts_are_named_and_keep_their_rubric(tokenizer: PreTrainedTokenizerBase) -> None:
    short, long = (Record(RubricSample(n, (turn,), (CRITERION,))) for n, turn in (("s", TURNS[2]), ("l", TURNS[0])))
    limit = size(tokenizer, [TURNS[2]]) + 5
    tokens = size(tokenizer, [TURNS[0]])
    with pytest.warns(
        UserWarning, match=rf"1 of 2 prompts are longer than {limit} tokens: l \({tokens} tokens\); trun"
    ):
        kept = limit_lengths([short, long], tokenizer, limit, "truncate")
    assert kept[0] is short
    assert (kept[1].sample.id, kept[1].sample.criteria) == ("l", (CRITERION,))
    assert size(tokenizer, kept[1].sample.messages) <= limit


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=80), limit=st.integers(40, 80))
def test_what_is_left_fits_and_is_an_end_of_the_text(tokenizer: PreTrainedTokenizerBase, text: str, limit: int) -> None:
    (left,) = truncate_turns([{"role": "user", "content": text}], tokenizer, limit)[-1:]
    assert text.endswith(left["content"])
    assert size(tokenizer, [left]) <= limit


# -- prompts that cannot be rendered or read ---------------------------------------------------------------------------

FIRST_TURN = "{% if messages[0].content == 'x' %}{{ raise_exception('no x') }}{% endif %}{{ messages[0].content }}"


def asked(name: str, *texts: str) -> RubricSample:
    return RubricSample(name, tuple({"role": "user", "content": text} for text in texts), (CRITERION,))


def test_every_prompt_that_cannot_be_rendered_is_named_by_its_reason() -> None:
    samples = [asked("a:1", "x"), asked("a:2", "tea"), asked("a:3", "x"), asked("a:4", "tea", "and more")]
    with pytest.raises(ValueError, match="3 of 4 prompts cannot be rendered") as error:
        limit_lengths([Record(sample) for sample in samples], byte_level(template=FIRST_TURN), 99, "drop")
    _, first, second = str(error.value).splitlines()
    assert first.startswith("  a:1, a:3: the chat template of '' refuses a conversation of the roles user: no x; ")
    assert second.startswith("  a:4: the chat template of '' leaves out what a user says, 'and more'")


def test_prompts_are_measured_with_the_arguments_of_the_template() -> None:
    tokenizer = byte_level(template="{{ messages[0].content }}{% if long %} and so on{% endif %}")
    record = Record(asked("a", "tea"))
    assert [len(ids) for ids in render_prompts([record.sample], tokenizer, {"long": True})] == [len("tea and so on")]
    assert limit_lengths([record], tokenizer, 5, "drop", {"long": False}) == [record]
    with pytest.warns(UserWarning, match=r"a \(13 tokens\); dropped"):
        assert limit_lengths([record], tokenizer, 5, "drop", {"long": True}) == []
    assert truncate_turns(record.sample.messages, tokenizer, 12, {"long": True})[0]["content"] == "ea"


def test_tokens_beyond_the_embedding_are_refused_with_the_prompt_and_the_mend() -> None:
    template = "{{ messages[0].content }}<|turn|>"
    tokenizer = byte_level("<|turn|>", "<|more|>", template=template)
    turn = tokenizer.get_vocab()["<|turn|>"]
    check_vocabulary([asked("a", "tea")], tokenizer, turn + 1)  # <|more|> has no row, and no prompt has it
    with pytest.raises(ValueError, match=rf"1 of 2 prompts, such as b, hold .* '<\|more\|>' has id {turn + 1}"):
        check_vocabulary([asked("a", "tea"), asked("b", "<|more|>")], tokenizer, turn + 1)
    with pytest.raises(ValueError, match=r"2 of 2 prompts.*call `model\.resize_token_embeddings\(len\(tokenizer\)\)`"):
        check_vocabulary([asked("a", "tea"), asked("b", "<|more|>")], tokenizer, turn)
