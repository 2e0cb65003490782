"""One self-contained HTML page that shows which tokens decide each criterion, and what credit they earn.

Texts of models and data stand in it as JSON, and its script writes them as text alone. Its Content-Security-Policy
allows this script and this style by their hashes, and nothing else: nothing is loaded, and nothing in a text can run.
"""

import json
import math
import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from rtt_lightning.reports.markup import STRONGEST, STYLE
from rtt_lightning.reports.pieces import TEXTLESS, Piece, decides, inside, pieces, said, threshold, visible
from rtt_lightning.reports.responses import FULL_COLOUR
from rtt_lightning.rollout.explained import Explained
from rtt_lightning.runtime.files import write_whole

MOST, MOST_NUMBERS = 20, 400_000
"""Responses of a page, and numbers in it, unless one response alone has more: about 2 MB."""
TEMPLATE, OWN_STYLE, SCRIPT = (Path(__file__).with_suffix(suffix) for suffix in (".html", ".css", ".js"))
"""The page without texts."""


def write_explanation(path: Path, explained: Sequence[Explained], source: str, total: int) -> Sequence[Explained]:
    """Write the page.

    Args:
        path: Its folder is created.
        explained: The first of them are shown, up to `MOST` and `MOST_NUMBERS`.
        source: Where they come from.
        total: Number of responses that could be chosen.

    Returns:
        Those that are shown.
    """
    shown = explained[:MOST]
    while len(shown) > 1 and sum(map(_numbers, shown)) > MOST_NUMBERS:
        shown = shown[:-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, _page(shown, source, total))
    return shown


def _numbers(each: Explained) -> int:
    return len(each.item.rollout.response_ids) * (len(each.item.verdicts) + 1)


def _page(shown: Sequence[Explained], source: str, total: int) -> str:
    style, script = STYLE + OWN_STYLE.read_text(encoding="utf-8"), SCRIPT.read_text(encoding="utf-8")
    data = {
        "source": visible(source),
        "leftOut": total - len(shown),
        "bound": _bound(shown),
        "strongest": STRONGEST,
        "responses": [_response(each) for each in shown],
    }
    parts = {
        "style": style,
        "script": script,
        "style hash": _hash(style),
        "script hash": _hash(script),
        "data": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),  # no text ends the element
    }
    # In one go: parts may hold braces as well.
    return re.sub(r"\{\{([a-z ]+)\}\}", lambda found: parts[found[1]], TEMPLATE.read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    """As a Content-Security-Policy names an element by what is in it."""
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _bound(shown: Sequence[Explained]) -> float:
    """The absolute advantage at which the colour is full."""
    values = (abs(value) for each in shown for value in each.item.advantages or ())
    sizes = sorted(value for value in values if math.isfinite(value))
    return (sizes[int(FULL_COLOUR * (len(sizes) - 1))] if sizes else 0.0) or 1.0


def _response(each: Explained) -> dict[str, Any]:
    """What the script reads of a response: its pieces, the text between them, and numbers in thousandths per piece."""
    item, rollout, shown = each.item, each.item.rollout, pieces(each.item.rollout)
    ends = [0, *(piece.end for piece in shown)]
    cut = ", cut off at the token limit" if rollout.finish_reason == "length" else ""
    return {
        "name": visible(f"row {each.row}, prompt {item.sample.id}, sample {rollout.sample_index}"),
        "desired": f"{item.as_desired.count(True)} of {len(item.verdicts)} as desired",
        "tokens": f"{len(rollout.response_ids)} tokens{cut}",
        "prompt": [[message["role"], visible(message["content"])] for message in item.sample.messages],
        "from": [f"Relevance: {each.relevance_from}.", f"Advantage: {each.advantages_from}."],
        "pieces": [visible(rollout.text[piece.start : piece.end]) or TEXTLESS for piece in shown],
        "gaps": {
            n: visible(rollout.text[ends[n] : piece.start]) for n, piece in enumerate(shown) if ends[n] < piece.start
        },
        "tail": visible(rollout.text[max(ends) :]),
        "outside": [n for n, piece in enumerate(shown) if not piece.inside],
        "several": {n: len(piece.tokens) for n, piece in enumerate(shown) if len(piece.tokens) > 1},
        "criteria": [_criterion(each, shown, number) for number in range(len(item.verdicts))],
        "advantages": None if item.advantages is None else _thousandths(shown, item.advantages),
    }


def _criterion(each: Explained, shown: Sequence[Piece], number: int) -> dict[str, Any]:
    criterion, verdict = each.item.sample.criteria[number], each.item.verdicts[number]
    values, desired = inside(each.item, number), verdict.as_desired(criterion)
    return {
        "text": visible(criterion.label),
        "said": said(criterion, verdict),
        "sign": 0 if desired is None else 1 if desired else -1,
        "decides": decides(values, verdict),
        "threshold": threshold(values),
        "p": _thousandths(shown, (each.item.relevance or ())[number]),
    }


def _thousandths(shown: Sequence[Piece], values: Sequence[float]) -> list[int | None]:
    """The mean of each piece; ``None`` if it is not finite."""
    means = (piece.mean(values) for piece in shown)
    return [round(1000 * mean) if math.isfinite(mean) else None for mean in means]
