"""What is asked of a tokenizer beyond `transformers`."""

from copy import deepcopy
from typing import Any

import pytest

from rtt_lightning.lm.tokenizers import end_of_turn, load_tokenizer, render_prompt
from tests.tiny_tokenizers import CHATML, byte_level, sentence_piece

USER = {"role": "user", "content": "Name a drink."}
THINKS = CHATML + "{% if add_generation_prompt and enable_thinking is not false %}<think>\n{% endif %}"
"""A hybrid model's: it thinks unless it is told not to."""
CONTENTS = "{% for m in messages %}{{ m.content }}\n{% endfor %}"

REFUSES_SYSTEM = """{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}\
{{ messages[0].content }}"""


def test_a_conversation_that_the_chat_template_refuses_is_an_error_in_its_words(real_model: str) -> None:
    tokenizer = deepcopy(load_tokenizer(real_model))  # others share it
    tokenizer.chat_template = REFUSES_SYSTEM
    user = {"role": "user", "content": "Hi."}
    assert tokenizer.decode(list(render_prompt(tokenizer, [user]))) == "Hi."
    with pytest.raises(
        ValueError,
        match=r"the chat template of .* refuses a conversation of the roles system, user: System role not supported; "
        "change its messages, or use a model",
    ):
        render_prompt(tokenizer, [{"role": "system", "content": "Be brief."}, user])


def said(template: str, *messages: dict[str, str], **arguments: Any) -> str:
    """A conversation as a template renders it."""
    tokenizer = byte_level("<|im_start|>", "<|im_end|>", template=template)
    return str(tokenizer.decode(list(render_prompt(tokenizer, messages or [USER], arguments))))


def test_arguments_of_the_template_are_handed_on() -> None:
    assert said(THINKS).endswith("assistant\n<think>\n")
    assert said(THINKS, enable_thinking=True).endswith("assistant\n<think>\n")
    assert said(THINKS, enable_thinking=False).endswith("assistant\n")
    assert said("{{ effort }}: {{ messages[0].content }}", effort="low") == "low: Name a drink."


@pytest.mark.parametrize(("arguments", "problem"), [
    ({"enable_thinkng": False}, "sets 'enable_thinkng', which .* does not read; did you mean 'enable_thinking'"),
    ({"zzz": 1}, "sets 'zzz', which the chat template of .* does not read; leave it out"),
    ({"tools": []}, "sets 'tools', which the chat template of .* does not read"),
    ({"add_generation_prompt": False}, "sets 'add_generation_prompt', which rendering sets itself; leave it out"),
    ({"messages": []}, "sets 'messages', which rendering sets itself"),
    ({"tokenize": True}, "sets 'tokenize', which rendering sets itself"),
])  # fmt: skip
def test_an_argument_that_would_change_nothing_is_an_error(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=rf"data\.chat_template_kwargs {problem}"):
        said(THINKS, **arguments)


@pytest.mark.parametrize("template", [
    "{% for m in messages %}{{ m['text'] }}{% endfor %}Answer:",
    "{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}",  # takes parts alone
    "{{ messages[0].content }}",  # the first turn alone
    "{{ messages[-1].content[:20] }}",
])  # fmt: skip
def test_a_template_that_leaves_out_what_a_user_says_is_refused(template: str) -> None:
    turns = [{"role": "user", "content": "And of tea?"}, {"role": "user", "content": "Write of the sea, not the tea."}]
    with pytest.raises(ValueError, match=r"the chat template of .* leaves out what a user says, '(And|Write)"):
        said(template, *turns)


@pytest.mark.parametrize("template", ["{{ messages[0].content | trim }}", CONTENTS, CHATML])
def test_white_space_around_what_a_user_says_is_the_template_s(template: str) -> None:
    assert "Name  a\ndrink." in said(template, {"role": "user", "content": "\n Name  a\ndrink. \n"})


@pytest.mark.parametrize(("template", "problem"), [
    ("{% for m in messages %}{{ m.content }}", "is broken at line 1: Unexpected end of template"),
    ("\n{{ messages[0].content + 1 }}", 'refuses a conversation of the roles user: can only concatenate str .*"int"'),
    ("{{ messages[7].content }}", "refuses a conversation of the roles user: list object has no element 7"),
    ("{{ 1 // 0 }}", "refuses a conversation of the roles user: integer division"),
])  # fmt: skip
def test_a_template_that_is_broken_is_named_with_its_reason(template: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"the chat template of .* {problem}"):
        said(template)


@pytest.mark.parametrize(("template", "end"), [
    (CHATML, "<|im_end|>"),
    ("{% for m in messages %}[{{ m.role }}]: {{ m.content }}\n\n <|im_end|>\n{% endfor %}", "<|im_end|>"),
    ("{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}", "<|end|>"),
    # The last turn ends otherwise than those before it, whose token may stand within a response: gpt-oss.
    ("{% for m in messages %}{{ m.content }}{{ '<|end|>' if loop.last else '<|im_end|>' }}{% endfor %}", "<|end|>"),
    # No turn has an end: a response goes on until the next turn begins, as in GLM.
    ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}\n{% endfor %}", "<|im_start|>"),
    ("{% for m in messages %}{{ m.content }}</s>{% endfor %}", None),  # not a token of this tokenizer
    ("{% for m in messages %}{{ m.content }}\n### Answer: {% endfor %}", None),
    (CONTENTS, None),
    ("{% if messages | length > 1 %}{{ raise_exception('one turn') }}{% endif %}{{ messages[0].content }}", None),
    ("{% if messages[-1].role != 'user' %}{{ raise_exception('no') }}{% endif %}" + CHATML, "<|im_end|>"),
    ("{{ broken", None),
    (None, None),
])  # fmt: skip
@pytest.mark.parametrize("special", [True, False])
def test_the_end_of_a_turn_is_read_off_the_template(template: str | None, end: str | None, special: bool) -> None:
    tokenizer = byte_level("<|im_start|>", "<|im_end|>", special=special, template=template)
    found = end_of_turn(tokenizer)
    assert found == (None if end is None else tokenizer.convert_tokens_to_ids(end))


def test_the_end_of_a_turn_behind_a_space_of_sentence_piece() -> None:
    template = "{% for m in messages %}[INST] {{ m.content }} </s>{% endfor %}"
    assert end_of_turn(sentence_piece(["tea"], template=template)) == 2


def test_the_end_of_a_turn_of_a_real_model(real_model: str) -> None:
    assert end_of_turn(load_tokenizer(real_model)) == 2  # <|im_end|>
