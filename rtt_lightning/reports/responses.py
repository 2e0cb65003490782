"""The parts of the report that show responses: held-out ones side by side, training ones with coloured tokens."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from rtt_lightning.datamodules.records import read_judged
from rtt_lightning.reports.markup import NOT_RECORDED, Paint, paint_tokens, section
from rtt_lightning.types import Criterion, JudgedRollout, Verdict

SAMPLES = 8
"""Held-out prompts shown."""
WINDOW_PROMPTS, WINDOW_RESPONSES = 3, 2
"""Prompts of a training window shown, and responses of each."""
MARKS = {
    True: '<span class="met" title="as desired">✓</span>',
    False: '<span class="unmet" title="not as desired">✗</span>',
    None: '<span class="open" title="unscorable">?</span>',
}
FULL_COLOUR = 0.98
"""Quantile of absolute advantages at which the colour is full, so that one outlier does not pale the rest."""


def samples_section(before: Sequence[JudgedRollout], after: Sequence[JudgedRollout]) -> str:
    """The same held-out prompts before and after, with verdicts."""
    old, new = _by_prompt(before), _by_prompt(after)
    prompts = [prompt for prompt in old if prompt in new]
    count = min(SAMPLES, len(prompts))
    shown = [prompts[number * len(prompts) // count] for number in range(count)]
    note = (
        f"{len(shown)} of {len(prompts)} held-out prompts, at even distances in the file and not chosen by result. "
        "✓ as desired, ✗ not, ? unscorable."
    )
    cards = []
    for prompt in shown:
        sides = "".join(
            f'<div><p class="note">{when}, {len(item.rollout.response_ids)} tokens{_cut(item)}</p>'
            f'{_verdicts(item)}<div class="text">{escape(item.rollout.text)}</div></div>'
            for when, item in (("Before", old[prompt][0]), ("After", new[prompt][0]))
        )
        heading = f'<p class="label">{escape(old[prompt][0].sample.asked)}</p>'
        cards.append(f'<div class="card">{heading}<div class="pair">{sides}</div></div>')
    return section("Responses to held-out prompts", note, "\n".join(cards))


def tokens_section(window: Path | None) -> str:
    """Responses of a training window, coloured by relevance to each criterion and by advantage."""
    title = "What each token is taught"
    intro = (
        "A training response, once per criterion and once with what the loss used. Relevance says how much a token "
        "decides a criterion; the advantage says whether the token is made likelier (blue) or less likely (orange). "
        "Point at a token for its value."
    )
    items = [] if window is None else [item for item in read_judged(window) if item.advantages is not None]
    if window is None or not items:
        return section(title, intro, NOT_RECORDED)
    prompts = list(_by_prompt(items).values())[:WINDOW_PROMPTS]
    shown = [item for group in prompts for item in group[:WINDOW_RESPONSES]]
    sizes = sorted(abs(value) for item in shown for value in item.advantages or ())
    bound = (sizes[int(FULL_COLOUR * (len(sizes) - 1))] if sizes else 0.0) or 1.0
    legend = (
        '<div class="legend note"><span>relevance 0</span><i class="sequential"></i><span>1</span></div>'
        f'<div class="legend note"><span>advantage ≤ −{bound:.2f}</span><i class="diverging"></i>'
        f"<span>≥ +{bound:.2f}</span></div>"
        '<div class="note">∎ a token without text, such as end of sequence</div>'
    )
    note = (
        f"{intro} Last recorded window, {window.stem}: {len(shown)} of its {len(items)} responses, "
        f"the first {WINDOW_RESPONSES} of each of the first {WINDOW_PROMPTS} prompts."
    )
    return section(title, note, f'<div class="card">{legend}</div>\n' + "\n".join(_token_card(i, bound) for i in shown))


def _token_card(item: JudgedRollout, bound: float) -> str:
    def relevance(value: float) -> tuple[str, float]:
        return "r", value

    def advantage(value: float) -> tuple[str, float]:
        return ("p" if value >= 0 else "n"), abs(value) / bound

    criteria = zip(item.decisions, item.relevance or (), strict=False)
    rows = [_row(_criterion(*decision), item, values, relevance, ".2f") for decision, values in criteria]
    rows += [_row("Advantage", item, item.advantages or (), advantage, "+.2f")]
    heading = f'{escape(item.sample.asked)} <span class="quiet">response {item.rollout.sample_index}{_cut(item)}</span>'
    return f'<details class="card" open><summary>{heading}</summary>{"".join(rows)}</details>'


def _row(label: str, item: JudgedRollout, values: Sequence[float], paint: Paint, form: str) -> str:
    return f'<p class="label">{label}</p>{paint_tokens(item.rollout.text, item.rollout.offsets, values, paint, form)}'


def _by_prompt(items: Sequence[JudgedRollout]) -> dict[str, list[JudgedRollout]]:
    groups: dict[str, list[JudgedRollout]] = {}
    for item in items:
        groups.setdefault(item.sample.id, []).append(item)
    return groups


def _verdicts(item: JudgedRollout) -> str:
    lines = (f"<li>{_criterion(criterion, verdict)}</li>" for criterion, verdict in item.decisions)
    return f'<ul class="verdicts">{"".join(lines)}</ul>'


def _criterion(criterion: Criterion, verdict: Verdict) -> str:
    """The criterion behind its mark; its weight is said, since ✓ means "not met" where that is negative."""
    return f"{MARKS[verdict.as_desired(criterion)]} {escape(criterion.label)}"


def _cut(item: JudgedRollout) -> str:
    return ", cut off at the token limit" if item.rollout.finish_reason == "length" else ""
