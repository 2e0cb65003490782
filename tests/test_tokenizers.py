"""What is asked of a tokenizer beyond `transformers`."""

from copy import deepcopy

import pytest

from rtt_lightning.tokenizers import load_tokenizer, render_prompt

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
