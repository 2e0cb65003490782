"""Responses whose characters or tokens are labelled, for a discriminator: ``criteria``, ``response``, and
``char_labels`` or ``token_labels``.
"""

import hashlib
import json
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rtt_lightning.datamodules.adapters.base import Adapter, Row, parsed_field, turns
from rtt_lightning.runtime.terminal import counted
from rtt_lightning.types import Span
from rtt_lightning.types.errors import UserError

LABELS = ("char_labels", "token_labels")
VERDICTS = ("met", "verdict", "label")
PROMPTS = ("prompt", "messages")


class Labels(Adapter):
    """A row has one criterion, a sentence under ``criteria``, or a list of them; then labels and verdicts are lists
    with an entry for each.

    ``char_labels`` has 0 or 1 for each character of ``response``, ``token_labels`` for each of its tokens. Tokens are
    found by ``offsets`` in the row ([start, end] of each in the response), by ``tokens`` there (their texts, which
    together are the response), or else by the tokenizer that made the labels.

    Whether the criterion is met is under one of `VERDICTS`, 0 or 1; without it that stays unknown, which a
    discriminator does not mind. A row without ``prompt`` and ``messages`` has its criteria as the prompt.

    Args:
        tokenizer: Folder or hub name, for rows with neither ``offsets`` nor ``tokens``.
    """

    def __init__(self, tokenizer: str | None = None) -> None:
        self.tokenizer = tokenizer

    def __call__(self, row: Row) -> Row:
        name = next((name for name in LABELS if row.get(name) is not None), None)
        if name is None:
            raise KeyError("` or `".join(LABELS))
        response, labels = parsed_field(row, "response", str), parsed_field(row, name, list)
        verdict = next((row[name] for name in VERDICTS if row.get(name) is not None), None)
        offsets = [(i, i + 1) for i in range(len(response))] if name == "char_labels" else self._offsets(row, response)
        if isinstance(row["criteria"], str):
            texts, marks, verdicts = [row["criteria"]], [labels], [verdict]
        else:
            texts, marks = row["criteria"], labels
            verdicts = [None] * len(texts) if verdict is None else verdict
        if not (isinstance(verdicts, list) and len(texts) == len(marks) == len(verdicts)):
            raise UserError(
                f"field `criteria` has {len(texts)} entries, `{name}` {len(marks)}, and the verdicts are "
                f"{verdicts!r:.80}; give each criterion its own labels, and its own verdict if there are any"
            )
        criteria = [
            {"text": text, "met": _truth(met), "spans": _runs(mark, offsets, name), "spans_by": "labels"}
            for text, mark, met in zip(texts, marks, verdicts, strict=True)
        ]
        asked = turns(row) if any(name in row for name in PROMPTS) else {"prompt": "\n".join(map(str, texts))}
        # Rows of one response, each with a criterion, belong together: they have one id.
        prompt = hashlib.sha256(json.dumps([asked if any(name in row for name in PROMPTS) else response]).encode())
        return {"id": row.get("id") or prompt.hexdigest()[:16], **asked, "criteria": criteria, "response": response}

    def _offsets(self, row: Row, response: str) -> list[Span]:
        """The characters of each token."""
        if row.get("offsets") is not None:
            return [_span(entry, len(response)) for entry in parsed_field(row, "offsets", list)]
        if row.get("tokens") is not None:
            return _placed([str(token) for token in parsed_field(row, "tokens", list)], response)
        if self.tokenizer is None:
            raise UserError(
                "field `token_labels` is there without the tokens: add `tokens` or `offsets` to the rows, or name the "
                f"tokenizer: data.format.class_path {__name__}.Labels, data.format.init_args.tokenizer FOLDER"
            )
        from rtt_lightning.lm.tokenizers import TokenBytes, load_tokenizer  # slow to import

        tokenizer = load_tokenizer(self.tokenizer)
        text, offsets = TokenBytes(tokenizer).decode(tokenizer(response, add_special_tokens=False)["input_ids"])
        if text != response:
            raise UserError(
                f"field `response` is changed by the tokenizer of {self.tokenizer}, to {text!r:.80}; add `offsets` to "
                "the rows"
            )
        return [*offsets]


def _span(entry: Any, length: int) -> Span:
    pair = isinstance(entry, list | tuple) and len(entry) == 2 and all(type(bound) is int for bound in entry)
    if not (pair and 0 <= entry[0] <= entry[1] <= length):
        raise UserError(
            f"field `offsets` must have [start, end] of each token within the {length} characters of `response`, "
            f"got {entry!r:.80}"
        )
    return entry[0], entry[1]


def _placed(tokens: Sequence[str], response: str) -> list[Span]:
    found, start = list[Span](), 0
    for token in tokens:
        if not response.startswith(token, start):
            break
        found.append((start, start + len(token)))
        start += len(token)
    if len(found) < len(tokens) or start < len(response):
        got = repr(tokens[len(found)]) if len(found) < len(tokens) else "no token"
        raise UserError(
            "field `tokens` must be the texts of all tokens of `response`, with their spaces; after "
            f"{counted(start, 'character')} that goes on {response[start : start + 20]!r}, got {got:.80}"
        )
    return found


def _runs(labels: Any, offsets: Sequence[Span], name: str) -> list[Span]:
    """The characters from the first to the last of each run of tokens with a 1."""
    if not isinstance(labels, list | tuple) or len(labels) != len(offsets):
        got = f"{len(labels)} of them" if isinstance(labels, list | tuple) else repr(labels)
        unit = "character" if name == "char_labels" else "token"
        raise UserError(
            f"field `{name}` must have a 0 or 1 for each {unit} of `response`, {len(offsets)} in all, got {got:.80}; "
            "leave out those of prompt, special tokens and padding"
        )
    wrong = next((label for label in labels if label not in (0, 1)), None)
    if wrong is not None:
        raise UserError(f"field `{name}` must have 0 or 1 for each, got {wrong!r:.80}; choose a threshold for others")
    runs = (
        [span for _, span in run]
        for one, run in groupby(zip(labels, offsets, strict=True), key=lambda pair: pair[0])
        if one
    )
    return [(run[0][0], run[-1][1]) for run in runs]


def _truth(value: Any) -> bool | None:
    if value not in (None, 0, 1):
        raise UserError(f"field `{'` or `'.join(VERDICTS)}` must be 0, 1 or null, got {value!r:.80}")
    return None if value is None else bool(value)
