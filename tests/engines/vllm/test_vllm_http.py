"""What is made of a vLLM server's answers, and of those that are none of its, over real HTTP."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from rtt_lightning.engines.vllm.http import ServerFailure, post, sample, wait_until_up, world_size
from rtt_lightning.engines.vllm.server import VLLMServerEngine
from rtt_lightning.runtime.servers import async_client
from tests.proxy import refusing_proxy

MODELS = {"data": [{"max_model_len": 64}]}
PAGE = "<html><title>Sign in</title></html>"


@contextmanager
def answering(*answers: tuple[int, Any]) -> Iterator[str]:
    """A server that gives these answers, one after the other; the last one again and again."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            status, body = left.pop(0) if len(left) > 1 else left[0]
            data = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_server_that_comes_up_behind_a_gateway_is_waited_for() -> None:
    with answering((503, PAGE), (502, ""), (200, MODELS), (200, {})) as url:
        assert wait_until_up(url, 30, lambda: None) == 64


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (
            [(200, MODELS), (404, {"detail": "Not Found"})],
            r"takes no new weights \(HTTP status 404 .*: Not Found\); start",
        ),
        ([(401, {"error": "Unauthorized"})], r"cannot be used: HTTP status 401 from /v1/models: Unauthorized$"),
        ([(200, PAGE)], r"cannot be used: no vLLM server answers at .*/v1/models, but says: a web page, 'Sign in'$"),
        ([(200, {"error": {"message": "no model is up"}})], "but says: no model is up$"),
        ([(200, {"data": [{"id": "gpt"}]})], "is not a vLLM server: it does not report max_model_len$"),
        ([(200, {"data": []})], "is not a vLLM server"),
        ([(400, {"error": {"message": "bad header"}})], "refused a request: bad header$"),
        ([(503, "starting")], "no vLLM server answers at .* after 0.1 seconds: HTTP status 503 .*: starting$"),
    ],
)
def test_what_is_wrong_is_said_in_the_server_s_words(answers: list[tuple[int, Any]], expected: str) -> None:
    with answering(*answers) as url, pytest.raises(ValueError, match=expected):
        wait_until_up(url, 0.1, lambda: None)


def test_other_routes_are_answered_in_words_as_well() -> None:
    async def sampled(url: str) -> None:
        async with async_client(url, timeout=5.0) as http:
            await sample(http, url, {}, "1")

    with answering((200, {"error": {"message": "engine is dead"}})) as url:
        with pytest.raises(ServerFailure, match="but says: engine is dead"):
            world_size(url)
        with start_blocking_portal() as portal, pytest.raises(ServerFailure, match="but says: engine is dead"):
            portal.call(sampled, url)
    with answering((200, {"success": False})) as url, pytest.raises(ServerFailure, match="did not succeed"):
        post(url, "reset_prefix_cache", {}, 5.0)
    with pytest.raises(ServerFailure, match="Connection refused"):
        world_size(url)


def test_loopback_is_not_asked_through_a_proxy_and_elsewhere_the_proxy_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with refusing_proxy() as (proxy, asked), answering((200, MODELS)) as url:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert wait_until_up(url, 1, lambda: None) == 64
        assert asked == []
        with pytest.raises(ValueError, match=r"403 .*a web page, 'Blocked by the company' \(through .* of http_proxy"):
            wait_until_up("http://node.example:8000", 1, lambda: None)
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(ValueError, match="pip install socksio"):
        wait_until_up("http://node.example:8000", 1, lambda: None)


def test_a_url_without_a_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="a url of vLLM servers must be like http://host:8000"):
        VLLMServerEngine(["node1:8000"])
