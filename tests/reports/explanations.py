"""Explained responses whose texts are hostile, for the page and its test in a browser."""

from dataclasses import replace

from rtt_lightning.rollout.explained import Explained
from rtt_lightning.types import JudgedRollout, Verdict

HOSTILE = (
    "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'><!--<script>"
    "\u2028\u202egnp\u2066 \ud800 {{data}} ${hacked} \\u003c &lt;"
)


def explained(item: JudgedRollout, row: int, relevance: tuple[tuple[float, ...], ...], *advantages: float) -> Explained:
    reasons = tuple(replace(verdict, reason=f"reason {HOSTILE}") for verdict in item.verdicts)
    item = replace(item, verdicts=reasons, relevance=relevance, advantages=advantages or None)
    return Explained(row, item, "as recorded", "as recorded" if advantages else "unknown")


def examples(judge) -> list[Explained]:
    """A hostile response, one in Arabic, and a Chinese one without advantages."""
    offsets = ((0, 3), (3, 6), (6, 7), (6, 7), (7, 7 + len(HOSTILE)), (7 + len(HOSTILE), 7 + len(HOSTILE)))
    text = f"Tea is🍵{HOSTILE}"
    first = judge("a", text, [True, False, None], weights=(1.0, 1.0, -2.0), offsets=offsets, words=HOSTILE)
    relevance = ((0.9, 0.1234, 0.0, 0.5, 0.0, 0.0), (0.2, 0.8, 0.8, 0.8, 0.8, 0.0), (0.0,) * 6)
    arabic = judge("ar", "الشاي لذيذ", [True], offsets=((0, 5), (5, 10)), sample_index=1)
    chinese = judge("zh", "我喜欢茶", [False])
    return [
        explained(first, 1, relevance, 1.5, -0.25, 0.0, 0.5, float("nan"), -0.1),
        explained(arabic, 2, ((1.0, 0.0),), 0.5, -0.5),
        explained(chinese, 7, ((0.0, 0.0, 0.0, 1.0),)),
    ]


def long_response(judge, tokens: int, criteria: int) -> Explained:
    """Numbers with many digits, in words of two characters."""
    item = judge("long", "a " * tokens, [True] * criteria, offsets=[(2 * n, 2 * n + 2) for n in range(tokens)])
    values = tuple((n * 0.6180339887) % 1 for n in range(tokens))
    item = replace(item, verdicts=tuple(Verdict(True, "") for _ in item.verdicts))
    return explained(item, 1, (values,) * criteria, *(value - 0.5 for value in values))
