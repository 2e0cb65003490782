"""Weight transfer to a server that does not do its part; `test_vllm_server` has real servers that do."""

import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import torch

from rtt_lightning.engines.vllm.nccl_handover import NCCLHandover
from tests.engines.vllm import cpu_communicator


class Absent(BaseHTTPRequestHandler):
    """Says that it will join the group, and never does."""

    def do_GET(self) -> None:
        self._answer({"world_size": 1})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({})

    def _answer(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Absent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_server_that_never_joins_is_left_out_after_the_deadline(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert importlib.util.find_spec("vllm"), "vLLM is missing; run the tests with `make test`"
    cpu_communicator.register(monkeypatch.setattr)
    weights = {"norm.weight": torch.ones(4)}
    failures = NCCLHandover("127.0.0.1").send(lambda: iter(weights.items()), [url], "1", 1.0)
    assert failures == {url: "TimeoutError: not done within 1 seconds"}
