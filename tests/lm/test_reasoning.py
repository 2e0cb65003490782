"""Where an answer begins: the marks of reasoning, and what stands behind it."""

import pytest

from rtt_lightning.lm.reasoning import KNOWN, THINK, answer_span, checked_marks, given_answer_span, reasoning_marks
from rtt_lightning.types import Marks
from tests.tiny_tokenizers import byte_level

THOUGHT = ("<|begin_of_thought|>", "<|end_of_thought|>")
HARMONY = KNOWN[4]


@pytest.mark.parametrize(
    ("before", "text", "answer"),
    [
        ("", "no reasoning", "no reasoning"),
        ("", "", ""),
        ("", "\n\n as it is ", "\n\n as it is "),  # white space is part of an answer that no reasoning precedes
        ("", "<think>why</think>because", "because"),
        ("", "<think>why</think>\n\n  because\n", "because\n"),
        ("", "<think>a</think>b</think>c", "b</think>c"),
        ("", "<think>a</think>\n<think>b</think>\nc", "c"),
        ("", "<think>never ends", ""),
        ("", " \n<think>never ends", ""),
        ("", "<think>a</think><think>never ends", ""),
        ("", "I wrote <think> once", "I wrote <think> once"),  # no reasoning part: it does not begin the response
        ("", "no, commas</think>none", "no, commas</think>none"),  # what nothing opened must not hide anything
        ("", "<think>why</think>", ""),
        ("", "<think>why</think>\n\n", ""),
        ("<think>", "why</think>\nbecause", "because"),
        ("<think>", "<think>why</think>because", "because"),
        ("<think>", "never ends", ""),
        ("<think>", "", ""),
        ("</think>", "\n\nbecause", "because"),  # switched off: the prompt closed it, the model leaves the blank line
        ("</think>", "because", "because"),
        ("</think>", "<think>why</think>because", "because"),
    ],
)
def test_the_answer_is_what_follows_the_reasoning(before: str, text: str, answer: str) -> None:
    start, end = answer_span(text, (THINK,), before)
    assert text[start:end] == answer
    assert end == len(text)


@pytest.mark.parametrize("marks", [*KNOWN, THOUGHT, ("Thoughts:", "Reply:"), ("¦", "¡")])
def test_any_pair_of_marks_stands_around_reasoning(marks: Marks) -> None:
    opening, closing = marks
    text = f"{opening}why, oh why{closing}\n\nbecause"
    start, end = answer_span(text, [THINK, marks])
    assert text[start:end] == "because"
    if marks != THINK:
        assert answer_span(text, [THINK]) == (0, len(text))


@pytest.mark.parametrize(("text", "answer"), [
    ("why</think>\nbecause", "because"),  # the prompt may have opened it
    ("[THINK]why[/THINK]because", "because"),
    ("why</seed:think>because", "because"),
    ("<|channel|>final<|message|>because", "because"),
    ("<|channel|>analysis<|message|>why<|end|><|start|>assistant<|channel|>final<|message|>because", "because"),
    ("<reasoning>is a tag that a prompt may ask for</reasoning>", None),
    ("  because", None),
])  # fmt: skip
def test_a_given_response_is_read_without_its_prompt(text: str, answer: str | None) -> None:
    start, end = given_answer_span(text)
    assert text[start:end] == (text if answer is None else answer)


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("marks", [
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<reasoning>", "</reasoning>"),
    ("<|think|>", "<|/think|>"),
    ("<|think|>", "</|think|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel>", "<channel|>"),
    THOUGHT,
])  # fmt: skip
def test_marks_are_found_among_the_tokens(marks: Marks, special: bool) -> None:
    assert reasoning_marks(byte_level(*marks, special=special)) == (THINK, marks)


@pytest.mark.parametrize("marks", [("<thinking>", "</thinking>"), ("[THINK]", "[/THINK]"), THOUGHT, HARMONY])
def test_marks_are_found_in_the_chat_template(marks: Marks) -> None:
    template = f"{{{{ messages[0].content }}}}{{{{ '{marks[0]}\\n' }}}}{{% if m %}}{{{{ '{marks[1]}' }}}}{{% endif %}}"
    assert marks in reasoning_marks(byte_level(template=template))


def test_marks_of_several_tokens_are_found_among_the_tokens() -> None:
    assert HARMONY in reasoning_marks(byte_level("<|channel|>", "<|message|>"))


@pytest.mark.parametrize("tokens", [(), ("<reasoning>",), ("<|reasoning_effort|>", "<|end|>"), ("think", "thinks")])
def test_what_does_not_close_is_no_pair(tokens: tuple[str, ...]) -> None:
    assert reasoning_marks(byte_level(*tokens)) == (THINK,)


def test_configured_marks_are_used_without_the_white_space_around_them() -> None:
    assert checked_marks(None) is None
    assert checked_marks([]) == ()
    assert checked_marks([["Thoughts:\n", " Reply:"]]) == (("Thoughts:", "Reply:"),)


@pytest.mark.parametrize("marks", [[["<a>"]], [["<a>", " "]], [["<a>", "<a> "]], [["<a>", "<b>", "<c>"]]])
def test_what_is_no_pair_is_refused(marks: list[list[str]]) -> None:
    with pytest.raises(ValueError, match=r"rollout\.reasoning needs pairs .* such as \[\['<think>', "):
        checked_marks(marks)
