"""How an answer begins and ends: met, not met, or in doubt where readers would differ; and what decides it."""

from typing import Any

import pytest

from rtt_lightning.types import Criterion
from rtt_lightning.verifiers.rules.checkers import Checkers

CASES: list[tuple[str, dict[str, Any], str, bool | None, list[str] | None]] = [
    # kind, arguments, answer, verdict, what decides it
    ("title", {}, "<<  >>\nText", False, []),
    ("title", {}, "<<\u00a0>> <<\u200b>> <<>>", False, []),
    ("title", {}, "<<  >> << Tea >>", True, ["<< Tea >>"]),
    ("title", {}, "<<Tea\u2028time>>", False, []),
    ("postscript", {}, "Bye. P.S. Write soon", True, ["P.S."]),
    ("postscript", {}, "Bye.\r\n\r\n**P.S.** Write soon", True, ["P.S."]),
    ("postscript", {}, "Bye.\nP.S. Write", True, ["P.S."]),
    ("postscript", {}, "P.S. is short for postscript. Tea is nice.\n\nBest wishes", None, None),
    ("postscript", {}, "P.S. Hello", None, None),
    ("postscript", {}, "I put a P.S. here", None, None),
    ("postscript", {}, "Bye. p.s. Write", None, None),
    ("postscript", {}, "Bye.\n\nPS: write", None, None),
    ("postscript", {}, "Bye. P.S.", False, []),
    ("postscript", {}, "Bye. **P.S.**", False, []),
    ("quoted", {}, ' "Tea\nis nice."', True, ['"', '"']),
    ("quoted", {}, "“Tea”", True, ["“", "”"]),
    ("quoted", {}, '"Tea," she said. "Buy some." He said "no"', None, None),
    ("quoted", {}, "“Tea” and “milk”", None, None),
    ("quoted", {}, '**"Tea"**', None, None),
    ("quoted", {}, '"Tea".', None, None),
    ("quoted", {}, "„Tea“", None, None),
    ("quoted", {}, '"Some" of it', False, []),
    ("quoted", {}, '"  "', False, []),
    ("quoted", {}, '"', False, []),
    ("end_with", {"phrase": "the end"}, "I slept. (The end.)", True, ["The end"]),
    ("end_with", {"phrase": "the end"}, "_The end_", True, ["The end"]),
    ("end_with", {"phrase": "the end"}, "`the\u00a0end`\r\n", True, ["the\u00a0end"]),
    ("end_with", {"phrase": "the end"}, "«The end…»", True, ["The end"]),
    ("end_with", {"phrase": "the end"}, "The end 🙂", None, None),
    ("end_with", {"phrase": "the end"}, "The **end**", None, None),
    ("end_with", {"phrase": "the end"}, "the end of it", False, []),
    ("end_with", {"phrase": "the end"}, "bathe end", False, []),
    ("end_with", {"phrase": "राम"}, "रामा", False, []),
    ("start_with", {"phrase": "Long ago"}, "\u00a0long  ago, owls", True, ["long  ago"]),
    ("start_with", {"phrase": "Long ago"}, '"Long ago" it was', None, None),
    ("start_with", {"phrase": "Long ago"}, "# Long ago", None, None),
    ("start_with", {"phrase": "Long ago"}, "Ｌong ago", None, None),
    ("start_with", {"phrase": "Long ago"}, "Long agone", False, []),
    ("end_punctuation", {}, "_Tea is nice._", True, ["."]),
    ("end_punctuation", {}, "(Tea!) ", True, ["!"]),
    ("end_punctuation", {}, "[`Tea?`]\u2028", True, ["?"]),
    ("end_punctuation", {}, "茶。", True, ["。"]),
    ("end_punctuation", {}, 'She asked "who?".', True, ["."]),
    ("end_punctuation", {}, "Well...", None, None),
    ("end_punctuation", {}, "Well…", None, None),
    ("end_punctuation", {}, "Tea. 🙂", None, None),
    ("end_punctuation", {}, "Tea)", False, []),
]


@pytest.mark.parametrize(("kind", "kwargs", "answer", "met", "spans"), CASES)
def test_edges(kind: str, kwargs: dict[str, Any], answer: str, met: bool | None, spans: list[str] | None) -> None:
    verdict = Checkers({}).decide(Criterion("x", f"rtt:{kind}", kwargs), answer)
    found = None if verdict.spans is None else [answer[a:b] for a, b in verdict.spans]
    assert (verdict.met, found) == (met, spans), verdict.reason
