"""Reasoning: the marks around it, and where the answer after it begins."""

import re
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from rtt_lightning.types import Marks, Span
from rtt_lightning.types.errors import UserError

THINK: Marks = ("<think>", "</think>")
KNOWN: tuple[Marks, ...] = (
    THINK,  # DeepSeek, Qwen, GLM and most others
    ("[THINK]", "[/THINK]"),  # Mistral
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Cohere
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss
    ("<|channel|>commentary<|message|>", "<|channel|>final<|message|>"),
    ("<|channel>", "<channel|>"),  # Gemma 4
    ("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    ("◁think▷", "◁/think▷"),  # Kimi
)
"""Marks without another meaning, so that text alone identifies them."""

OPENS = re.compile("think|thought|reason", re.IGNORECASE)
TAG = re.compile(r"""[<\[◁][^\s<>\[\]◁▷'"{}]{3,40}[>\]▷]""")
"""A mark as a template writes it, or a part of one."""
COUNTERPARTS = (("begin", "end"), ("start", "end"), ("open", "close"), ("prefix", "suffix"))


def reasoning_marks(tokenizer: PreTrainedTokenizerBase) -> tuple[Marks, ...]:
    """Pairs of marks that a model puts around its reasoning: ``<think>`` always, and those in its tokens and template.

    These are known pairs, and any opening and closing tokens or tags that are named after thinking:
    ``<reasoning>`` with ``</reasoning>``, ``<|begin_of_thought|>`` with ``<|end_of_thought|>``.
    """
    template = str(tokenizer.chat_template or "")
    tokens = {token.content for token in tokenizer.added_tokens_decoder.values()}
    names = tokens | set(TAG.findall(template))
    known = [pair for pair in KNOWN if all(_has(mark, template, tokens) for mark in pair)]
    named = [(name, end) for name in sorted(names) if OPENS.search(name) for end in _closings(name) & names]
    return tuple(dict.fromkeys([THINK, *known, *named]))


def _has(mark: str, template: str, tokens: set[str]) -> bool:
    """Whether the template writes a mark, or all of its tags are tokens."""
    return mark in template or mark in tokens or (bool(parts := TAG.findall(mark)) and tokens.issuperset(parts))


def _closings(opening: str) -> set[str]:
    """Marks that could close an opening one."""
    found = {re.sub(r"^\W+", lambda bracket: f"{bracket[0]}/", opening)}  # <think>, [THINK]; <|think|> with <|/think|>
    found |= {opening[0] + "/" + opening[1:]}  # <|think|> with </|think|>
    pairs = [*COUNTERPARTS, *((begins.upper(), ends.upper()) for begins, ends in COUNTERPARTS)]
    return (found | {opening.replace(begins, ends, 1) for begins, ends in pairs}) - {opening}


def answer_span(text: str, marks: Sequence[Marks] = (THINK,), before: str = "") -> Span:
    """The part of a response that verifiers see: what follows reasoning and white space.

    All of the text without reasoning; nothing if reasoning never ends. Reasoning starts at the beginning of a response
    or the end of its prompt: a closing mark without an opening one hides only itself.

    Args:
        text: A response.
        marks: Pairs of marks around reasoning.
        before: The mark that the prompt ends with, as some chat templates have it; empty for none.
    """
    whole, start = before + text, 0
    while pair := next((pair for pair in marks if whole[start:].lstrip().startswith(pair)), None):
        _, found, rest = whole[start:].partition(pair[1])
        if not found:
            return len(text), len(text)
        start = len(whole) - len(rest.lstrip())
    return max(0, start - len(before)), len(text)


def given_answer_span(text: str, marks: Sequence[Marks] = KNOWN) -> Span:
    """`answer_span` if the prompt is unknown: it may have opened the reasoning that this response closes."""
    return answer_span(text, marks, next((opening for opening, closing in marks if closing in text), ""))


def checked_marks(marks: Sequence[Sequence[str]] | None) -> tuple[Marks, ...] | None:
    """Pairs of marks as configured, stripped of white space; ``None`` to find them in the model.

    Raises:
        UserError: If they are not pairs of two different texts.
    """
    if marks is None:
        return None
    pairs = [tuple(mark.strip() for mark in pair) for pair in marks]
    for pair in pairs:
        if len(pair) != 2 or not all(pair) or pair[0] == pair[1]:
            raise UserError(
                "rollout.reasoning needs pairs of what opens and what closes the reasoning, such as "
                f"[['<think>', '</think>']], got {list(pair)}"
            )
    return tuple((opening, closing) for opening, closing in pairs)
