"""HTTP to judges and vLLM servers: clients, proxies, and messages from unexpected answers."""

import json
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2 as httpx

from rtt_lightning.types.errors import UserError

MOST_CHARACTERS = 300
"""Most characters of a server's answer in a message."""
TELLING = re.compile(r"err|messag|msg|detail|reason|descri|raw|fault|title|base_resp|metadata|^loc$", re.IGNORECASE)
"""Names of JSON fields in which different servers say what is wrong."""
PAGE = re.compile(r"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
TITLE = re.compile(r"<(title|h1)\b[^>]*>(.*?)</\1\s*>", re.IGNORECASE | re.DOTALL)
STREAM = re.compile(r"\s*(?:event|data|id|retry)?:")


def checked_url(url: str, whose: str) -> str:
    """A server's URL, without a trailing slash.

    Raises:
        UserError: If it is not an HTTP URL with a host.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        usable = False
    if not usable:
        raise UserError(f"{whose} must be like http://host:8000, with http:// or https:// and a host; got {url!r}")
    return url.rstrip("/")


def client(url: str, timeout: float) -> httpx.Client:
    """A client for one server, a context manager.

    Raises:
        UserError: If it is behind a proxy that cannot be used.
    """
    return httpx.Client(transport=httpx.HTTPTransport(proxy=_address(url)), timeout=timeout, follow_redirects=True)


def async_client(*urls: str, timeout: float) -> httpx.AsyncClient:
    """A client for some servers, with any number of calls at a time; a context manager.

    Raises:
        UserError: If one is behind a proxy that cannot be used.
    """
    unlimited = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    ways = dict[str, httpx.AsyncBaseTransport | None]()
    for url in urls:
        parts = urlsplit(url)
        ways[f"{parts.scheme}://{parts.netloc}"] = httpx.AsyncHTTPTransport(limits=unlimited, proxy=_address(url))
    # With our own transport the client does not read proxies from the environment, which may cover loopback.
    elsewhere = httpx.AsyncHTTPTransport(limits=unlimited)
    return httpx.AsyncClient(transport=elsewhere, mounts=ways, timeout=timeout, follow_redirects=True)


# -- proxies -------------------------------------------------------------------------------------------------------


def proxy_of(url: str) -> tuple[str, str] | None:
    """The environment variable that names a proxy for a URL, and the proxy; ``None`` without one.

    Loopback addresses never have one, nor do the hosts, domains and networks in NO_PROXY.
    """
    parts = urlsplit(url)
    host, proxies = parts.hostname or "", getproxies()
    scheme = next((name for name in (parts.scheme, "all") if proxies.get(name)), None)
    if scheme is None or _is_loopback(host) or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    if any(_excepts(entry.strip(), host) for entry in proxies.get("no", "").split(",")):
        return None
    names = (name for name in os.environ if name.lower() == f"{scheme}_proxy" and os.environ[name] == proxies[scheme])
    address = proxies[scheme]
    return next(names, "the system's settings"), address if "://" in address else f"http://{address}"


def by_proxy(url: str) -> str:
    """A note that a URL is behind a proxy, and how to avoid it; empty without a proxy."""
    way = proxy_of(url)
    if way is None:
        return ""
    name, address = way
    shown = re.sub("//[^/]*@", "//", address)
    return f" (through the proxy {shown} of {name}; NO_PROXY={urlsplit(url).hostname} goes without it)"


def unusable_proxy(url: str) -> str:
    """A message with the fix if a URL is behind a proxy that cannot be used; else empty."""
    way = proxy_of(url)
    if way is None:
        return ""
    try:
        scheme = httpx.Proxy(way[1]).url.scheme
    except (ValueError, httpx.InvalidURL) as error:
        return f"{url} cannot be asked{by_proxy(url)}: {error}; give the variable a URL like http://host:3128"
    if scheme.startswith("socks") and find_spec("socksio") is None:
        return f"{url} is behind a SOCKS proxy{by_proxy(url)}, which needs a package: pip install socksio"
    return ""


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost")
    return address.is_loopback or address.is_unspecified  # a local server may listen at 0.0.0.0


def _excepts(entry: str, host: str) -> bool:
    """Whether an entry of NO_PROXY covers a host, in forms that the standard library does not read."""
    if entry == "*" or (entry.startswith("*.") and host.endswith(entry[1:].lower())):
        return True
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False


def _address(url: str) -> str | None:
    if problem := unusable_proxy(url):
        raise UserError(problem)
    way = proxy_of(url)
    return way and way[1]


# -- what servers say ----------------------------------------------------------------------------------------------


def content_of(answer: httpx.Response) -> Any:
    """The content of an answer that is JSON; else ``None``."""
    return _json(answer.content)


def describe_answer(answer: httpx.Response) -> str:
    """An unexpected answer in one line: the messages of JSON of any shape, the title of a page, or else the text."""
    text = answer.text[:100_000]
    if not text.strip():
        return "an empty answer"
    content = content_of(answer)
    if content is not None:
        return messages_in(content)
    if is_page(answer):
        title = TITLE.search(text)
        return f"a web page, {one_line(title[2] if title else _without_tags(text))!r}"
    if STREAM.match(text):
        events = re.findall(r"^data: ?(.*)$", text, re.MULTILINE)
        said = next((said for event in events if (said := ": ".join(_told(_json(event))))), "")
        return f"an event stream{f' that says: {one_line(said)}' if said else ''}"
    return one_line(_without_tags(text)) or "nothing that can be read"


def messages_in(content: Any) -> str:
    """The messages in JSON, in one line; all of the JSON if no known field holds one."""
    said = dict.fromkeys(text for text in _told(content) if text.strip())
    return one_line(": ".join(said) or json.dumps(content, ensure_ascii=False))


def is_page(answer: httpx.Response) -> bool:
    """Whether an answer is a web page, as from a login or a gateway, not from an API."""
    return PAGE.match(answer.text[:2000]) is not None


def no_answer(error: httpx.RequestError, url: str) -> str:
    """Why there is no answer from a URL, in words; many network errors have no message."""
    return f"{one_line(str(error)) or type(error).__name__}{by_proxy(url)}"


def one_line(text: str) -> str:
    """The text without line breaks, control characters and a final full stop, and not too long."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split()).rstrip(".")
    cut = line[:MOST_CHARACTERS]
    whole = re.sub(r"[\w-]+$", "", cut, flags=re.ASCII).rstrip()  # a key cut in half could not be recognised
    return line if cut == line else f"{whole or cut} ..."


def _without_tags(text: str) -> str:
    return re.sub(r"<(script|style)\b.*?</\1\s*>|<[^<>]*>", " ", text, flags=re.IGNORECASE | re.DOTALL)


def _json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _told(content: Any) -> Iterator[str]:
    """Texts of the fields that say what is wrong, outermost first."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for each in content:
            yield from _told(each)
    elif isinstance(content, dict):
        for name, each in content.items():
            if TELLING.search(name):
                yield from _told(each)
