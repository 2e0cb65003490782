"""What is said to a vLLM server, and what its answers mean."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2 as httpx

COMMAND = "VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --tokens-only --logprobs-mode processed_logprobs"


class ServerFailure(Exception):
    """A server did not do what it was asked to, or did not answer; another one may."""


async def sample(
    http: httpx.AsyncClient, url: str, body: Mapping[str, Any], version: str
) -> tuple[list[int], list[float] | None]:
    """Token ids of one response, and their log-probs where they were asked for.

    Raises:
        ServerFailure: If the server does not answer, gives up, or samples with other weights than ``version``.
        ValueError: If it refuses the request.
    """
    try:
        content = _content(await http.post(f"{url}/inference/v1/generate", json=body))
    except httpx.TransportError as error:
        raise _no_answer(error) from error
    [choice] = content["choices"]
    if choice["finish_reason"] not in ("stop", "length"):
        raise ServerFailure(f"it gave up on a response: {choice['finish_reason']}")
    versions = {span["version"] for span in choice["weight_versions"] or ()}
    if versions != {version}:
        raise ServerFailure(f"it sampled with weights {sorted(versions)} in place of {version!r}; was it restarted?")
    if choice["logprobs"] is None:
        return choice["token_ids"], None
    return choice["token_ids"], [step["logprob"] for step in choice["logprobs"]["content"]]


def load_weights(url: str, folder: Path, version: str, deadline: float) -> None:
    """Have a server load a folder of weights, forget what it cached of the old ones, and name the new ones.

    Raises:
        ServerFailure: If it does not answer within ``deadline`` seconds, or did not do so.
    """
    steps: Sequence[tuple[str, dict[str, Any]]] = (
        ("collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}),
        ("reset_prefix_cache", {}),
        ("update_weight_version", {"new_version": version}),
    )
    for route, body in steps:
        post(url, route, body, deadline)


def post(url: str, route: str, body: Mapping[str, Any], deadline: float) -> None:
    """Have a server do something to its weights.

    Raises:
        ServerFailure: If it does not answer within ``deadline`` seconds, or did not do it.
        ValueError: If it refuses the request.
    """
    try:
        content = _content(httpx.post(f"{url}/{route}", json=body, timeout=deadline))
    except httpx.TransportError as error:
        raise _no_answer(error) from error
    if content.get("success") is False:
        raise ServerFailure(f"{route} did not succeed; someone else is sampling from this server")


def world_size(url: str) -> int:
    """Number of a server's processes that hold weights.

    Raises:
        ServerFailure: If it does not answer.
    """
    try:
        return int(_content(httpx.get(f"{url}/get_world_size", timeout=10.0))["world_size"])
    except httpx.TransportError as error:
        raise _no_answer(error) from error


def wait_until_up(url: str, deadline: float, check: Callable[[], None]) -> int:
    """Wait until a server answers; returns its longest prompt + response in tokens.

    Args:
        url: Of the server.
        deadline: Seconds to wait.
        check: Called now and then; raises where waiting is in vain.

    Raises:
        ValueError: If it does not answer in time, or takes no new weights.
    """
    ends = time.monotonic() + deadline
    while True:
        try:
            served = _content(httpx.get(f"{url}/v1/models", timeout=10.0))
            _content(httpx.get(f"{url}/weight_info", timeout=10.0))
            return served["data"][0]["max_model_len"]
        except httpx.TransportError as error:
            check()
            if time.monotonic() > ends:
                raise ValueError(f"no vLLM server answers at {url} after {deadline:g} seconds: {error}") from error
            time.sleep(0.5)
        except ServerFailure as error:
            raise ValueError(
                f"the server at {url} takes no new weights ({error}); start it with `{COMMAND}`"
            ) from error


def _content(answer: httpx.Response) -> Any:
    """The JSON of an answer.

    Raises:
        ServerFailure: If the server could not do what was asked.
        ValueError: If it refused the request, as any server would.
    """
    if answer.status_code in (400, 422):
        raise ValueError(f"the vLLM server at {answer.url} refused a request: {answer.text[:500]}")
    if answer.is_error:
        raise ServerFailure(f"HTTP status {answer.status_code} from {answer.url.path}: {answer.text[:200]}")
    return answer.json() if answer.content else {}


def _no_answer(error: httpx.TransportError) -> ServerFailure:
    """Many network errors say nothing but their kind."""
    return ServerFailure(str(error) or type(error).__name__)
