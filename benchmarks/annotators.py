"""An annotator that is a script behind a real HTTP server: what an able model would quote, by simple string logic."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rtt_lightning.datamodules.records import read_judged

FENCED = re.compile(r"^(~{8,})\n(.*?)\n\1$", re.DOTALL | re.MULTILINE)
QUOTED = re.compile(r"'([^']+)'|\"([^\"]+)\"")
FORBIDS = re.compile(r"\b(do not|avoid|without|no word)\b", re.IGNORECASE)
MARKS = {"exclamation": "!", "question": "?", "comma": ","}


def without_labels(file: Path, output: Path) -> Path:
    """The same responses and verdicts, whose criteria nobody but an annotator can label; without undecided ones."""
    rows = []
    for item in read_judged(file):
        criteria = [
            {"text": criterion.text, "checker": "judge", "met": verdict.met}
            for criterion, verdict in item.decisions
            if verdict.met is not None
        ]
        prompt = {"id": item.sample.id, "messages": list(item.sample.messages)}
        rows.append(json.dumps({**prompt, "response": item.rollout.answer, "criteria": criteria}))
    output.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return output


@contextmanager
def scripted_annotator() -> Iterator[str]:
    """Its URL, up to ``/v1``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()


def labels(response: str, criteria: list[str]) -> list[dict[str, Any]]:
    """One for each criterion, with its verdict in brackets behind it."""
    return [_label(number, text, response) for number, text in enumerate(criteria, start=1)]


def _label(number: int, text: str, response: str) -> dict[str, Any]:
    forbids = FORBIDS.search(text) is not None
    met = not re.search(r"\[(?:not met|unmet)\]", text)
    patterns = [re.escape(one or other) for one, other in QUOTED.findall(text)]
    patterns += [re.escape(mark) for name, mark in MARKS.items() if name in text.lower() and not patterns]
    if re.search(r"\bnumber\b", text):
        patterns = [r"\d+"]
    if re.search(r"complete sentence|last sentence", text):
        patterns = [r"[.!?]+(?=\W*\Z)"]
    found = [match[0] for pattern in patterns for match in re.finditer(pattern, response, re.IGNORECASE)]
    return {
        "criterion": number,
        "reason": "a script",
        "scope": "local" if patterns else "global",
        "polarity": "negative" if forbids else "positive",
        "segments": list(dict.fromkeys(found)) if patterns and met != forbids else [],
    }


class _Answers(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        texts = [message["content"] for message in request["messages"]]
        said = next(text for text in texts if FENCED.search(text))  # asked again, it answers the same
        (_, _), (_, response) = (match.groups() for match in list(FENCED.finditer(said))[:2])
        asked = re.findall(r"^\d+\. (.*)$", said[said.rfind("~~~~~~~~") :], re.MULTILINE)
        content = json.dumps({"labels": labels(response, asked)})
        reply = {
            "choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": len(said) // 4, "completion_tokens": len(content) // 4},
        }
        body = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""
