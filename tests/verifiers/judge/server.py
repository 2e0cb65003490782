"""A judge over real HTTP: it knows whether a word occurs in a response, and stumbles as it is told to.

Criteria are of the form ``Mention WORD.``, ``Avoid WORD.``, or anything else for a global one, which is met; the
response is what stands between the second pair of fences. Asked by the annotator's prompt, or by that of a judge with
evidence, it quotes the word wherever it is; asked to break the first criterion, it removes or adds the word.
"""

import json
import multiprocessing
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any

from rtt_lightning.runtime.servers import client

KEY = "sk-a-secret-of-the-tests"
MALFORMED = (
    "I know that it is not so.",
    '{"verdicts": [{"criterion": 1, "reason": "well", "met": "maybe"}]}',
    '{"verdicts": [{"criterion": 1, "reason": "cut off", "me',
    '{"verdicts": [{"criterion": 2, "reason": "of another", "met": true}]}',
    '{"verdicts": [{"criterion": 1, "reason": "a", "met": true}, {"criterion": 1, "reason": "b", "met": false}]}',
    '<think>{"verdicts": [{"criterion": 1, "reason": "so far", "met": true}]}',
    "",
)


@dataclass(frozen=True)
class Behaviour:
    """How the judge answers.

    Attributes:
        latency: Seconds before a reply.
        too_many: Share of calls that get a 429 with Retry-After 0.05.
        broken: Share of calls that get a 500.
        slow: Share of calls that get no reply within ``hang`` seconds.
        malformed: Share of calls that get a reply of `MALFORMED`.
        hang: Seconds.
        status: Of every answer.
        structured: Whether a JSON schema may be asked for.
        finish_reason: Of every reply.
        body: Sent in place of every reply.
        refuses: Fields of requests, or texts in them, that it does not take.
        refusal: Status of what it answers then.
        words: What it says then, as a message or a whole body; ``{field}`` is what it does not take.
        dies_after: Calls after which connections are cut; none if 0.
        misquotes: Words for which it quotes what no response says.
        relents: Whether it quotes them rightly after it was corrected.
    """

    latency: float = 0.0
    too_many: float = 0.0
    broken: float = 0.0
    slow: float = 0.0
    malformed: float = 0.0
    hang: float = 3.0
    status: int = 200
    structured: bool = True
    finish_reason: str = "stop"
    body: str = ""
    refuses: tuple[str, ...] = ()
    refusal: int = 400
    words: Any = ""
    dies_after: int = 0
    misquotes: tuple[str, ...] = ()
    relents: bool = False


@dataclass
class Seen:
    """What the server has seen; as JSON under ``/seen``."""

    calls: int = 0
    replies: int = 0
    running: int = 0
    most_running: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    bodies: list[Any] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


def truth(response: str, criterion: str) -> bool:
    """Whether the word that a criterion asks for occurs."""
    word = re.fullmatch(r"(Mention|Avoid) (\w+)\.", criterion)
    assert word is not None, criterion
    return (word[2].lower() in response.lower()) == (word[1] == "Mention")


def evidence(response: str, criterion: str, wrong: tuple[str, ...] = ()) -> dict[str, Any]:
    """Where the word of a criterion occurs; for a word of ``wrong`` a piece that the response does not have."""
    word = re.search(r"(Mention|Avoid) (\w+)\.", criterion)
    if word is None:
        return {"scope": "global", "polarity": "positive", "segments": []}
    quoted = ["word for word"] if word[2] in wrong else [*dict.fromkeys(re.findall(word[2], response, re.IGNORECASE))]
    return {"scope": "local", "polarity": "positive" if word[1] == "Mention" else "negative", "segments": quoted}


