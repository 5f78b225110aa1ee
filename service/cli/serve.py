"""`qinco-server serve`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.failure import CommandFailed
from service.cli.process import give_memory_back, open_many_files, share_threads

if TYPE_CHECKING:
    import socket

BACKLOG = 2048

ConfigFile = Annotated[Path | None, typer.Option(help="TOML file of settings; QINCO_CONFIG names one too.")]


def serve(
    config: ConfigFile = None,
    data: Annotated[Path | None, typer.Option(help="Folder that holds everything.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 for a free one.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads for all computing together.")] = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C. Every setting is also a QINCO_… variable; see `qinco-server config`."""
    from service.logs import configure_logging
    from service.settings import load_settings

    settings = load_settings(config, data=data, host=host, port=port, device=device, threads=threads)
    share_threads(settings.threads)
    give_memory_back()
    open_many_files()
    configure_logging(settings.log_level, settings.log_format)
    _check_device(settings.device)
    with _listening(settings.host, settings.port) as listening:  # before the imports, which take seconds
        from service.server import run

        failure = run(settings, listening)
    if failure:
        raise CommandFailed(f"The data folder could not be opened: {failure}")


def _listening(host: str, port: int) -> "socket.socket":
    """The open port: who connects waits for the first answer, and is not refused."""
    import socket

    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.create_server(address[:2], family=family, backlog=BACKLOG)
        # asyncio knows sockets of its own making only to be TCP: on others an answer's body would wait some 40 ms for
        # the client to acknowledge its head. Connections inherit the option.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        raise CommandFailed(
            f"The server could not listen on {host}, port {port}: {error.strerror or error}."
        ) from error


def _check_device(device: str) -> None:
    if device != "cuda":
        return
    import torch

    if not torch.cuda.is_available():
        raise CommandFailed("Setting 'device': PyTorch finds no CUDA device on this machine; use auto or cpu.")
