"""How commands reach a running server: where it is, the key, and its refusals as one line."""

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from service.cli.failure import CommandFailed

if TYPE_CHECKING:
    import httpx

Url = Annotated[str | None, typer.Option(help="Where the server is; by default the host and port of the settings.")]

TIMEOUT_S = 600


def connect(url: str | None) -> "httpx.Client":
    """A client for the server, with the key of the settings."""
    import httpx

    from service.settings import load_settings

    settings = load_settings()
    host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host
    headers = {"api-key": settings.api_key.get_secret_value()} if settings.api_key else {}
    base_url = url or f"http://{host}:{settings.port}"
    try:
        is_reachable = httpx.URL(base_url).scheme in ("http", "https") and bool(httpx.URL(base_url).host)
    except httpx.InvalidURL:
        is_reachable = False
    if not is_reachable:
        raise CommandFailed(f"A server's URL is like http://localhost:6333, not '{base_url}'.")
    return httpx.Client(base_url=base_url, headers=headers, timeout=TIMEOUT_S)


def collection_path(name: str) -> str:
    """A collection's path, whatever its name is made of; the server says what names may be."""
    return f"/collections/{quote(name, safe='')}"


def found(client: "httpx.Client", path: str, params: dict[str, str]) -> Any:
    """What a GET gives, None where there is no such thing; raises CommandFailed."""
    import httpx

    try:
        response = client.get(path, params=params)
    except httpx.TransportError as error:
        raise _no_answer(client, error) from error
    return None if response.status_code == httpx.codes.NOT_FOUND else _result(response)


def ask(client: "httpx.Client", method: str, path: str, **request: Any) -> Any:
    """The result of a call; raises CommandFailed with the server's sentence."""
    import httpx

    try:
        response = client.request(method, path, **request)
    except httpx.TransportError as error:
        raise _no_answer(client, error) from error
    return _result(response)


def _no_answer(client: "httpx.Client", error: Exception) -> CommandFailed:
    return CommandFailed(f"No answer from {client.base_url}: {error}. Is the server running?")


def _result(response: "httpx.Response") -> Any:
    if response.is_success:
        return response.json()["result"]
    try:
        sentence = response.json()["status"]["error"]
    except (ValueError, KeyError, TypeError):
        sentence = response.text
    raise CommandFailed(f"Answered {response.status_code}: {sentence}")
