"""The way to servers, and their words."""

import json
import os
from typing import Any

import httpx2 as httpx
import pytest

from rtt_lightning.runtime.servers import (
    by_proxy,
    checked_url,
    client,
    describe_answer,
    no_answer,
    one_line,
    proxy_of,
    unusable_proxy,
)
from tests.proxy import refusing_proxy


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def said(body: Any, status: int = 400, kind: str = "application/json") -> str:
    text = body if isinstance(body, str) else json.dumps(body)
    return describe_answer(httpx.Response(status, headers={"content-type": kind}, content=text.encode()))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": {"message": "upstream is overloaded", "code": 502}, "user_id": "u1"}, "upstream is overloaded"),
        (
            {
                "choices": None,
                "error": {"message": "Provider returned error", "metadata": {"raw": "Too Many Requests"}},
            },
            "Provider returned error: Too Many Requests",
        ),
        ({"error": "no quota."}, "no quota"),
        ([{"error": {"code": 400, "message": "API key not valid", "status": "INVALID"}}], "API key not valid"),
        ({"object": "error", "message": "bad\n  request", "code": 400}, "bad request"),
        ({"detail": [{"loc": ["body", "top_q"], "msg": "Extra inputs", "input": 1}]}, "body: top_q: Extra inputs"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"errors": [{"message": "one"}, {"message": "two"}]}, "one: two"),
        ({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, "login fail"),
        ({"fault": {"faultstring": "Invalid ApiKey"}}, "Invalid ApiKey"),
        ({"Message": "User is not authorized"}, "User is not authorized"),
        ({"success": False, "why": "no"}, '{"success": false, "why": "no"}'),
        ({"error": {}}, '{"error": {}}'),
        ("", "an empty answer"),
        ("  \n", "an empty answer"),
        ("upstream connect error", "upstream connect error"),
        ("<html><head><title>Sign in</title></head><body>x</body></html>", "a web page, 'Sign in'"),
        ("\n<!DOCTYPE html><html><body><h1>502 Bad\nGateway</h1></body></html>", "a web page, '502 Bad Gateway'"),
        ("<html><script>let a = '<b>';</script><body>Down <b>today</b></body></html>", "a web page, 'Down today'"),
        ('<?xml version="1.0"?><Error><Code>Denied</Code></Error>', "Denied"),
        ('data: {"choices": [{"delta": {"content": "x"}}]}\n\ndata: [DONE]\n\n', "an event stream"),
        ('event: error\ndata: {"error": {"message": "too long"}}\n\n', "an event stream that says: too long"),
        ("red \x1b[31malert\x07", "red [31malert"),
    ],
)
def test_a_server_s_own_words_are_found_whatever_their_shape(body: Any, expected: str) -> None:
    assert said(body) == expected


def test_words_are_not_too_long_and_none_is_cut() -> None:
    shown = one_line("word " * 100 + "sk-" + "x" * 400)
    assert shown.endswith("word ...")
    assert len(shown) <= 304
    assert len(one_line("x" * 4000)) == 304


DEEP = "[" * 100_000


def test_bodies_that_break_readers_are_text() -> None:
    assert said(DEEP).startswith("[[[[")
    assert said({"error": json.loads("[" * 900 + "]" * 900)}).startswith('{"error": [[')
    assert describe_answer(httpx.Response(500, content=b"\xff\xfe\x00")) != ""


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "127.8.8.8", "api.localhost", "LOCALHOST"]
)
def test_loopback_is_asked_directly(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:1")
    for scheme in ("http", "https"):
        assert proxy_of(f"{scheme}://{host}:8000/v1") is None
        assert unusable_proxy(f"{scheme}://{host}:8000/v1") == ""
        with client(f"{scheme}://{host}:8000/v1", 1.0):
            pass


@pytest.mark.parametrize(
    ("excepted", "url", "directly"),
    [
        ("node1", "http://node1:8000", True),
        (".cluster.local", "http://a.cluster.local:8000", True),
        ("*.cluster.local", "http://a.cluster.local:8000", True),
        ("10.0.0.0/8", "http://10.1.2.3:8000", True),
        ("10.0.0.0/8", "http://11.1.2.3:8000", False),
        ("fd00::/8", "http://[fd00::1]:8000", True),
        ("node1,*", "http://node2:8000", True),
        ("node1", "http://node11:8000", False),
        ("", "http://node1:8000", False),
    ],
)
def test_no_proxy_excepts_hosts_domains_and_networks(
    excepted: str, url: str, directly: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", excepted)
    assert (proxy_of(url) is None) == directly


def test_a_proxy_is_named_with_its_variable_and_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy.example:3128")
    expected = " (through the proxy http://proxy.example:3128 of HTTPS_PROXY; NO_PROXY=judge.example goes without it)"
    assert by_proxy("https://judge.example/v1") == expected
    assert by_proxy("http://judge.example/v1") == ""
    monkeypatch.setenv("all_proxy", "proxy.example:1")
    assert proxy_of("http://judge.example") == ("all_proxy", "http://proxy.example:1")


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [
        ("socks5://127.0.0.1:1080", "behind a SOCKS proxy (through the proxy socks5://127.0.0.1:1080 of ALL_PROXY"),
        ("socks5h://127.0.0.1:1080", "needs a package: pip install socksio"),
        ("socks://127.0.0.1:1080/", "Unknown scheme for proxy URL"),
        ("http://h:port", "give the variable a URL like http://host:3128"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_a_message_with_the_mend(
    proxy: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    assert expected in unusable_proxy("http://judge.example/v1")
    with pytest.raises(ValueError, match=r"judge\.example"):
        client("http://judge.example/v1", 1.0)


def test_a_proxy_that_is_off_or_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def failure(url: str) -> str:
        with client(url, 2.0) as http, pytest.raises(httpx.RequestError) as error:
            http.get(url)
        return no_answer(error.value, url)

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert "127.0.0.1:9 of http_proxy; NO_PROXY=judge.example" in failure("http://judge.example/v1")
    with refusing_proxy() as (address, asked):
        monkeypatch.setenv("https_proxy", address)
        assert "403 Forbidden" in failure("https://judge.example/v1")
        assert asked == ["CONNECT judge.example:443 HTTP/1.1"]


@pytest.mark.parametrize(
    "url", ["localhost:8000", "host/v1", "ftp://h/v1", "http://", "http://h:99999", "http://[bad", ""]
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"the url must be like http://host:8000"):
        checked_url(url, "the url")