@contextmanager
def judge_server(**behaviour: Any) -> Iterator[str]:
    """The address of a server in a process of its own, up to ``/v1``."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(there, Behaviour(**behaviour)), daemon=True
    )
    process.start()
    try:
        assert here.poll(60)
        yield f"http://127.0.0.1:{here.recv()}/v1"
    finally:
        process.kill()
        process.join()


def seen(url: str) -> Seen:
    with client(url, 5.0) as http:
        return Seen(**http.get(f"{url}/seen").json())


def _serve(connection: Connection, behaviour: Behaviour) -> None:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.behaviour, server.seen = behaviour, Seen()
    server.lock, server.random = threading.Lock(), random.Random(0)
    connection.send(server.server_address[1])
    server.serve_forever()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512
    behaviour: Behaviour
    seen: Seen
    lock: threading.Lock
    random: random.Random


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(200, self.server.seen.__dict__)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        does, has = self.server.behaviour, self.server.seen
        with self.server.lock:
            has.calls += 1
            has.running += 1
            has.most_running = max(has.running, has.most_running)
            has.bodies.append(body)
            has.times.append(time.monotonic())
            dead = 0 < does.dies_after < has.calls
            draw, malformed = self.server.random.random(), self.server.random.choice(MALFORMED)
        try:
            if dead:
                self.close_connection = True
                self.connection.close()
                return
            time.sleep(does.latency)
            self._reply(body, draw, malformed)
        finally:
            with self.server.lock:
                has.running -= 1

    def _reply(self, body: dict[str, Any], draw: float, malformed: str) -> None:
        does = self.server.behaviour
        if does.body:
            return self._send(does.status, does.body.encode(), {})
        if does.status != 200:
            return self._answer(does.status, {"error": {"message": f"no, {KEY}"}})
        for name in does.refuses:
            if name in body or name in body["messages"][-1]["content"]:
                said = does.words
                said = {"error": {"message": said.format(field=name)}} if isinstance(said, str) else said
                return self._answer(does.refusal, said)
        if "response_format" in body and not does.structured:
            return self._answer(400, {"error": {"message": "response_format is not supported"}})
        for share, status in ((does.too_many, 429), (does.broken, 500)):
            if draw < share:
                return self._answer(status, {"error": {"message": "later"}}, {"Retry-After": "0.05"})
            draw -= share
        if draw < does.slow:
            return time.sleep(does.hang)
        content = malformed if draw - does.slow < does.malformed else _replied(body["messages"], does)
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        with self.server.lock:
            self.server.seen.replies += 1
            self.server.seen.prompt_tokens += 100
            self.server.seen.completion_tokens += 10
        message = {"role": "assistant", "content": content}
        choice = {"index": 0, "message": message, "finish_reason": does.finish_reason}
        return self._answer(
            200,
            {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage},
        )

    def _answer(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), headers or {})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        try:
            self.send_response(status)
            for name, text in ({"Content-Type": "application/json"} | headers).items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:  # whoever asked has gone
            self.close_connection = True


def _replied(messages: list[dict[str, str]], does: Behaviour) -> str:
    system, question = (message["content"] for message in messages[:2])
    wrong = () if does.relents and len(messages) > 2 else does.misquotes
    fence = max(re.findall("^~{8,}$", question, re.MULTILINE), key=len)
    parts = question.split(f"\n{fence}\n")
    response, criteria = parts[3], re.findall(r"^\d+\. (.*)$", parts[4], re.MULTILINE)
    reasons = [{"criterion": n, "reason": f"it says {response[:40]!r}"} for n in range(1, len(criteria) + 1)]
    if '"labels"' in system:
        labels = [reason | evidence(response, text, wrong) for reason, text in zip(reasons, criteria, strict=True)]
        return json.dumps({"labels": labels})
    if '"edits"' in system:  # a word that must be there goes, one that must not comes before the first
        word, first = re.search(r"(\w+)\.$", criteria[0]), response.split()[0]
        new = {"find": word[1], "replace": "X"} if word and "Avoid" not in criteria[0] else None
        new = new or {"find": first, "replace": f"{word[1] if word else 'X'} {first}"}
        return json.dumps({"edits": [reasons[0] | {"replacements": [new]}]})
    verdicts = [reason | {"met": truth(response, text)} for reason, text in zip(reasons, criteria, strict=True)]
    if '"segments"' in system:
        verdicts = [said | evidence(response, text, wrong) for said, text in zip(verdicts, criteria, strict=True)]
    return json.dumps({"verdicts": verdicts})
