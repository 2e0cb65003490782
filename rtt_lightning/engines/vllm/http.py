"""Requests to a vLLM server, and what its answers mean."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2 as httpx

from rtt_lightning.runtime.servers import by_proxy, client, content_of, describe_answer, no_answer
from rtt_lightning.types.errors import UserError

COMMAND = "VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --tokens-only --logprobs-mode processed_logprobs"


class ServerFailure(Exception):
    """A server did not answer, or did not do what it was asked to; another one may.

    Attributes:
        status: HTTP status of its answer; 0 without one.
    """

    def __init__(self, said: str, status: int = 0) -> None:
        super().__init__(said)
        self.status = status


async def sample(
    http: httpx.AsyncClient, url: str, body: Mapping[str, Any], version: str
) -> tuple[list[int], list[float] | None]:
    """Token ids of one response, and their log-probs if requested.

    Raises:
        ServerFailure: If the server does not answer, gives up, or samples with other weights than ``version``.
        UserError: If it refuses the request.
    """
    try:
        answer = await http.post(f"{url}/inference/v1/generate", json=body)
    except httpx.RequestError as error:
        raise ServerFailure(no_answer(error, url)) from error
    [choice] = _content(answer, "choices")["choices"]
    if choice["finish_reason"] not in ("stop", "length"):
        raise ServerFailure(f"it gave up on a response: {choice['finish_reason']}")
    versions = {span["version"] for span in choice["weight_versions"] or ()}
    if versions != {version}:
        raise ServerFailure(f"it sampled with weights {sorted(versions)} in place of {version!r}; was it restarted?")
    if choice["logprobs"] is None:
        return choice["token_ids"], None
    return choice["token_ids"], [step["logprob"] for step in choice["logprobs"]["content"]]


def load_weights(url: str, folder: Path, version: str, deadline: float) -> None:
    """Make a server load a folder of weights under a name, and drop what it cached from the old ones.

    Raises:
        ServerFailure: If it does not answer within ``deadline`` seconds, or did not load them.
    """
    steps: Sequence[tuple[str, dict[str, Any]]] = (
        ("collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}),
        ("reset_prefix_cache", {}),
        ("update_weight_version", {"new_version": version}),
    )
    for route, body in steps:
        post(url, route, body, deadline)


def post(url: str, route: str, body: Mapping[str, Any], deadline: float) -> None:
    """Make a server do something to its weights.

    Raises:
        ServerFailure: If it does not answer within ``deadline`` seconds, or did not do it.
        UserError: If it refuses the request.
    """
    content = _request_json(url, "POST", route, deadline, body)
    if content.get("success") is False:
        raise ServerFailure(f"{route} did not succeed; someone else is sampling from this server")


def world_size(url: str) -> int:
    """Number of processes of a server that hold weights.

    Raises:
        ServerFailure: If it does not answer.
    """
    return int(_request_json(url, "GET", "get_world_size", 10.0, needed="world_size")["world_size"])


def wait_until_up(url: str, deadline: float, check_running: Callable[[], None]) -> int:
    """Wait until a server answers; returns its longest prompt + response in tokens.

    Args:
        url: Of the server.
        deadline: Seconds to wait.
        check_running: Called now and then; raises if waiting is useless.

    Raises:
        UserError: If it does not answer in time, or takes no new weights.
    """
    ends = time.monotonic() + deadline
    while True:
        try:
            longest = longest_row(url)
            _request_json(url, "GET", "weight_info", 10.0)
            return longest
        except ServerFailure as error:
            if error.status == 404:
                raise UserError(
                    f"the server at {url} takes no new weights ({error}); start it with `{COMMAND}`"
                ) from error
            if error.status not in (0, 502, 503, 504):  # a gateway whose server has not come up yet
                raise UserError(f"the vLLM server at {url} cannot be used: {error}") from error
            check_running()
            if time.monotonic() > ends:
                raise UserError(f"no vLLM server answers at {url} after {deadline:g} seconds: {error}") from error
            time.sleep(0.5)


def longest_row(url: str) -> int:
    """Longest prompt + response of a server's model, in tokens.

    Raises:
        ServerFailure: If it does not answer, or is not a vLLM server.
    """
    [model, *_] = _request_json(url, "GET", "v1/models", 10.0, needed="data")["data"] or [{}]
    if "max_model_len" not in model:
        raise ServerFailure(f"what answers at {url} is not a vLLM server: it does not report max_model_len", 200)
    return model["max_model_len"]


def _request_json(
    url: str, method: str, route: str, deadline: float, body: Mapping[str, Any] | None = None, needed: str = ""
) -> dict[str, Any]:
    """The JSON of an answer.

    Raises:
        ServerFailure: If the server does not answer, or could not do what was asked.
        UserError: If it refused the request, as any server would, or is behind a proxy that cannot be used.
    """
    try:
        with client(url, deadline) as http:
            answer = http.request(method, f"{url}/{route}", json=body)
    except httpx.RequestError as error:
        raise ServerFailure(no_answer(error, url)) from error
    return _content(answer, needed)


def _content(answer: httpx.Response, needed: str = "") -> dict[str, Any]:
    """The JSON of an answer, which holds ``needed``.

    Raises:
        ServerFailure: If the server could not do what was asked.
        UserError: If it refused the request, as any server would.
    """
    if answer.status_code in (400, 422):
        raise UserError(f"the vLLM server at {answer.url} refused a request: {describe_answer(answer)}")
    status, url = answer.status_code, str(answer.url)
    if not answer.is_success:
        raise ServerFailure(
            f"HTTP status {status} from {answer.url.path}: {describe_answer(answer)}{by_proxy(url)}", status
        )
    content = content_of(answer) if answer.content.strip() else {}
    if not isinstance(content, dict) or (needed and needed not in content):
        raise ServerFailure(
            f"no vLLM server answers at {url}, but says: {describe_answer(answer)}{by_proxy(url)}", status
        )
    return content
