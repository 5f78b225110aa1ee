"""`qinco-server snapshot create | list | restore | delete`: snapshots of a running server's collections, over HTTP."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from service.cli.connection import Url, ask, collection_path, connect
from service.cli.failure import CommandFailed

if TYPE_CHECKING:
    import httpx

Name = Annotated[str, typer.Argument(help="The collection.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

snapshot = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@snapshot.command()
def create(
    name: Name,
    out: Annotated[Path | None, typer.Option(help="Download it to this file too.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Take a snapshot of a collection while writes go on."""
    with connect(url) as client:
        made = ask(client, "POST", _path(name))
        if out is not None:
            _download(client, f"{_path(name)}/{quote(made['name'])}", out)
    print(json.dumps(made) if as_json else f"{_line(made)}{f' → {out}' if out else ''}")


@snapshot.command("list")
def list_all(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """List a collection's snapshots."""
    with connect(url) as client:
        found = ask(client, "GET", _path(name))
    print(json.dumps(found) if as_json else "\n".join(map(_line, found)) or "None.")


@snapshot.command()
def restore(
    name: Name,
    source: Annotated[str, typer.Argument(help="An archive's file, or the name of a snapshot on the server.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Put a snapshot in a collection's place, once all of it has been checked."""
    path = Path(source)
    with connect(url) as client:
        if path.is_file():
            with path.open("rb") as archive:
                ask(client, "POST", f"{_path(name)}/upload", files={"snapshot": archive})
        else:
            ask(client, "PUT", f"{_path(name)}/recover", json={"location": source})
    print(json.dumps({"restored": name, "from": source}) if as_json else f"'{name}' is what {source} holds.")


@snapshot.command()
def delete(
    name: Name,
    snapshot: Annotated[str, typer.Argument(help="Its name.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Delete a snapshot."""
    with connect(url) as client:
        ask(client, "DELETE", f"{_path(name)}/{quote(snapshot, safe='')}")
    print(json.dumps({"deleted": snapshot}) if as_json else f"Deleted {snapshot}.")


def _path(name: str) -> str:
    return f"{collection_path(name)}/snapshots"


def _line(one: dict[str, Any]) -> str:
    return f"{one['name']}  {one['size']} bytes  {one['creation_time']}"


def _download(client: "httpx.Client", path: str, out: Path) -> None:
    try:
        with client.stream("GET", path) as response, out.open("wb") as file:
            if not response.is_success:
                raise CommandFailed(f"Answered {response.status_code} when the snapshot was downloaded.")
            for piece in response.iter_bytes():
                file.write(piece)
    except OSError as error:
        raise CommandFailed(f"{out} cannot be written: {error.strerror}") from error
